"""Names the adapter that held the event loop, while it holds it.

Nothing is noted while all goes well: the stage is found on the stack of the thread that hangs.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from types import FrameType

from factflow_foundation import logs

BEAT_SECONDS = 0.25
STALL_SECONDS = 1.0

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Stall:
    """The stage that held the loop for at least `seconds`, and the line it was in."""

    stage: str
    seconds: float
    line: str
    at: float
    """When it was noticed, in Unix seconds."""


class CallsAdapters:
    """Base of what calls adapter code from a method of its own; `label` is "route/stage"."""

    label: str


class StallWatch:
    """A thread that looks at the loop's heartbeat; it runs only while something is entered."""

    def __init__(self, stall_seconds: float = STALL_SECONDS) -> None:
        self._stall_seconds = stall_seconds
        self._users = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._beat = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self.last: Stall | None = None
        """The most recent stall, for health."""
        self.stalls = 0
        """How many there were."""
        self.stalled_seconds = 0.0
        """How long these had lasted when they were noticed, in sum."""

    def acquire(self) -> None:
        """Start watching the running loop, on behalf of one execution."""
        self._users += 1
        if self._users > 1:
            return
        loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._keep_beating(loop)
        self._thread = threading.Thread(
            target=self._watch,
            args=(threading.get_ident(), self._stop),
            name="factflow-stall-watch",
            daemon=True,
        )
        self._thread.start()

    def release(self) -> None:
        """Stop watching when the last execution has gone."""
        self._users -= 1
        if self._users == 0:
            self._stop.set()
            if self._timer is not None:
                self._timer.cancel()

    def _keep_beating(self, loop: asyncio.AbstractEventLoop) -> None:
        self._beat = time.monotonic()
        self._timer = loop.call_later(BEAT_SECONDS, self._keep_beating, loop)

    def _watch(self, thread_id: int, stop: threading.Event) -> None:
        reported = 0.0
        while not stop.wait(BEAT_SECONDS):
            beat = self._beat
            silent = time.monotonic() - beat
            if silent < self._stall_seconds or beat == reported:
                continue
            reported = beat
            self._report(thread_id, silent)

    def _report(self, thread_id: int, silent: float) -> None:
        frame = sys._current_frames().get(thread_id)
        stage = _stage_at_work(frame)
        stack = traceback.extract_stack(frame) if frame is not None else []
        line = f"{stack[-1].filename}:{stack[-1].lineno}" if stack else "?"
        self.stalls += 1
        self.stalled_seconds += silent
        self.last = Stall(stage, silent, line, time.time())
        log.warning(
            "event loop stalled",
            stage=stage,
            seconds=round(silent, 2),
            line=line,
            hint="make `process` a plain def: it then runs in a thread",
        )


def _stage_at_work(frame: FrameType | None) -> str:
    """Return the label of the innermost caller of adapter code on a thread's stack."""
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, CallsAdapters):
            return caller.label
        frame = frame.f_back
    return "(no adapter)"
