"""Who wants to know that something was written, told within this process, without asking again and again."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator


class Listener:
    """One who listens; the topics told since it last asked are kept for it."""

    def __init__(self) -> None:
        self._topics: set[str] = set()
        self._told = asyncio.Event()

    def tell(self, topic: str) -> None:
        """Keep a topic, and wake whoever waits."""
        self._topics.add(topic)
        self._told.set()

    async def wait(self, seconds: float) -> frozenset[str]:
        """Return what was told, as soon as there is any; nothing after so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._told.wait()
        topics = frozenset(self._topics)
        self._topics.clear()
        self._told.clear()
        return topics


class Changes:
    """Tells listeners of a key that something about it was written. Belongs to the event loop's thread.

    Telling costs next to nothing while nobody listens. After `close` everyone is woken and `closed` is true:
    who listens has to end.
    """

    def __init__(self) -> None:
        self._listening: dict[str, set[Listener]] = defaultdict(set)
        self.closed = False

    @property
    def listeners(self) -> int:
        """Return how many listen."""
        return sum(len(listeners) for listeners in self._listening.values())

    @contextlib.contextmanager
    def listen(self, key: str) -> Iterator[Listener]:
        """Listen to a key. Whoever reads what is there after this misses nothing."""
        listener = Listener()
        self._listening[key].add(listener)
        try:
            yield listener
        finally:
            self._listening[key].discard(listener)
            if not self._listening[key]:
                del self._listening[key]

    def tell(self, key: str, topic: str) -> None:
        """Tell those who listen to a key."""
        for listener in self._listening.get(key, ()):
            listener.tell(topic)

    def tell_each(self, keys: Iterable[str], topic: str) -> None:
        """Tell those who listen to any of the keys, once each; the keys are not looked at if nobody does."""
        if self._listening:
            for key in set(keys):
                self.tell(key, topic)

    def tell_everyone(self, topic: str) -> None:
        """Tell all who listen, whatever they listen to: some of it may have been missed."""
        for key in list(self._listening):
            self.tell(key, topic)

    def close(self) -> None:
        """Wake everyone for the last time."""
        self.closed = True
        for listeners in self._listening.values():
            for listener in listeners:
                listener.tell("closed")
