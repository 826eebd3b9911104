"""Tables and fact sheets for people, never wider than the terminal.

Columns that do not fit leave, the least important first; ids that are needed for the next command
stay whole; what is left is cut with an ellipsis.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factflow_cli import terminal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

GAP = 2
READABLE = 16
"""Cells. A text column is not cut below this while there is a column that may leave instead."""
NARROWEST = 8
"""Cells. Below this a text column is cut only together with the ids."""
SENTENCE_LINES = 3
"""Lines. What a sentence beside a table says beyond them is cut."""

_COLOURS = {
    "completed": "green",
    "healthy": "green",
    "ok": "green",
    "failed": "red",
    "unhealthy": "red",
    "error": "red",
    "running": "cyan",
    "cancelled": "yellow",
    "interrupted": "yellow",
    "degraded": "yellow",
}

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column: `value` is a field's name or a function of the row.

    `keep` says how dear it is: 0 never leaves, and the highest number leaves first. `whole` columns
    are never cut (ids), `right` ones stand at the right edge (numbers), and `wraps` ones continue on
    the next line (sentences).
    """

    header: str
    value: str | Callable[[Row], Any]
    keep: int = 0
    whole: bool = False
    right: bool = False
    wraps: bool = False

    def cell(self, row: Row) -> str:
        """Return what stands in this column for the row, `-` for nothing."""
        value = row.get(self.value) if isinstance(self.value, str) else self.value(row)
        return "-" if value is None or value == "" else terminal.one_line(value)


def number(header: str, value: str, keep: int = 0) -> Column:
    """Return a right-aligned column that is never cut."""
    return Column(header, value, keep=keep, whole=True, right=True)


def print_table(
    columns: Sequence[Column],
    rows: Sequence[Row],
    below: Callable[[Row], Sequence[str]] = lambda _: (),
) -> None:
    """Print the rows under their headers; an empty table prints its headers alone.

    `below` returns sentences about a row: they stand under it, indented, over the table's whole width.
    """
    _print(_table(columns, rows, below))


def drawn_table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Return the table as text without colours."""
    return _drawn(_table(columns, rows, lambda _: ()), colours=False)


def _table(
    columns: Sequence[Column], rows: Sequence[Row], below: Callable[[Row], Sequence[str]]
) -> Callable[[Console], None]:
    """Return what draws a table."""
    from rich.cells import cell_len

    room = terminal.width()
    cells = {column: [column.cell(row) for row in rows] for column in columns}
    widths = {
        column: max([cell_len(column.header), *map(cell_len, cells[column])]) for column in columns
    }
    kept = _fitting(columns, widths, room)
    _shrink(kept, widths, room)
    shown = [widths[column] for column in kept]

    def draw(console: Console) -> None:
        table = _grid(kept, shown, headed=True)
        for place, row in enumerate(rows):
            table.add_row(*(_coloured(cells[column][place]) for column in kept))
            sentences = below(row)
            if sentences:
                console.print(table)
                table = _grid(kept, shown, headed=False)
                for sentence in sentences:
                    console.print("\n".join(sentence_lines(sentence, "  ")), soft_wrap=True)
        console.print(table)

    return draw


def _grid(columns: Sequence[Column], widths: Sequence[int], *, headed: bool) -> Table:
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold", show_header=headed
    )
    for column, width in zip(columns, widths, strict=True):
        table.add_column(
            column.header,
            width=width,
            justify="right" if column.right else "left",
            no_wrap=not (column.whole or column.wraps),
            overflow="fold" if column.whole or column.wraps else "ellipsis",
        )
    return table


def _fitting(columns: Sequence[Column], widths: Mapping[Column, int], room: int) -> list[Column]:
    """Return the columns that fit with every text column still readable."""
    kept = list(columns)

    def needed() -> int:
        least = (widths[c] if c.whole else min(widths[c], READABLE) for c in kept)
        return sum(least) + GAP * (len(kept) - 1)

    while needed() > room and any(column.keep for column in kept):
        kept.remove(max(kept, key=lambda column: column.keep))
    return kept


def _shrink(kept: Sequence[Column], widths: dict[Column, int], room: int) -> None:
    """Narrow the widest column cell by cell; columns of ids are folded only when nothing else helps."""
    room -= GAP * (len(kept) - 1)
    while sum(widths[column] for column in kept) > room:
        soft = [c for c in kept if not c.whole and widths[c] > NARROWEST]
        widest = max(soft or kept, key=lambda column: widths[column])
        if widths[widest] <= 1:
            return
        widths[widest] -= 1


def print_facts(facts: Sequence[tuple[str, Any]]) -> None:
    """Print `label  value` lines; facts without a value are left out, long ones are folded."""
    from rich.table import Table

    table = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for label, value in facts:
        if value is not None and value != "":
            table.add_row(terminal.one_line(label), _coloured(terminal.one_line(value)))
    _print(lambda console: console.print(table))


def print_line(line: str = "") -> None:
    """Print one line of the result; on a terminal it is wrapped, and its further lines indented."""
    line = terminal.one_line(line)
    if terminal.is_terminal(sys.stdout):
        line = "\n".join(wrapped(line, terminal.width()))
    terminal.write_text(line + "\n")


def sentence_lines(sentence: str, indent: str) -> list[str]:
    """Return a sentence as indented lines that fit, the further ones a little more; cut if too long."""
    room = max(READABLE, terminal.width() - len(indent))
    lines = wrapped(terminal.one_line(sentence), room, further="  ")
    if len(lines) > SENTENCE_LINES:
        lines = lines[:SENTENCE_LINES]
        lines[-1] = cut(f"{lines[-1]} …", room)
    return [indent + line for line in lines]


def cut(text: str, room: int) -> str:
    """Return the text, its end replaced by an ellipsis when it is wider than `room` cells."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= room:
        return text
    return set_cell_size(text, max(0, room - 1)).rstrip(" …") + "…"


def wrapped(line: str, room: int, further: str = "    ") -> list[str]:
    """Break at spaces where that helps, inside words where it must be."""
    from rich.cells import chop_cells

    lines: list[str] = []
    indent = ""
    while True:
        piece = (chop_cells(line, room - len(indent)) or [""])[0]
        if piece == line:
            return [*lines, indent + line]
        space = piece.rfind(" ") if line[len(piece)] != " " else len(piece)
        end = space if space > 0 and piece[:space].strip() else len(piece)
        lines.append(indent + line[:end].rstrip())
        line, indent = line[end:].lstrip(), further


def print_total(answer: Row, shown: int, noun: str) -> None:
    """Print `showing 20 of 340 noun, --offset 20 for more`, or just the count when that is all."""
    total, offset = answer.get("total"), answer.get("offset")
    total = total if isinstance(total, int) else shown
    offset = offset if isinstance(offset, int) else 0
    print_line()
    if shown == 0 and total == 0:
        print_line(f"no {noun}")
    elif offset + shown < total:
        print_line(f"showing {shown} of {total} {noun}, --offset {offset + shown} for more")
    elif shown < total:
        print_line(f"showing {shown} of {total} {noun}, the last ones")
    else:
        print_line(f"{total} {noun.removesuffix('s') if total == 1 else noun}")


def _coloured(cell: str) -> Text:
    from rich.text import Text

    return Text(cell, style=_COLOURS.get(cell, ""))


def _print(draw: Callable[[Console], None]) -> None:
    terminal.write_text(_drawn(draw, colours=terminal.is_coloured(sys.stdout)))


def _drawn(draw: Callable[[Console], None], *, colours: bool) -> str:
    """Draw into memory first, so that one place writes to stdout."""
    from rich.console import Console

    page = io.StringIO()
    console = Console(
        file=page,
        width=terminal.width(),
        force_terminal=colours,
        no_color=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    draw(console)
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())
