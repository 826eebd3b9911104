"""What was recorded and is not written yet: bounded, one place per row."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from factflow_lineage.models import PipelineLineageEntry, rank, replaces

MakeEntry = Callable[[], PipelineLineageEntry]


class LineageBuffer:
    """Entries in the order their rows were first recorded, at most `limit`.

    A later entry of a row takes the place of the earlier one, so that a stage that ends before the next
    write costs one row. Positions count up from 1 and are never used again.

    What only began is kept apart, unmade: a stage that ends soon needs no row of its beginning.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._slots: dict[str, tuple[int, PipelineLineageEntry]] = {}
        self._next_position = 1
        self._begun: dict[str, MakeEntry] = {}
        self._lasting: dict[str, MakeEntry] = {}

    def __len__(self) -> int:
        return len(self._slots) + len(self._begun) + len(self._lasting)

    def begin(self, row_id: str, make: MakeEntry) -> None:
        """Take note of a row whose entry is made when it still has no other at the second look
        (`age`)."""
        self._begun[row_id] = make

    def age(self) -> None:
        """Make the entries of what had begun before the last look, and looks at the rest next time."""
        if self._lasting:
            lasting, self._lasting = self._lasting, {}
            for make in lasting.values():
                self.put(make())
        self._lasting, self._begun = self._begun, {}

    def make_all(self) -> None:
        """Make the entries of all that has begun."""
        self.age()
        self.age()

    def put(self, entry: PipelineLineageEntry) -> bool:
        """Take an entry in; False when there is no room for another row."""
        if self._begun.pop(entry.id, None) is None:
            self._lasting.pop(entry.id, None)
        slot = self._slots.get(entry.id)
        if slot is not None:
            position, old = slot
            if replaces(_rank(entry), _rank(old)):
                self._slots[entry.id] = position, entry
            return True
        if len(self._slots) >= self.limit:
            return False
        self._slots[entry.id] = self._next_position, entry
        self._next_position += 1
        return True

    def head(self, count: int) -> list[PipelineLineageEntry]:
        """Return the first entries, leaving them in place until `remove` says they are done with."""
        return [entry for _, entry in islice(self._slots.values(), count)]

    def still_held(self, entries: Iterable[PipelineLineageEntry]) -> list[PipelineLineageEntry]:
        """Return those entries that are neither removed nor replaced."""
        missing = (0, None)
        return [entry for entry in entries if self._slots.get(entry.id, missing)[1] is entry]

    def remove(self, entries: Iterable[PipelineLineageEntry]) -> None:
        """Forget entries; a row recorded anew meanwhile keeps its place."""
        for entry in entries:
            slot = self._slots.get(entry.id)
            if slot is not None and slot[1] is entry:
                del self._slots[entry.id]

    def of_execution(self, execution_id: str) -> list[PipelineLineageEntry]:
        """Return the entries of an execution."""
        self.make_all()
        return [entry for _, entry in self._slots.values() if entry.execution_id == execution_id]

    def first_position(self) -> int | None:
        """Return the position of the oldest entry; everything before it is done with."""
        return next((position for position, _ in self._slots.values()), None)

    def last_position(self, execution_id: str | None = None) -> int | None:
        """Return the position of the newest entry (of an execution)."""
        self.make_all()
        slots = reversed(self._slots.values())
        return next(
            (
                position
                for position, entry in slots
                if execution_id is None or entry.execution_id == execution_id
            ),
            None,
        )


def _rank(entry: PipelineLineageEntry) -> tuple[int, int, int, float] | None:
    return rank(entry.status, entry.generation, entry.attempts, entry.started_at)
