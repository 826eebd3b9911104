"""Tables that only place things on the page become plain blocks; a markdown cell holds one line."""

from __future__ import annotations

from selectolax.lexbor import LexborNode

_BLOCKS = "h1,h2,h3,h4,h5,h6,table,blockquote"
_CELLS = "td,th,caption"
MAX_LAYOUT_DEPTH = 8
"""Tables nested deeper are left as they are: unfolding writes all that is inside anew."""

MAX_COLUMN_SPAN = 100


def unfold_layout_tables(main: LexborNode) -> None:
    """Replace each table that lays out headings or other tables by its cells' contents, in order."""
    layout = [
        table
        for table in main.css("table")
        if _depth(table) <= MAX_LAYOUT_DEPTH and _is_layout(table)
    ]
    for table in reversed(layout):
        block = main.parser.create_node("div")
        cells = [cell for cell in table.css(_CELLS) if _owner(cell) == table.mem_id]
        block.inner_html = "".join(f"<div>{cell.inner_html or ''}</div>" for cell in cells)
        table.replace_with(block, move=True)


def bound_spans(main: LexborNode) -> None:
    """Take column spans off that would fill rows with cells nobody wrote."""
    for cell in main.css("[colspan]"):
        span = (cell.attributes.get("colspan") or "").strip()
        if not (span.isdecimal() and len(span) < 4 and int(span) <= MAX_COLUMN_SPAN):
            del cell.attrs["colspan"]


def _is_layout(table: LexborNode) -> bool:
    if table.attributes.get("role") in {"presentation", "none"}:
        return True
    return table.css_first("th") is None and any(
        node.mem_id != table.mem_id for node in table.css(_BLOCKS)
    )


def _depth(table: LexborNode) -> int:
    depth, node = 1, table.parent
    while node is not None:
        depth += node.tag == "table"
        node = node.parent
    return depth


def _owner(cell: LexborNode) -> int:
    node = cell.parent
    while node is not None and node.tag != "table":
        node = node.parent
    return node.mem_id if node is not None else 0
