"""One pack as its writer sees it: many requests in one transaction."""

from __future__ import annotations

import itertools
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from factflow_foundation.crash_points import reach
from factflow_infra.storage.layout import numbered_name, record_key
from factflow_infra.storage.packed.pack_schema import RECORD_SIGN, bounds, open_to_write
from factflow_infra.storage.packed.places import Pack
from factflow_infra.storage.requests import DeleteRequest, WriteRequest, with_output_key
from factflow_protocols.errors import ObjectExistsError

INSERT_SIZES = (64, 8, 1)
"""Rows in one statement: few different statements, so that they stay prepared."""
DELETED_TOGETHER = 500

Change = WriteRequest | DeleteRequest
Body = tuple[int, bytes | None, bytes | None]
Entry = tuple[str, int, int, float, int]


class Row(NamedTuple):
    """What a write puts into the pack: a body, and one or two entries that lead to it."""

    body: Body
    entries: list[Entry]


class _TakenError(Exception):
    """Of the names of a batch some are taken: by what stands, or by each other."""


class PackFile:
    """The one connection that writes a pack. Belongs to one thread. Keys in requests are checked ones.

    Raises `sqlite3.Error`, and `StorageUnavailableError` when the file is none of ours.
    """

    def __init__(self, path: str, pack: Pack, *, durable: bool) -> None:
        self._path = path
        self._cut = len(pack.prefix)
        self._inode = os.stat(path).st_ino  # noqa: PTH116 - strings on the hot path
        self._connection = open_to_write(path, durable=durable)
        try:
            (last,) = self._run("SELECT coalesce(max(id), 0) FROM body").fetchone()
        except BaseException:
            self._connection.close()
            raise
        self._next = last + 1

    def is_in_place(self) -> bool:
        """Tell whether the file is still the one under its name."""
        try:
            return os.stat(self._path).st_ino == self._inode  # noqa: PTH116 - strings on the hot path
        except FileNotFoundError:
            return False

    def commit(self, requests: Sequence[Change]) -> list[str | None | Exception]:
        """Do all in one transaction, in their order; return for each its answer or why it was refused."""
        try:
            with _Transaction(self._connection):
                answers = self._insert_at_once(requests)
                _reach_all(requests, "before")
        except _TakenError:
            with _Transaction(self._connection):
                answers = [self._do(request) for request in requests]
                _reach_all(requests, "before")
        _reach_all(requests, "after")
        return answers

    def delete_some(self, prefix: str) -> int:
        """Delete some of what lies below a key, in order; return how many entries, 0 when none are left."""
        low, high = bounds(prefix[self._cut :])
        found = self._run(
            "SELECT name, is_record, body FROM entry WHERE name > ? AND name < ?"
            " ORDER BY name LIMIT ?",
            (low, high, DELETED_TOGETHER),
        ).fetchall()
        with _Transaction(self._connection):
            for name, is_record, body in found:
                self._delete_entry(name, body, is_record=is_record)
        return len(found)

    def close(self, *, checkpoint: bool = True) -> None:
        """Let go of the file, with everything in it and nothing left beside it unless it is being read."""
        if checkpoint and self.is_in_place():
            self._run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._connection.close()

    # -- many at once

    def _insert_at_once(self, requests: Sequence[Change]) -> list[str | None | Exception]:
        """Take for granted that every name is free. Raises `_TakenError` when that is not so."""
        rows: list[Row] = []
        answers: list[str | None | Exception] = []
        for request in requests:
            if isinstance(request, DeleteRequest):
                raise _TakenError
            name = None if request.data is None else request.key + request.extension
            rows.append(self._row(request, name, request.record))
            answers.append(name)
        self._insert(rows)
        return answers

    def _insert(self, rows: Sequence[Row]) -> None:
        entries = [entry for row in rows for entry in row.entries]
        if self._insert_rows("entry", sorted(entries), " ON CONFLICT DO NOTHING") < len(entries):
            raise _TakenError
        self._insert_rows("body", [row.body for row in rows])

    def _insert_rows(
        self, table: str, rows: Sequence[Body] | Sequence[Entry], otherwise: str = ""
    ) -> int:
        """Return how many were inserted."""
        done = inserted = 0
        for size in INSERT_SIZES:
            while len(rows) - done >= size:
                part = rows[done : done + size]
                marks = ",".join(["(" + ",".join("?" * len(part[0])) + ")"] * size)
                inserted += self._run(
                    f"INSERT INTO {table} VALUES {marks}{otherwise}",  # noqa: S608 - our names and marks
                    [value for row in part for value in row],
                ).rowcount
                done += size
        return inserted

    def _row(self, request: WriteRequest, name: str | None, record: bytes | None) -> Row:
        number, self._next = self._next, self._next + 1
        now = time.time()
        entries: list[Entry] = []
        if name is not None:
            entries.append((name[self._cut :], 0, len(request.data or b""), now, number))
        if record is not None:
            key = record_key(request.key)[self._cut :]
            entries.append((key + RECORD_SIGN, 1, len(record), now, number))
        return Row((number, record, request.data), entries)

    # -- one by one

    def _do(self, request: Change) -> str | None | Exception:
        if isinstance(request, DeleteRequest):
            self._delete(request.key)
            return None
        try:
            name, record = self._choose_name(request)
        except ObjectExistsError as error:
            return error
        self._insert([self._row(request, name, record)])
        return name

    def _choose_name(self, request: WriteRequest) -> tuple[str | None, bytes | None]:
        """Return the first free name, and the record that names it. Raises `ObjectExistsError`."""
        record = request.record
        if record is not None and self._is_taken(record_key(request.key) + RECORD_SIGN):
            raise ObjectExistsError(request.key)
        if request.data is None:
            return None, record
        for number in itertools.count(1):
            name = numbered_name(request.key, number, request.extension)
            if not self._is_taken(name):
                break
            if record is None:
                raise ObjectExistsError(name)
        if record is not None and name != request.key + request.extension:
            record = with_output_key(record, name)
        return name, record

    def _is_taken(self, name: str) -> bool:
        found = self._run("SELECT 1 FROM entry WHERE name = ?", (name[self._cut :],))
        return found.fetchone() is not None

    def _delete(self, key: str) -> None:
        names = [key] if record_key(key) != key else [key + RECORD_SIGN, key]
        for name in names:
            found = self._run(
                "SELECT name, is_record, body FROM entry WHERE name = ?", (name[self._cut :],)
            )
            for entry, is_record, body in found.fetchall():
                self._delete_entry(entry, body, is_record=is_record)

    def _delete_entry(self, name: str, body: int, *, is_record: int) -> None:
        self._run("DELETE FROM entry WHERE name = ?", (name,))
        column = "record" if is_record else "data"
        self._run(f"UPDATE body SET {column} = NULL WHERE id = ?", (body,))  # noqa: S608 - one of two
        self._run("DELETE FROM body WHERE id = ? AND record IS NULL AND data IS NULL", (body,))

    def _run(self, statement: str, values: Sequence[object] = ()) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)


class _Transaction:
    """Commits what is done inside as one act, or none of it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _reach_all(requests: Sequence[Change], side: str) -> None:
    """Artefact and record are one transaction: a crash finds both of them stored, or neither."""
    for point in _points(requests):
        reach(f"{point}.{side}")


def _points(requests: Sequence[Change]) -> Iterator[str]:
    for request in requests:
        if isinstance(request, WriteRequest):
            if request.data is not None:
                yield "storage.artefact"
            if request.record is not None:
                yield "storage.record"
