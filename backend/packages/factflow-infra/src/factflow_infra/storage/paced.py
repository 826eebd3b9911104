"""Pulls from a listing without holding the event loop for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

_Item = TypeVar("_Item")

SLICE = 0.002
"""Seconds for which a listing is pulled from at a time."""
SLOW = 0.02
"""A slice that took longer has waited for the disk, and the next one is pulled by a thread."""


async def paced(items: Iterator[_Item | None], *, rest: float = 0.0) -> AsyncIterator[_Item]:
    """Yield the items, leaving out None; others run after each slice, for `rest` seconds at least.

    Slices are pulled on the event loop: a thread would have to wait for its turn at every entry of a folder
    while the loop is busy, and each turn may take 5 ms. A disk that is slow is waited for by a thread.
    """
    found: list[_Item]
    slow = False
    while True:
        began = time.monotonic()
        if slow:
            found, done = await asyncio.to_thread(lambda: _slice(items))
        else:
            found, done = _slice(items)
        slow = time.monotonic() - began > SLOW
        for item in found:
            yield item
        if done:
            return
        await asyncio.sleep(rest)


def _slice(items: Iterator[_Item | None]) -> tuple[list[_Item], bool]:
    """Return what comes within one slice, and whether that was all."""
    found: list[_Item] = []
    until = time.monotonic() + SLICE
    for item in items:
        if item is not None:
            found.append(item)
        if time.monotonic() > until:
            return found, False
    return found, True
