"""An adapter that holds the event loop is named while it does."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from factflow_engine.stall_watch import CallsAdapters, StallWatch

PATIENCE_SECONDS = 20.0


class _Caller(CallsAdapters):
    """Stands where a stage stands: it calls code of others."""

    def __init__(self, label: str) -> None:
        self.label = label

    async def call(self, watch: StallWatch) -> None:
        await _Adapter().process(watch)


class _Adapter:
    async def process(self, watch: StallWatch) -> None:
        _hold_the_loop(watch)


def _hold_the_loop(watch: StallWatch) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while watch.last is None and time.monotonic() < until:
        pass


@pytest.mark.parametrize("label", ["crawl/fetch", None])
async def test_what_holds_the_loop_is_named_by_its_stage_and_line(label: str | None) -> None:
    watch = StallWatch(stall_seconds=0.05)
    watch.acquire()
    try:
        if label is None:
            _hold_the_loop(watch)
        else:
            await _Caller(label).call(watch)
    finally:
        watch.release()
    assert watch.last is not None
    assert watch.last.stage == (label or "(no adapter)")
    assert watch.last.line.startswith(str(Path(__file__)))
    assert watch.last.seconds >= 0.05
