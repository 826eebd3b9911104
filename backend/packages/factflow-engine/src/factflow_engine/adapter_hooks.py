"""Calls what an adapter has besides its work, `open` and `close`, whether they await or block."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from factflow_engine.adapter_threads import adapter_threads

Hook = Callable[..., Awaitable[None] | None]


async def call_hook(hook: Hook, *arguments: Any) -> None:
    """Call `open` or `close` and return when it has ended; a plain function runs in a thread.

    Raises what it raises; RuntimeError when it would end the process or cancels itself. When this is
    cancelled, a thread cannot be: it is left behind, and keeps no process from ending.
    """
    try:
        if inspect.iscoroutinefunction(hook):
            await hook(*arguments)
            return
        left = await adapter_threads.run(hook, *arguments)
        if inspect.isawaitable(left):
            await left
    except SystemExit as error:
        raise RuntimeError("the adapter would end the process") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the adapter was cancelled from within") from error
