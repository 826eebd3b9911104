"""Group commit: many operations in one transaction.

The order within a transaction is free, because what an operation does depends only on rows that stood
before it, and settling wins over all else: reads first, then settles, then new messages, then claims, then
the rest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from factflow_foundation.crash_points import reach
from factflow_infra.queue.operations import Claim, Load, Operation, Publish, Settle
from factflow_infra.queue.queue_file import NewMessage, QueueFile
from factflow_infra.queue.schema import unavailable
from factflow_protocols.errors import QueueError


class _ContestedError(Exception):
    """A message thought to stand was settled by a neighbour; the batch is run again one by one."""


def commit(file: QueueFile, operations: Sequence[Operation], path: Path) -> None:
    """Run all in one transaction; note in each operation's `error` what went wrong with it.

    When the file cannot be used all fail and nothing is done. When one operation's data is refused,
    each is run alone, so that only that one fails.
    """
    try:
        _commit(file, operations)
    except _ContestedError:
        _one_by_one(file, operations, path)
    except sqlite3.Error as error:
        if _is_the_files_fault(error):
            for operation in operations:
                operation.error = unavailable(path, error)
        else:
            _refuse(file, operations, path, error)
    except Exception as error:  # noqa: BLE001 - whatever it is, each caller must get an answer
        _refuse(file, operations, path, error)


def _is_the_files_fault(error: sqlite3.Error) -> bool:
    return isinstance(error, sqlite3.OperationalError) or type(error) is sqlite3.DatabaseError


def _refuse(file: QueueFile, operations: Sequence[Operation], path: Path, error: Exception) -> None:
    if len(operations) > 1:
        _one_by_one(file, operations, path)
        return
    refusal = QueueError(f"the queue cannot hold this message: {error}")
    refusal.__cause__ = error
    operations[0].error = refusal


def _one_by_one(file: QueueFile, operations: Sequence[Operation], path: Path) -> None:
    for operation in operations:
        if isinstance(operation, Settle):
            operation.by_id = True
        commit(file, [operation], path)


def _commit(file: QueueFile, operations: Sequence[Operation]) -> None:
    points = dict.fromkeys(
        operation.crash_point for operation in operations if operation.crash_point
    )
    with file.transaction():
        for operation in operations:
            if isinstance(operation, Load):
                operation.run(file)
        _settle(file, [operation for operation in operations if isinstance(operation, Settle)])
        _insert(file, operations)
        file.claim([op.hand.message.seq for op in operations if isinstance(op, Claim)])
        for operation in operations:
            if not isinstance(operation, Load):
                operation.run(file)
        for point in points:
            reach(f"{point}.before")
    for point in points:
        reach(f"{point}.after")


def _settle(file: QueueFile, settles: Sequence[Settle]) -> None:
    for failed in (False, True):
        seqs = [
            settle.hand.message.seq
            for settle in settles
            if settle.hand is not None and not settle.by_id and settle.failed is failed
        ]
        if not file.settle(seqs, failed=failed):
            raise _ContestedError
    for settle in settles:
        if settle.by_id:
            settle.run_by_id(file)


def _insert(file: QueueFile, operations: Sequence[Operation]) -> None:
    rows: list[NewMessage] = []
    for operation in operations:
        if isinstance(operation, Publish):
            rows += operation.rows
        elif isinstance(operation, Settle) and not (operation.by_id and operation.found is None):
            rows += operation.children
    seqs = iter(file.insert(rows))
    for operation in operations:
        if isinstance(operation, Publish):
            operation.seqs = [next(seqs) for _ in operation.rows]
        elif isinstance(operation, Settle) and not (operation.by_id and operation.found is None):
            operation.seqs = [next(seqs) for _ in operation.children]
