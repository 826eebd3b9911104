"""The embedded queue keeps what every queue has to keep."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_infra.queue import EmbeddedQueue
from factflow_protocols.errors import QueueError
from factflow_protocols.queue import Progress
from factflow_testing.queue_contract import Advance, ExactQueueContract, Reopen
from factflow_testing.queue_rig import SCOPE


class HandClock:
    """Moves when told to."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def now(self) -> float:
        return self.seconds


class EmbeddedRig:
    """The queue under test and its successors, each on the file of the one before."""

    def __init__(self, folder: Path, clock: HandClock, memory_limit: int) -> None:
        self._folder = folder
        self._clock = clock
        self._limit = memory_limit
        self._runs = 0
        self.path = folder / "queue.db"
        self.queue = self._make()

    def _make(self) -> EmbeddedQueue:
        return EmbeddedQueue(self.path, self._clock, memory_limit=self._limit)

    async def reopen(self, *, clean: bool) -> EmbeddedQueue:
        """A kill is played by a copy of the files as they stand."""
        if clean:
            await self.queue.close()
        else:
            self._runs += 1
            killed = self._folder / f"killed-{self._runs}.db"
            for suffix in ("", "-wal"):
                shutil.copyfile(f"{self.path}{suffix}", f"{killed}{suffix}")
            await self.queue.close()
            self.path = killed
        self.queue = self._make()
        return self.queue


class TestEmbeddedQueue(ExactQueueContract):
    memory_limit = 100

    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    async def rig(self, tmp_path: Path, clock: HandClock) -> AsyncIterator[EmbeddedRig]:
        rig = EmbeddedRig(tmp_path, clock, self.memory_limit)
        yield rig
        await rig.queue.close()

    @pytest.fixture
    def queue(self, rig: EmbeddedRig) -> EmbeddedQueue:
        return rig.queue

    @pytest.fixture
    def reopen(self, rig: EmbeddedRig) -> Reopen:
        return rig.reopen

    @pytest.fixture
    def advance(self, rig: EmbeddedRig, clock: HandClock) -> Advance:
        async def move(seconds: float) -> None:
            clock.seconds += seconds
            rig.queue.wake()

        return move

    async def test_nobody_else_can_join(self, queue: EmbeddedQueue) -> None:
        await queue.open(SCOPE)
        with pytest.raises(QueueError, match="one server's own"):
            await queue.join(SCOPE)
        await queue.leave(SCOPE)
        assert await queue.find(SCOPE) == Progress(0, 0, 0)


class TestEmbeddedQueueWithRoom(TestEmbeddedQueue):
    """The same with everything in memory."""

    memory_limit = 50_000
