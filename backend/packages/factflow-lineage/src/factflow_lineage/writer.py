"""The background writer: recording never waits, never raises and never stops a message."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation.changes import Changes
from factflow_foundation.crash_points import reach
from factflow_foundation.logs import logger
from factflow_lineage.batch import write_batch
from factflow_lineage.buffer import LineageBuffer, MakeEntry
from factflow_lineage.connection import WritingConnection, is_refusal
from factflow_lineage.deletion import ROWS_PER_STEP, delete_step
from factflow_lineage.errors import LineageUnavailableError, describe
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.tables import rows
from factflow_lineage.tallies import LineageTallies

log = logger(__name__)

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between tries while the database is in trouble; doubling from the first to the longest."""


@dataclass(frozen=True, slots=True)
class LineageHealth:
    """`backlog` rows wait to be written; `dropped` were given up since the start; `ok` is false
    while the database is in trouble or an execution has a gap, and `last_error` then says why."""

    ok: bool
    backlog: int
    dropped: int
    last_error: str | None


class LineageService:
    """Writes rows in batches, by size and by time, on a connection of its own.

    All methods belong to the event loop's thread. Times in seconds. A row is written at most
    `flush_interval` after it was recorded, as far as the database keeps up; while it does not, up to
    `buffer_limit` rows are kept and tried again. What has no room is dropped and counted: a committed
    row that was dropped is a *gap* of its execution, to be filled from the outcome records.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        flush_interval: float = 0.2,
        batch_size: int = 2_000,
        buffer_limit: int = 50_000,
        changes: Changes | None = None,
    ) -> None:
        if flush_interval < 0 or not 1 <= batch_size <= min(buffer_limit, 10_000):
            raise ValueError(
                "need flush_interval >= 0 and 1 <= batch_size <= min(buffer_limit, 10000)"
            )
        self.changes = changes or Changes()
        """Told "rows" for every execution of which some were written."""
        self._connection = WritingConnection(engine)
        self._flush_interval = flush_interval
        self._batch_size = batch_size
        self._buffer = LineageBuffer(buffer_limit)
        self._gaps: Counter[str] = Counter()
        self.gap_noted = asyncio.Event()
        """Set when an execution comes to lack rows; whoever fills gaps clears it."""
        self.tallies = LineageTallies()
        """What was written for the executions that run here."""
        self.lost = False
        """Whether rows of any execution that ended may be gone, since the database is new; whoever has
        noted that takes it back."""
        self._written: Counter[str] = (
            Counter()
        )  # committed rows per execution, in the present tables
        self._dropped = 0
        self._in_trouble = False
        self._last_error: str | None = None
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._something = asyncio.Event()  # set while there is a row to write, or when closing
        self._at_once = asyncio.Event()  # do not wait for the interval to pass
        self._try_again = asyncio.Event()  # do not wait for the back-off to pass
        self._turn = asyncio.Lock()  # one transaction at a time
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the database, whose tables are made when they are missing, and start writing.

        What was recorded before is kept; a database in trouble is no error.
        """
        if self._task is None and not self._closing:
            for _ in range(2):  # the first try may find a damaged file, and set it aside
                if await self._look():
                    break
            self._task = asyncio.create_task(self._run(), name="lineage-writer")

    async def close(self, timeout: float = 5.0) -> None:
        """Write what is recorded, for at most `timeout`, and let go of the connection.

        What could not be written is counted as a gap.
        """
        self._closing = True
        self._something.set()
        self._hurry()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._buffer.make_all()
        left = self._buffer.head(len(self._buffer))
        self._buffer.remove(left)
        self._give_up(left)
        await self._connection.drop()
        self._wake_waiting()

    def record(self, entry: PipelineLineageEntry) -> None:
        """Take a row in; returns at once and raises nothing, whatever state the database is in."""
        try:
            kept = not self._closing and self._buffer.put(entry)
        except Exception as error:  # noqa: BLE001 - a row that makes no sense must not stop its message
            self._last_error = describe(error)
            kept = False
        if not kept:
            self._give_up([entry])
            return
        self._something.set()
        if len(self._buffer) >= self._batch_size:
            self._at_once.set()

    def begin(self, row_id: str, make: MakeEntry) -> None:
        """Take note that a stage began; its row is made and written if it lasts.

        `make` is called at most once, within two flush intervals, unless `record` brings a row of this
        id before.
        """
        if not self._closing:
            self._buffer.begin(row_id, make)
            self._something.set()

    async def rebuild(self, entries: Iterable[PipelineLineageEntry]) -> int:
        """Record many rows, made from outcome records, at the pace of the database; return how many.

        Leaves half of the buffer to running work. Rows that stand already change nothing.
        """
        count = 0
        for entry in entries:
            position = self._buffer.first_position()
            if position is not None and len(self._buffer) >= max(1, self._buffer.limit // 2):
                self._at_once.set()
                await self._done_with(position)
            self.record(entry)
            count += 1
        return count

    async def flush(self, execution_id: str | None = None, timeout: float = 2.0) -> bool:
        """Wait until what was recorded before (for an execution) is written.

        False when that took longer than `timeout`, or when rows had to be dropped (see `gaps`).
        """
        position = self._buffer.last_position(execution_id)
        if position is not None:
            self._hurry()
            try:
                await asyncio.wait_for(self._done_with(position), timeout)
            except TimeoutError:
                return False
        return not (self._gaps if execution_id is None else self._gaps[execution_id])

    def health(self) -> LineageHealth:
        """Tell how the writer is doing."""
        ok = not self._in_trouble and not self._gaps
        error = None if ok else self._last_error
        return LineageHealth(ok, len(self._buffer), self._dropped, error)

    def gaps(self) -> dict[str, int]:
        """Return how many committed rows each execution lacks; those without a gap are left out."""
        return dict(self._gaps)

    def take_gap(self, execution_id: str) -> int:
        """Return an execution's gap and forget it: the caller fills it from records, and what is
        dropped from now on counts anew."""
        return self._gaps.pop(execution_id, 0)

    async def delete_execution(self, execution_id: str) -> int:
        """Delete an execution's rows and counters, in steps that let other rows through between them.

        Returns the number of rows deleted; raises `LineageUnavailableError`, after which it can be
        called again.
        """
        self._buffer.remove(self._buffer.of_execution(execution_id))
        deleted, in_step = 0, ROWS_PER_STEP
        try:
            while in_step == ROWS_PER_STEP:
                async with self._turn, self._connection.transaction() as connection:
                    in_step = await delete_step(connection, execution_id)
                deleted += in_step
        except Exception as error:
            raise LineageUnavailableError(error) from error
        finally:
            if self._closing:
                await self._connection.drop()
        self._gaps.pop(execution_id, None)
        self._written.pop(execution_id, None)
        self._wake_waiting()
        return deleted

    async def _look(self) -> bool:
        """See what stands in the database; False when it is in trouble."""
        try:
            async with self._turn, self._connection.transaction() as connection:
                empty = (
                    await connection.execute(sa.select(rows.c.number).limit(1))
                ).first() is None
        except Exception as error:  # noqa: BLE001 - whatever it is, rows are kept and tried again
            self._note_trouble(error)
            return False
        self._note_recovery()
        self._note_lost_tables()
        if empty:
            self.lost = True
            self.gap_noted.set()
        return True

    async def _run(self) -> None:
        pause = 0.0
        while True:
            await self._something.wait()
            if pause:
                await _wait(self._try_again, pause)
            elif len(self._buffer) < self._batch_size:
                await _wait(self._at_once, self._flush_interval)
            self._at_once.clear()
            self._try_again.clear()
            self._buffer.age()
            try:
                await self._write(self._buffer.head(self._batch_size))
            except Exception as error:  # noqa: BLE001 - whatever it is, rows are kept and tried again
                self._note_trouble(error)
                pause = min(LONGEST_PAUSE, pause * 2 or FIRST_PAUSE)
                if self._closing:
                    return
                continue
            pause = 0.0
            self._note_recovery()
            self._wake_waiting()
            if not self._buffer:
                if self._closing:
                    return
                self._something.clear()
            elif self._waiting or self._closing:
                self._at_once.set()

    async def _write(self, entries: list[PipelineLineageEntry]) -> None:
        """Write entries and forget them; those that the database refuses are singled out and dropped."""
        if not entries:
            return
        try:
            async with self._turn, self._connection.transaction() as connection:
                self._note_lost_tables()
                entries = self._buffer.still_held(entries)  # an execution may have been deleted
                moves = await write_batch(connection, entries)
                reach("lineage.flush.before")
            reach("lineage.flush.after")
        except Exception as error:
            if not is_refusal(error):
                raise
            await self._write_without_culprit(entries, error)
            return
        self.tallies.add(moves)
        self._buffer.remove(entries)
        self._written.update(entry.execution_id for entry in entries if entry.committed)
        self.changes.tell_each((entry.execution_id for entry in entries), "rows")

    async def _write_without_culprit(
        self, entries: list[PipelineLineageEntry], error: Exception
    ) -> None:
        if len(entries) > 1:
            middle = len(entries) // 2
            await self._write(entries[:middle])
            await self._write(entries[middle:])
            return
        self._last_error = describe(error)
        log.warning("lineage row refused", row=entries[0].id, error=self._last_error)
        self._buffer.remove(entries)
        self._give_up(entries)

    async def _done_with(self, position: int) -> None:
        """Wait until the rows up to this position are written or given up."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((position, done))
        try:
            await done
        finally:
            if not done.done() or done.cancelled():
                self._waiting = [waiting for waiting in self._waiting if waiting[1] is not done]

    def _wake_waiting(self) -> None:
        oldest = self._buffer.first_position()
        still: list[tuple[int, asyncio.Future[None]]] = []
        for position, done in self._waiting:
            if oldest is not None and position >= oldest:
                still.append((position, done))
            elif not done.done():
                done.set_result(None)
        self._waiting = still

    def _hurry(self) -> None:
        self._at_once.set()
        self._try_again.set()

    def _give_up(self, entries: Iterable[PipelineLineageEntry]) -> None:
        for entry in entries:
            self._dropped += 1
            if getattr(entry, "committed", True):
                # An uncommitted row leaves no gap: its committed one follows.
                self._gaps[getattr(entry, "execution_id", "")] += 1
                self.gap_noted.set()

    def _note_lost_tables(self) -> None:
        """Count the rows of tables that have gone, with their database, as gaps."""
        if not self._connection.tables_were_missing:
            return
        self._connection.tables_were_missing = False
        self.lost = True
        self.gap_noted.set()
        aside = self._connection.set_aside
        how = f"was set aside as {aside.name}" if aside else "was lost"
        if self._written or aside:
            self._gaps.update(self._written)
            self._last_error = f"the lineage database {how} and made anew"
            log.warning("lineage database lost", rows=self._written.total())
            self._written.clear()

    def _note_trouble(self, error: Exception) -> None:
        self._last_error = describe(error)
        if not self._in_trouble:
            log.warning("lineage database in trouble", error=self._last_error)
        self._in_trouble = True

    def _note_recovery(self) -> None:
        if self._in_trouble:
            log.info("lineage database works again", backlog=len(self._buffer))
        self._in_trouble = False


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set or the time has passed."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
