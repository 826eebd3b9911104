"""Named points before and after each durable step, where a crash test ends the process.

In production `reach` is a comparison with None. Armed by the environment:
`FACTFLOW_CRASH_POINT=<name>[:<n>]` kills the process (SIGKILL) when the point is reached the n-th time.
"""

from __future__ import annotations

import os
import signal


class CrashPoint:
    """The armed point, if any, and how many more times it is to be passed."""

    def __init__(self, spec: str | None) -> None:
        name, _, count = (spec or "").partition(":")
        self.name = name or None
        self.remaining = int(count) if count else 1
        self.others: list[int] = []

    def reach(self, name: str) -> None:
        """End the process here if this point is armed and its turn has come."""
        if self.name != name:
            return
        self.remaining -= 1
        if self.remaining == 0:
            for process in [*self.others, os.getpid()]:
                os.kill(process, signal.SIGKILL)


_armed = CrashPoint(os.environ.get("FACTFLOW_CRASH_POINT"))


def end_also(process: int) -> None:
    """Have a point that is reached here end another process first: the server this one works for."""
    _armed.others.append(process)


def reach(name: str) -> None:
    """Mark a point; does nothing unless armed."""
    if _armed.name is not None:
        _armed.reach(name)
