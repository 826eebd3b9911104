"""Trouble of ours is never a message's failure: hold, retry with back-off, go on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from factflow_foundation import logs
from factflow_protocols.errors import QueueUnavailableError, StorageUnavailableError

T = TypeVar("T")
P = ParamSpec("P")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
OURS = (StorageUnavailableError, QueueUnavailableError)

log = logs.logger(__name__)


class Holder:
    """Repeats an action while storage or queue are in trouble; `reason` says what is held for."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._holding: dict[int, str] = {}
        self._next = 0

    @property
    def reason(self) -> str | None:
        """Return why something waits here, None when nothing does."""
        return next(iter(self._holding.values()), None)

    async def until_done(
        self, action: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Return the result of `action(*args, **kwargs)`, however often it has to be called.

        Only `StorageUnavailableError` and `QueueUnavailableError` are waited out.
        """
        try:
            return await action(*args, **kwargs)
        except OURS as error:
            first = error
        return await self._insist(lambda: action(*args, **kwargs), first)

    async def _insist(
        self,
        action: Callable[[], Awaitable[T]],
        error: StorageUnavailableError | QueueUnavailableError,
    ) -> T:
        pause = FIRST_PAUSE
        log.warning("holding", where=self._where, reason=error.message)
        with self.noted(error.message) as note:
            while True:
                note(error.message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                try:
                    return await action()
                except OURS as again:
                    error = again

    @contextmanager
    def noted(self, reason: str) -> Iterator[Callable[[str], None]]:
        """Have `reason` say what is waited for inside; what is yielded replaces it by another one."""
        ticket, self._next = self._next, self._next + 1

        def note(words: str) -> None:
            self._holding[ticket] = words

        note(reason)
        try:
            yield note
        finally:
            del self._holding[ticket]
