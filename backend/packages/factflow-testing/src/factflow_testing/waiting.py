"""Waiting for a state, under a limit. The one place in the tests that lets time pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

PAUSE = 0.01


@overload
async def eventually(state: Callable[[], Awaitable[T | None]], *, seconds: float = ...) -> T: ...
@overload
async def eventually(state: Callable[[], T | None], *, seconds: float = ...) -> T: ...
async def eventually(state: Callable[[], Any], *, seconds: float = 20.0) -> Any:
    """Return the first truthy value of `state` (plain or async). Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            value = state()
            found = await value if isinstance(value, Awaitable) else value
            if found:
                return found
            await asyncio.sleep(PAUSE)
