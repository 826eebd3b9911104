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
    /,
    *,
    limit: int | None,
    offset: int | None = 0,
    **query: Any,
) -> None:
    """Ask for up to `limit` rows (None: all) of a listing and show them.

    `name` is the field with the rows; a listing that goes by cursors alone has no `offset`. As jsonl each
    page is written as it comes; a table and a JSON document are made of all pages.
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
        scanned = whole.get("scanned")
        whole = {**answer, name: all_rows, "limit": limit or len(all_rows)}
        if scanned is not None:
            whole["scanned"] = scanned + answer["scanned"]
        if offset is not None:
            whole["offset"] = offset
    session.show(whole, lambda: draw(whole, all_rows))


def every_row(api: Api, where: str, name: str, /, **query: Any) -> Iterator[Json]:
    """Yield all rows of a listing, in its order."""
    for _, found in _pages(api, where, name, limit=None, offset=0, **query):
        yield from found


def _pages(
    api: Api, where: str, name: str, /, *, limit: int | None, offset: int | None, **query: Any
) -> Iterator[tuple[Json, list[Json]]]:
    """Yield each page with those of its rows that were not on the one before.

    A listing with cursors is gone on with by them, over pages for which nothing was found as well. One
    without is counted, and what is added while its pages are turned pushes rows on to the next one.
    """
    before: set[str] = set()
    shown = 0
    place = offset
    while True:
        wanted = math.inf if limit is None else limit - shown
        answer = api.get(where, limit=min(PAGE, wanted), offset=place, **query)
        page = rows(answer, name)
        keys = [_key(row) for row in page]
        found = [row for row, key in zip(page, keys, strict=True) if key not in before]
        before = set(keys)
        shown += len(found)
        yield answer, found
        if answer.get("has_more") is not True or wanted <= PAGE:
            return
        cursor = answer.get("next_cursor")
        if cursor == query.get("cursor") and not found:  # an old page again would never end
            return
        if cursor:
            query["cursor"], place = cursor, None
        else:
            place = (place or 0) + len(page)


def _key(row: Json) -> str:
    return str(row.get("id") or row.get("key") or row.get("execution_id"))
