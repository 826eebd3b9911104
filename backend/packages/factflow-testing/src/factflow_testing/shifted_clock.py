"""A wall clock that a test sets while a server runs. Load with `--adapters factflow_testing.shifted_clock`.

The file that `FACTFLOW_TEST_CLOCK` names holds the seconds by which the process's clock is off.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)

VARIABLE = "FACTFLOW_TEST_CLOCK"

_file = Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None
_time_ns = time.time_ns


def _shift() -> int:
    """Return by how many seconds the clock is off."""
    try:
        return int(_file.read_text()) if _file is not None else 0
    except FileNotFoundError:
        return 0


def _shifted_ns() -> int:
    return _time_ns() + _shift() * 1_000_000_000


def _shifted() -> float:
    return _shifted_ns() / 1_000_000_000


@register_adapter_type("tell_time")
class TellTimeAdapter:
    """Adds what the clock shows."""

    def __init__(self, config: AdapterConfigModel) -> None:
        del config

    async def process(self, context: PipelineContext) -> AdapterResult:
        return AdapterResult({**context.payload, "time": time.time()})


if _file is not None:
    time.time, time.time_ns = _shifted, _shifted_ns


def set_clock(file: Path, seconds: int) -> None:
    """Have the clock of the server that was given this file be off by so many seconds."""
    new = file.with_suffix(".new")
    new.write_text(str(seconds))
    new.replace(file)
