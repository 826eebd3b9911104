"""Rows of figures, printed as one table and written as JSON.

`python bench/table.py FILE…` prints what JSON files hold as a table for a page.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """A figure: its `values` of every round, in `unit` ("" is a ratio to what `against` names).

    `per_call_us` is microseconds per call of a stage, on the clock and of processor time. A row that was
    not measured says why in `skipped`.
    """

    name: str
    what: str
    values: tuple[float, ...] = ()
    unit: str = ""
    against: str = ""
    target: str = ""
    per_call_us: tuple[float, float] | None = None
    note: str = ""
    skipped: str = ""

    @property
    def median(self) -> float | None:
        return statistics.median(self.values) if self.values else None


def ratios(over: Sequence[float], under: Sequence[float]) -> tuple[float, ...]:
    """Return the quotients of figures of the same rounds."""
    return tuple(one / other for one, other in zip(over, under, strict=True))


def skipped(name: str, what: str, why: str) -> Row:
    """Return a row without figures."""
    return Row(name, what, skipped=why)


def show(rows: Sequence[Row], title: str) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    for heading in ("", "what"):
        table.add_column(heading, overflow="fold")
    for heading in ("median", "range", "against", "target", "µs/call", "CPU µs/call"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*cells(row))
    Console(width=None if Console().is_terminal else 150).print(table)


def cells(row: Row) -> list[str]:
    """Return a row as text."""
    aside = row.skipped or row.note
    what = f"{row.what} ({aside})" if aside else row.what
    if row.skipped:
        return [row.name, what, "skipped", "", "", row.target, "", ""]
    assert row.median is not None
    unit = f" {row.unit}" if row.unit else ""
    spread = ""
    if len(row.values) > 1:
        spread = f"{_number(min(row.values))}-{_number(max(row.values))}"
    times = [f"{each:.0f}" for each in row.per_call_us] if row.per_call_us else ["", ""]
    return [row.name, what, _number(row.median) + unit, spread, row.against, row.target, *times]


def markdown(rows: Sequence[Row]) -> str:
    """Return the rows as a table for a page; what was skipped is left out."""
    lines = [
        "| | what | median | range | against | target |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        if not row.skipped:
            name, what, median, spread, against, target, *_ = cells(row)
            lines.append(f"| {name} | {what} | {median} | {spread} | {against} | {target} |")
    return "\n".join(lines)


def read(path: Path) -> list[Row]:
    """Return the rows of a JSON file."""
    known = {field.name for field in fields(Row)}
    figures = json.loads(path.read_text())["rows"]
    return [Row(**{name: each[name] for name in known & each.keys()}) for each in figures]


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:.0f}"


def write(rows: Sequence[Row], path: Path, **more: Any) -> None:
    """Write the JSON: everything in the table, round by round, and `more`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figures = [{**asdict(row), "median": row.median} for row in rows]
    path.write_text(json.dumps({**more, "rows": figures}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    print(markdown([row for name in sys.argv[1:] for row in read(Path(name))]))
