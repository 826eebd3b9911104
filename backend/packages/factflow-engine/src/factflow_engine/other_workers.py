"""Who else works on an execution's messages, as far as its owner has to know at the end."""

from __future__ import annotations

from typing import Protocol

from factflow_protocols.queue import QueueScope


class OtherWorkers(Protocol):
    """Processes that take messages of executions they do not own."""

    async def rest(self, scope: QueueScope, grace_seconds: float) -> int:
        """Have them take no more of an execution that is ending, and write the lineage rows they have of it.

        Returns once all have, or after the grace period and a little more. The number tells of how many
        rows are known to be missing, at least one when not everyone answered. Never raises.
        """
        ...


class NoOtherWorkers:
    """Where one process does everything."""

    async def rest(self, scope: QueueScope, grace_seconds: float) -> int:  # noqa: ARG002 - nobody to ask
        """Return at once: no row is missing on their account."""
        return 0
