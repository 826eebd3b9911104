"""One cause of one message."""

from __future__ import annotations

from factflow_execution.why.causes import Cause, CauseCode
from factflow_execution.why.facts import MessageFacts


def message_cause(
    facts: MessageFacts,
    code: CauseCode,
    sentence: str,
    following: str,
    *,
    stage: str | None = None,
    since: float | None = None,
    until: float | None = None,
    because: tuple[Cause, ...] = (),
) -> Cause:
    """Return a cause that is about this message, in the route it is in."""
    return Cause(
        code=code,
        sentence=sentence,
        next=following,
        since=since,
        until=until,
        execution_id=facts.execution.id,
        route=facts.route_id,
        stage=stage,
        message_id=facts.message_id,
        because=because,
    )


def attempts_of(facts: MessageFacts) -> int:
    """Return how many attempts the message's route gives each stage."""
    graph, route_id = facts.execution.graph, facts.route_id
    if graph is None or route_id not in graph.config.routes:
        return 1
    return graph.config.error_handling_for(route_id).max_retries + 1
