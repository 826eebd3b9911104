"""Listings of any length: asked for page by page, shown as rows come, ended where the reader ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from factflow_cli import terminal
from factflow_cli.api import Api, Json, rows
from factflow_cli.session import Session

PAGE = 1000
"""Rows; the most the server gives at once."""

AllOption = Annotated[
    bool, typer.Option("--all", help="Every row, however many; --limit counts no more.")
]


def show_listing(
    session: Session,
    where: str,
    name: str,
    draw: Callable[[Json, list[Json]], None],
    *,
    limit: int | None,
    offset: int = 0,
    **query: Any,
) -> None:
    """Ask for up to `limit` rows (None: all) of a listing and show them.

    `name` is the field with the rows. As jsonl each page is written as it comes; a table and a JSON
    document are made of all pages.
    """
    pages = _pages(session.api, where, name, limit=limit, offset=offset, **query)
    if session.output == "jsonl":
        for _, found in pages:
            for row in found:
                terminal.write_json_line(row)
            if terminal.reader_is_gone():
                break
        return
    whole, all_rows = next(pages)
    for answer, found in pages:
        all_rows += found
        whole = {**answer, name: all_rows, "limit": limit or len(all_rows), "offset": offset}
    session.show(whole, lambda: draw(whole, all_rows))


def _pages(
    api: Api, where: str, name: str, *, limit: int | None, offset: int, **query: Any
) -> Iterator[tuple[Json, list[Json]]]:
    """Yield each page with those of its rows that were not on the one before.

    A listing with cursors is gone on with by them. One without is counted, and what is added while its
    pages are turned pushes rows on to the next one.
    """
    before: set[str] = set()
    shown = 0
    place: int | None = offset
    while True:
        wanted = math.inf if limit is None else limit - shown
        answer = api.get(where, limit=min(PAGE, wanted), offset=place, **query)
        page = rows(answer, name)
        keys = [_key(row) for row in page]
        found = [row for row, key in zip(page, keys, strict=True) if key not in before]
        before = set(keys)
        shown += len(found)
        yield answer, found
        if not found or answer.get("has_more") is not True:  # an old page again would never end
            return
        if wanted <= PAGE:
            return
        if answer.get("next_cursor"):
            query["cursor"], place = answer["next_cursor"], None
        else:
            place = (place or 0) + len(page)


def _key(row: Json) -> str:
    return str(row.get("id") or row.get("key") or row.get("execution_id"))
