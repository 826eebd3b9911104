"""Empties a delay queue of a broker that does not do that by itself.

In a delay queue all wait equally long, so what stands first leaves first, and the few that are in memory are
those whose turn is next. The scope's owner runs one for each; its successor goes on with what was left.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from factflow_foundation import logs
from factflow_infra.queue.brokered import naming
from factflow_infra.queue.brokered.inbound import LEAVES, Inbound, acknowledge
from factflow_infra.queue.brokered.transport import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Intake,
    Outbound,
    Transport,
)
from factflow_protocols.errors import QueueUnavailableError
from factflow_protocols.queue import QueueScope

PREFETCH = 100

log = logs.logger(__name__)


class DelayKeeper:
    """A message is in its target before it leaves here, so a crash in between has it there twice, and the
    ledger is asked."""

    def __init__(
        self, transport: Transport, scope: QueueScope, name: str, now: Callable[[], float]
    ) -> None:
        self._transport = transport
        self._target = transport.name(scope, naming.delayed_for(name) or name)
        self._now = now
        self._standing: deque[Inbound] = deque()
        self._some = asyncio.Event()
        self._subscription = transport.subscribe(
            Intake(transport.name(scope, name), PREFETCH, _nothing, self._take_in, self._lost)
        )
        self._task = asyncio.create_task(self._run(), name=f"empty {name}")

    async def close(self) -> None:
        """Stop; what waits goes on waiting at the broker."""
        self._task.cancel()
        await asyncio.gather(self._task, self._subscription.close(), return_exceptions=True)

    # -- inside

    def _take_in(self, message: Inbound) -> None:
        self._standing.append(message)
        self._some.set()

    def _lost(self) -> None:
        self._standing.clear()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            self._some.clear()
            if not self._standing:
                await self._some.wait()
                continue
            wait = self._standing[0].headers.get(LEAVES, 0) / 1_000 - self._now()
            if wait > 0:
                await asyncio.sleep(min(wait, LONGEST_PAUSE))
                continue
            part = self._due()
            try:
                await self._transport.publish(
                    [Outbound(self._target, one.body, one.message_id, one.headers) for one in part]
                )
                pause = FIRST_PAUSE
            except QueueUnavailableError as error:
                log.info("messages wait longer", queue=self._target, reason=error.message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                continue
            for one in part:
                if (
                    one in self._standing
                ):  # else it comes again, and finds itself settled or in hand
                    self._standing.remove(one)
                await acknowledge(one)

    def _due(self) -> list[Inbound]:
        now = self._now() * 1_000
        due = []
        for one in self._standing:
            if one.headers.get(LEAVES, 0) > now:
                break
            due.append(one)
        return due


async def _nothing() -> None:
    pass
