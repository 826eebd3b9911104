"""Why a message is where it is: in a queue, in work, ended, or cut off; judged from its facts."""

from __future__ import annotations

from collections.abc import Iterator

from factflow_engine.config.models import ConditionConfig
from factflow_execution.why.causes import Cause
from factflow_execution.why.ended_messages import ended_causes
from factflow_execution.why.execution_causes import deletion_causes, lineage_causes
from factflow_execution.why.facts import MessageFacts
from factflow_execution.why.message_cause import message_cause
from factflow_execution.why.standing_messages import standing_causes
from factflow_execution.why.words import told


def message_causes(facts: MessageFacts) -> tuple[Cause, ...]:
    """Return the causes, the present state first, then what was passed by and what may be amiss."""
    place = facts.place
    standing = place is not None and place.state != "settled"
    now = standing_causes(facts, place) if place is not None and standing else ended_causes(facts)
    return (*now, *_skipped(facts), *_doubts(facts))


def summary(facts: MessageFacts) -> str:
    """Return where the message is, in one sentence."""
    where = f" in route {facts.route_id}" if facts.route_id else ""
    execution = facts.execution
    return f"message {facts.message_id}{where} of execution {execution.name}, which is {execution.status}"


def status(facts: MessageFacts) -> str:
    """Return the message's state in a word: its place in the queue, else its row's status."""
    if facts.place is not None and facts.place.state != "settled":
        return facts.place.state
    row = facts.row
    if row is not None:
        return row.outcome or row.status
    return "settled" if facts.place is not None else "unknown"


def _skipped(facts: MessageFacts) -> Iterator[Cause]:
    """Yield the stages whose condition did not hold for the message."""
    graph = facts.execution.graph
    named = [
        (row.route_id, stage) for row in facts.rows for stage in row.metadata.get("passed", [])
    ]
    if facts.envelope is not None:
        named += [(facts.envelope.route, stage) for stage in facts.envelope.passed]
    if facts.row is not None and facts.row.outcome == "passed":
        named.append((facts.row.route_id, facts.row.stage))
    for route_id, stage in dict.fromkeys(named):
        condition = None
        if graph is not None and route_id in graph.config.routes:
            found = [each for each in graph.stages(route_id) if each.stage_name == stage]
            condition = found[0].condition if found else None
        words = f"stage {route_id}/{stage} was passed by"
        if condition is not None:
            words += f": its condition `{_condition(condition)}` did not hold"
        following = f"factflow lineage chain {facts.row.id if facts.row else facts.message_id}"
        yield message_cause(facts, "skipped", words, following, stage=stage)


def _condition(condition: ConditionConfig) -> str:
    if condition.operator == "exists":
        return f"{condition.field} {'exists' if condition.value is not False else 'is missing'}"
    return told(f"{condition.field} {condition.operator} {condition.value!r}")


def _doubts(facts: MessageFacts) -> Iterator[Cause]:
    """Yield what is amiss beside the message's own state, or may make this answer wrong."""
    yield from deletion_causes(facts.execution)
    if facts.missing_key is not None and facts.execution.deletion is None:
        words = f"the artefact {facts.missing_key} is not in storage: what reads it will fail"
        following = f"factflow storage metadata {facts.missing_key}"
        yield message_cause(facts, "artefact_missing", words, following)
    for trouble, what in ((facts.storage_trouble, "storage"), (facts.queue_trouble, "the queue")):
        if trouble is not None:
            words = f"{what} could not be asked about it: {told(trouble)}"
            yield message_cause(facts, "holding", words, "factflow system health")
    if facts.from_record:
        words = "lineage lacks its row: this was read from its outcome record"
        following = f"factflow lineage list --execution {facts.execution.name}"
        yield message_cause(facts, "lineage_incomplete", words, following)
    yield from lineage_causes(facts.execution)
