"""What takes the space: the disk, the databases, each execution, and what of it could go."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from factflow_execution.execution_deletions import Deletion, ExecutionDeletions
from factflow_execution.execution_holds import ExecutionHolds
from factflow_execution.execution_usages import CountedExecution, ExecutionUsages, UsageSums
from factflow_execution.usage_counter import UsageCounter
from factflow_foundation.clock import Clock
from factflow_server.embedded import DataDir

OLD_SECONDS = 30 * 86400.0
BLOCK_BYTES = 512
LEFT_BEHIND = ("lineage.db.damaged", "lineage.db.older")


@dataclass(frozen=True, slots=True)
class DatabaseFile:
    """A database, and what it takes of the disk with what is beside it."""

    name: str
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class ReportedExecution:
    """An execution, what it takes, who holds it, and what was deleted of it."""

    counted: CountedExecution
    held_by: Sequence[str]
    deletion: Deletion | None


@dataclass(frozen=True, slots=True)
class StorageReport:
    """`complete` tells that every execution is counted; `counting` are those left, of the present one
    `counting_objects` so far. Disk figures are of the disk that
    storage is on, or the data folder when storage is in a bucket."""

    kind: str
    complete: bool
    counting: int
    counting_objects: int
    disk_total: int
    disk_free: int
    sums: UsageSums
    databases: Sequence[DatabaseFile]
    executions: Sequence[ReportedExecution]
    hints: Sequence[str]


class StorageReports:
    """Puts reports together. Counts are kept; only what may have changed is counted again."""

    def __init__(
        self,
        *,
        kind: str,
        root: Path,
        data_dir: DataDir,
        usages: ExecutionUsages,
        counter: UsageCounter,
        holds: ExecutionHolds,
        deletions: ExecutionDeletions,
        clock: Clock,
    ) -> None:
        self._kind = kind
        self._root = root
        self._data_dir = data_dir
        self._usages = usages
        self._counter = counter
        self._holds = holds
        self._deletions = deletions
        self._clock = clock

    async def report(self, limit: int, offset: int, *, anew: bool, wait: float) -> StorageReport:
        """Return what is known after at most `wait` seconds of counting, the largest executions first."""
        complete = await self._counter.count(anew=anew, wait=wait)
        found = await self._usages.largest(limit, offset)
        gone = await self._deletions.find(one.execution.execution_id for one in found)
        executions = [
            ReportedExecution(
                one,
                await self._holds.held_by(one.execution.execution_id),
                gone.get(one.execution.execution_id),
            )
            for one in found
        ]
        total, free, databases = await asyncio.to_thread(self._look_at_disk)
        return StorageReport(
            kind=self._kind,
            complete=complete,
            counting=0 if complete else self._counter.left,
            counting_objects=0 if complete else self._counter.so_far.objects,
            disk_total=total,
            disk_free=free,
            sums=await self._usages.sums(),
            databases=databases,
            executions=executions,
            hints=await self._hints(databases),
        )

    async def close(self) -> None:
        """Stop counting."""
        await self._counter.close()

    def _look_at_disk(self) -> tuple[int, int, list[DatabaseFile]]:
        usage = shutil.disk_usage(self._root)
        names = ("factflow.db", "queue.db", "lineage.db", *LEFT_BEHIND)
        found = [DatabaseFile(name, _disk_bytes(self._data_dir.root / name)) for name in names]
        files = [file for file in found if file.disk_bytes]
        files.sort(key=lambda file: file.disk_bytes, reverse=True)
        return usage.total, usage.free, files

    async def _hints(self, databases: Sequence[DatabaseFile]) -> list[str]:
        hints = []
        old = await self._usages.sums(ended_before=self._clock.now() - OLD_SECONDS)
        if old.count:
            hints.append(
                f"{old.count} executions ended more than 30 days ago: "
                "factflow execution delete --older-than 30d --dry-run"
            )
        hints += [
            f"{file.name} is not used any more and may be removed"
            for file in databases
            if file.name in LEFT_BEHIND
        ]
        return hints


def _disk_bytes(path: Path) -> int:
    total = 0
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            total += os.stat(f"{path}{suffix}").st_blocks * BLOCK_BYTES  # noqa: PTH116 - a text
    return total
