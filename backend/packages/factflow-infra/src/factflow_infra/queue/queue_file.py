"""The queue's file: one SQLite database, one connection, one thread.

Statements take many rows at once. That is not only for SQLite's sake: `sqlite3` lets go of the
interpreter lock around every step, and beside a busy event loop each may have to wait to get it back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from factflow_infra.queue.schema import connect

READY, DELAYED, SETTLED, FAILED = range(4)
"""`message.state`. Below `SETTLED` a message stands, with its body; from there on it is a flag.

Conditions on it are written as numbers: SQLite uses the partial index `standing` only for literals.
"""

PUBLISHER_NONE, PUBLISHER_OPEN, PUBLISHER_ENDED = range(3)

PURGE_ROWS = 5_000
INSERT_SIZES = (256, 32, 4, 1)


class NewMessage(NamedTuple):
    """A row to insert; `state` is READY or DELAYED."""

    scope: int
    message_id: str
    queue: str
    state: int
    not_before: float
    body: bytes


class Standing(NamedTuple):
    """A message as it is loaded for delivery."""

    seq: int
    message_id: str
    repeat: bool
    crashes: int
    body: bytes


class SettledRow(NamedTuple):
    """What settling by id found: `seq` and `state` before, None when it was not announced yet."""

    seq: int | None
    state: int | None


class ScopeRow(NamedTuple):
    """A scope as it stands in the file."""

    id: int
    execution_id: str | None
    generation: int
    publisher: int
    cursor: int
    crashed: int


class LocatedRow(NamedTuple):
    """A message as the file has it, settled or not; `before` counts the ready ones of smaller seq."""

    seq: int
    queue: str
    state: int
    not_before: float
    crashes: int
    body: bytes | None
    before: int


class Contents(NamedTuple):
    """All that memory is rebuilt from."""

    scopes: list[ScopeRow]
    counts: list[tuple[int, str, int, int]]
    """(scope, queue, state, how many)"""
    delayed: list[tuple[int, str, int, float]]
    """(scope, queue, seq, not_before)"""


class QueueFile:
    """Reads and writes the file. Every method belongs to the thread that made the object."""

    def __init__(self, path: Path, *, fsync: bool = False, boot: str | None = None) -> None:
        self._connection = connect(path, fsync=fsync)
        self._fsync = fsync
        self._boot = boot
        self._repeat_below = 0
        self._next_seq = 1

    def load(self) -> Contents:
        """Note how the last run ended, mark this one as under way, and return what the file holds.

        When the machine went down under a run that did not write through to the disk, what the file
        says may be ahead of what storage has: all scopes are unnamed then, as if they had been lost.
        """
        run = self._connection.execute
        clean, self._repeat_below, boot, fsync = run(
            "SELECT clean, repeat_below, boot, fsync FROM condition"
        ).fetchone()
        last = run("SELECT coalesce(max(seq), 0) FROM message").fetchone()[0]
        with self.transaction():
            if not clean:
                self._repeat_below = max(last, self._repeat_below)
                self._count_crash()
                if not fsync and boot is not None and boot != self._boot:
                    run("UPDATE scope SET execution_id = NULL")
            run(
                "UPDATE condition SET clean = 0, repeat_below = ?, boot = ?, fsync = ?",
                (self._repeat_below, self._boot, self._fsync),
            )
        self._next_seq = max(last, self._repeat_below) + 1
        return Contents(
            scopes=[ScopeRow(*row) for row in run("SELECT * FROM scope ORDER BY id")],
            counts=run(
                "SELECT scope, queue, state, count(*) FROM message GROUP BY scope, queue, state"
            ).fetchall(),
            delayed=run(
                "SELECT scope, queue, seq, not_before FROM message WHERE state < 2 AND state = 1"
            ).fetchall(),
        )

    def _count_crash(self) -> None:
        """Count this crash for every message it met claimed; from now on claims are written."""
        run = self._connection.execute
        run("UPDATE scope SET crashed = 1")
        run("UPDATE message SET claimed = 0, crashes = crashes + 1 WHERE state < 2 AND claimed > 0")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what is done inside as one act, or none of it."""
        run = self._connection.execute
        run("BEGIN IMMEDIATE")
        try:
            yield
            run("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    def insert(self, rows: Sequence[NewMessage]) -> list[int | None]:
        """Announce messages; return each one's seq, None for those announced before."""
        seqs: list[int | None] = []
        done = 0
        for size in INSERT_SIZES:
            while len(rows) - done >= size:
                seqs += self._insert_chunk(rows[done : done + size])
                done += size
        return seqs

    def _insert_chunk(self, rows: Sequence[NewMessage]) -> list[int | None]:
        first, self._next_seq = self._next_seq, self._next_seq + len(rows)
        values: list[object] = []
        for seq, row in enumerate(rows, first):
            values.append(seq)
            values += row
        marks = ",".join(["(?,?,?,?,?,?,?)"] * len(rows))
        inserted = self._connection.execute(
            "INSERT INTO message (seq, scope, message_id, queue, state, not_before, body)"  # noqa: S608 - only marks
            f" VALUES {marks} ON CONFLICT (scope, message_id) DO NOTHING",
            values,
        ).rowcount
        if inserted == len(rows):
            return list(range(first, self._next_seq))
        found = self._connection.execute("SELECT seq FROM message WHERE seq >= ?", (first,))
        new = {seq for (seq,) in found}
        return [seq if seq in new else None for seq in range(first, self._next_seq)]

    def settle(self, seqs: Sequence[int], *, failed: bool) -> bool:
        """Settle messages that stand; tell whether all of them did."""
        if not seqs:
            return True
        changed = self._connection.execute(
            "UPDATE message SET state = ?, body = NULL"
            " WHERE seq IN (SELECT value FROM json_each(?)) AND state < 2",
            (FAILED if failed else SETTLED, json.dumps(seqs)),
        ).rowcount
        return changed == len(seqs)

    def settle_by_id(
        self, scope: int, queue: str, message_id: str, *, failed: bool
    ) -> SettledRow | None:
        """Settle a message wherever it stands; None when it was settled before.

        One that is not announced yet gets its flag now, so that its announcement will change nothing.
        """
        state = FAILED if failed else SETTLED
        found = self._connection.execute(
            "SELECT seq, state FROM message WHERE scope = ? AND message_id = ?",
            (scope, message_id),
        ).fetchone()
        if found is None:
            self.insert([NewMessage(scope, message_id, queue, state, 0.0, b"")])
            return SettledRow(None, None)
        if found[1] >= SETTLED:
            return None
        self.settle([found[0]], failed=failed)
        return SettledRow(*found)

    def claim(self, seqs: Sequence[int]) -> None:
        """Note that these are being handled."""
        if seqs:
            self._connection.execute(
                "UPDATE message SET claimed = 1"
                " WHERE seq IN (SELECT value FROM json_each(?)) AND state < 2",
                (json.dumps(seqs),),
            )

    def put_back(self, seq: int, body: bytes, not_before: float) -> None:
        """Replace a standing message's body and have it wait."""
        self._connection.execute(
            "UPDATE message SET state = ?, body = ?, not_before = ?, claimed = 0"
            " WHERE seq = ? AND state < 2",
            (DELAYED, body, not_before, seq),
        )

    def mark_repeats(self, seqs: Sequence[int]) -> None:
        """Have these, which are handled no more, delivered as repeats from now on."""
        self._connection.execute(
            "UPDATE message SET repeat = 1, claimed = 0 WHERE seq IN (SELECT value FROM json_each(?))",
            (json.dumps(seqs),),
        )

    def ready_after(self, scope: int, queue: str, seq: int, limit: int) -> list[Standing]:
        """Return the next ready messages of a queue behind `seq`, in order."""
        return self._standing(
            "scope = ? AND queue = ? AND state = 0 AND seq > ? ORDER BY seq LIMIT ?",
            (scope, queue, seq, limit),
        )

    def standing(self, seqs: Sequence[int]) -> list[Standing]:
        """Return those of the given messages that are not settled, in the order given."""
        found = self._standing("seq IN (SELECT value FROM json_each(?))", (json.dumps(seqs),))
        by_seq = {row.seq: row for row in found}
        return [by_seq[seq] for seq in seqs if seq in by_seq]

    def _standing(self, where: str, values: Sequence[object]) -> list[Standing]:
        rows = self._connection.execute(
            "SELECT seq, message_id, repeat, crashes, body FROM message"  # noqa: S608 - the two clauses above
            f" WHERE state < 2 AND {where}",
            values,
        )
        return [
            Standing(seq, message_id, bool(repeat) or seq <= self._repeat_below, crashes, body)
            for seq, message_id, repeat, crashes, body in rows
        ]

    def locate(self, scope: int, message_id: str, most: int) -> LocatedRow | None:
        """Return a message by its id, None when it was not announced; `before` is `most` at most."""
        run = self._connection.execute
        found = run(
            "SELECT seq, queue, state, not_before, crashes, body FROM message"
            " WHERE scope = ? AND message_id = ?",
            (scope, message_id),
        ).fetchone()
        if found is None:
            return None
        seq, queue = found[:2]
        (before,) = run(
            "SELECT count(*) FROM (SELECT 1 FROM message"
            " WHERE scope = ? AND queue = ? AND state = 0 AND seq < ? LIMIT ?)",
            (scope, queue, seq, most),
        ).fetchone()
        return LocatedRow._make((*found, before))

    def open_scope(self, execution_id: str, generation: int, *, publisher: bool) -> ScopeRow:
        """Find or make a scope; with `publisher` announce its publisher unless that was done."""
        run = self._connection.execute
        key = (execution_id, generation)
        run("INSERT OR IGNORE INTO scope (execution_id, generation) VALUES (?, ?)", key)
        if publisher:
            run(
                "UPDATE scope SET publisher = 1"
                " WHERE execution_id = ? AND generation = ? AND publisher = 0",
                key,
            )
        found = run("SELECT * FROM scope WHERE execution_id = ? AND generation = ?", key)
        return ScopeRow(*found.fetchone())

    def keep_cursor(self, scope: int, cursor: int) -> None:
        """Keep the publisher's position."""
        self._connection.execute("UPDATE scope SET cursor = ? WHERE id = ?", (cursor, scope))

    def end_publisher(self, scope: int) -> None:
        """Settle the publisher."""
        self._connection.execute(
            "UPDATE scope SET publisher = ? WHERE id = ?", (PUBLISHER_ENDED, scope)
        )

    def unname(self, scope: int) -> None:
        """Take a scope's name away, so that it can never be found again: the start of its deletion."""
        self._connection.execute("UPDATE scope SET execution_id = NULL WHERE id = ?", (scope,))

    def purge(self, scope: int) -> bool:
        """Remove some of an unnamed scope's rows, at last the scope; tell whether all is gone."""
        run = self._connection.execute
        removed = run(
            "DELETE FROM message WHERE seq IN (SELECT seq FROM message WHERE scope = ? LIMIT ?)",
            (scope, PURGE_ROWS),
        ).rowcount
        if removed == PURGE_ROWS:
            return False
        run("DELETE FROM scope WHERE id = ? AND execution_id IS NULL", (scope,))
        return True

    def mark_clean(self) -> None:
        """Note that this run ended in order."""
        self._connection.execute("UPDATE condition SET clean = 1")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
