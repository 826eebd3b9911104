"""Work that a cancellation must not cut in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def whole(work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns; a cancellation of the caller is felt when the work has ended.

    A database driver whose call is cut off gives its connection up, without waiting for it to close:
    for a moment a file that allows one writing connection would have two.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # it is the caller's no more
        raise
