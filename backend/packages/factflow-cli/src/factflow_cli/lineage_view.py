"""Lineage drawn for a person: rows, failures with their reasons, and the tree a message stands in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from factflow_cli import terminal
from factflow_cli.tables import (
    Column,
    cut,
    number,
    print_facts,
    print_line,
    print_table,
    print_total,
    sentence_lines,
)
from factflow_cli.values import moment, took

Row = Mapping[str, Any]

DEEPEST_INDENT = 16
"""Cells. Deeper trees stop indenting before they leave the screen."""

LIST_COLUMNS = (
    Column("LINEAGE", "id", whole=True),
    Column("ROUTE", "route_id", keep=4),
    Column("STAGE", "stage"),
    Column("STATUS", "status", whole=True),
    Column("OUTCOME", "outcome", keep=3, whole=True),
    number("TRIES", "attempts", keep=6),
    Column("TOOK", lambda row: took(row.get("duration_ms")), keep=5, whole=True, right=True),
    Column("STARTED", lambda row: moment(row.get("started_at")), keep=7, whole=True),
)

FAILURE_COLUMNS = (
    Column("LINEAGE", "id", whole=True),
    Column("ROUTE", "route_id", keep=1, whole=True),
    Column("STAGE", "stage", whole=True),
    Column("ENDED", lambda row: moment(row.get("completed_at")), keep=2, whole=True),
    Column("EXECUTION", "execution_id", keep=3, whole=True),
)


def _error(row: Row, part: str) -> Any:
    error = row.get("error")
    return error.get(part) if isinstance(error, Mapping) else None


def draw_row(row: Row) -> None:
    """Print all that is known of a row, its error with the traceback."""
    readable = {
        **row,
        "started_at": moment(row.get("started_at")),
        "completed_at": moment(row.get("completed_at")),
        "duration_ms": took(row.get("duration_ms")),
    }
    facts: list[tuple[str, Any]] = [
        (name.removesuffix("_ms").replace("_", " "), value)
        for name, value in readable.items()
        if name not in {"error", "metadata"}
    ]
    extra = row.get("metadata")
    if isinstance(extra, Mapping):
        facts += [(f"metadata {name}", value) for name, value in extra.items()]
    if _error(row, "type"):
        facts.append(("error", _error_text(row)))
    print_facts(facts)
    if _error(row, "traceback"):
        print_line()
        terminal.write_text(terminal.harmless(str(_error(row, "traceback"))).rstrip() + "\n")
    if row.get("input_key"):
        terminal.say(f"next: factflow storage get {row['input_key']}")


def draw_failures(entries: Sequence[Row]) -> None:
    """Print each failure with its reason below it, and its URL where the reason does not name it."""
    print_table(FAILURE_COLUMNS, entries, below=_reason)


def _reason(row: Row) -> list[str]:
    reason = _error_text(row)
    metadata = row.get("metadata")
    url = metadata.get("url") if isinstance(metadata, Mapping) else None
    is_told = not url or str(url) in reason
    return [line for line in (reason, "" if is_told else str(url)) if line]


def _error_text(row: Row) -> str:
    """Return the error's class and message, '' for none."""
    parts = (_error(row, "type"), _error(row, "message"))
    return ": ".join(str(part) for part in parts if part)


def print_rows_total(answer: Row, shown: int, noun: str) -> None:
    """Print how many rows there are, or how to go on where they were not counted."""
    cursor = answer.get("next_cursor")
    if answer.get("total") is not None or not isinstance(cursor, str):
        print_total({**answer, "total": answer.get("total") or shown}, shown, noun)
        return
    print_line()
    scanned = answer.get("scanned")
    print_line(f"{shown} {noun} shown, {scanned} looked at; there may be more: --cursor {cursor}")


def draw_chain(
    answer: Row,
    ancestors: Sequence[Row],
    entry: Row,
    descendants: Sequence[Row],
    limit: int = 1000,
) -> None:
    """Print the tree from the root down, the row asked for marked; a route is named where it begins.

    At most `limit` rows of what came of it are drawn.
    """
    left_out = max(0, len(descendants) - limit)
    line = _from_the_root(ancestors, entry)
    tree = [*((row, depth) for depth, row in enumerate(line)), (entry, len(line))]
    below = islice(_below(entry, descendants), limit)
    tree += ((row, len(line) + depth) for row, depth in below)
    place = _Layout(tree)
    lane = None
    for row, depth in tree:
        if lane != (lane := (row.get("execution_id"), row.get("route_id"))):
            foreign = row.get("execution_id") != entry.get("execution_id")
            print_line(f"{lane[1]}{f'  in {lane[0]}' if foreign else ''}")
        print_line(place.line(row, depth, "> " if row is entry else "  "))
        if _error(row, "type"):
            for part in sentence_lines(_error_text(row), "    "):
                print_line(part)
    print_line()
    more = ", cut off: there are more" if answer.get("truncated") else ""
    if left_out:
        more = f", {left_out} of them not drawn: --limit {len(descendants)}{more}"
    print_line(f"{len(ancestors)} ancestors, {len(descendants)} descendants{more}")


def _below(entry: Row, descendants: Sequence[Row]) -> Iterator[tuple[Row, int]]:
    """Yield the descendants with their depth below the entry, each followed by its own."""
    known = {str(row.get("id")) for row in descendants}
    children: dict[str, list[Row]] = {}
    for row in descendants:
        parent = str(row.get("parent_id"))
        children.setdefault(parent if parent in known else str(entry.get("id")), []).append(row)
    seen: set[str] = set()
    pending = [(row, 1) for row in reversed(children.get(str(entry.get("id")), []))]
    while pending:
        row, depth = pending.pop()
        row_id = str(row.get("id"))
        if row_id not in seen:
            seen.add(row_id)
            yield row, depth
            pending += [(child, depth + 1) for child in reversed(children.get(row_id, []))]


def _from_the_root(ancestors: Sequence[Row], entry: Row) -> list[Row]:
    """Return the ancestors with the oldest first, following `parent_id` up from the entry."""
    by_id = {row.get("id"): row for row in ancestors}
    line: list[Row] = []
    parent = by_id.pop(entry.get("parent_id"), None)
    while parent is not None:
        line.append(parent)
        parent = by_id.pop(parent.get("parent_id"), None)
    return list(reversed(line)) if not by_id else list(ancestors)


class _Layout:
    """Where things stand in a tree: the id at the left edge, whole, the stage indented by depth."""

    def __init__(self, tree: Sequence[tuple[Row, int]]) -> None:
        ids = max(len(terminal.one_line(row.get("id"))) for row, _ in tree)
        widest = max(len(_stage_and_outcome(row)) for row, _ in tree)
        deepest = max(depth for _, depth in tree)
        self._room = max(24, terminal.width() - ids - 4)
        self._limit = min(DEEPEST_INDENT, max(4, self._room - widest))
        self._step = 2 if 2 * deepest <= self._limit else 1

    def line(self, row: Row, depth: int, mark: str) -> str:
        """Return one row of the tree."""
        indent = min(self._step * depth, self._limit)
        text = cut(_stage_and_outcome(row), self._room - indent)
        return f"{mark}{terminal.one_line(row.get('id'))}  {' ' * indent}{text}"


def _stage_and_outcome(row: Row) -> str:
    """Return what a stage did and how long it took; a row that waits for others says for how many."""
    words = [str(row.get("stage")), str(row.get("outcome") or row.get("status"))]
    if row.get("pending_children"):
        words.append(f"({row['pending_children']} unfinished below)")
    return terminal.one_line("  ".join([*words, took(row.get("duration_ms"))]).rstrip())
