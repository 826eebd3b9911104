"""How many messages and executions this process has brought to an end, beside those that still run."""

from __future__ import annotations

from collections import Counter

from factflow_engine.execution_spec import FinalState, FinalStatus
from factflow_protocols.queue import Progress


class RunTotals:
    """Grows only, as each execution ends; what runs now is for the caller to add."""

    def __init__(self) -> None:
        self.ended: Counter[FinalStatus] = Counter()
        self.messages = Progress(0, 0, 0)
        self._ending: set[str] = set()

    def end(self, execution_id: str, final: FinalState) -> None:
        """Take an execution's counts over; its queues may go from now on."""
        self.ended[final.status] += 1
        self.messages = plus(self.messages, final.progress)
        self._ending.add(execution_id)

    def has(self, execution_id: str) -> bool:
        """Tell whether an execution that still runs is counted here already."""
        return execution_id in self._ending

    def gone(self, execution_id: str) -> None:
        """Forget an execution's name, once it runs no more."""
        self._ending.discard(execution_id)


def plus(one: Progress, other: Progress) -> Progress:
    """Return the sum of two counts."""
    return Progress(
        one.announced + other.announced, one.settled + other.settled, one.failed + other.failed
    )
