"""Calls what an adapter has besides its work, `open` and `close`, whether they await or block."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

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
        left = await _in_a_thread(hook, *arguments)
        if inspect.isawaitable(left):
            await left
    except SystemExit as error:
        raise RuntimeError("the adapter would end the process") from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the adapter was cancelled from within") from error


async def _in_a_thread(call: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a blocking call returns.

    The loop's own threads are few and are waited for at the end; one that hangs must cost none of them.
    """
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            result = call(*arguments)
        except BaseException as error:  # noqa: BLE001 - whoever waits is told, whatever it is
            done.set_exception(error)
        else:
            done.set_result(result)

    done.set_running_or_notify_cancel()
    threading.Thread(target=run, name=f"adapter {call.__name__}", daemon=True).start()
    return await asyncio.wrap_future(done)
