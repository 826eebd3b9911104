"""Which status may follow which. A move that is not here never happens, whoever asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from factflow_execution.models import ExecutionStatus

LEGAL: Mapping[ExecutionStatus, frozenset[ExecutionStatus]] = MappingProxyType(
    {
        "running": frozenset({"completed", "failed", "cancelled", "interrupted"}),
        # What a stopped or dead server left is taken up again by recovery, or given up by a person.
        "interrupted": frozenset({"running", "cancelled", "failed"}),
        "completed": frozenset(),
        "failed": frozenset(),
        "cancelled": frozenset(),
    }
)

FINAL: tuple[ExecutionStatus, ...] = tuple(
    status for status, targets in LEGAL.items() if not targets
)
"""The statuses that nothing follows: what has one will never run again."""


def sources_of(target: ExecutionStatus) -> list[ExecutionStatus]:
    """Return the statuses from which `target` may be reached, in a stable order."""
    return [status for status, targets in LEGAL.items() if target in targets]
