"""How a message ended that stands in no queue (any more), and what became of its children."""

from __future__ import annotations

from collections.abc import Iterator

from factflow_execution.transitions import FINAL
from factflow_execution.why.causes import Cause
from factflow_execution.why.execution_causes import execution_causes
from factflow_execution.why.facts import MessageFacts
from factflow_execution.why.failure_causes import failed_message, group_causes
from factflow_execution.why.message_cause import attempts_of, message_cause
from factflow_execution.why.route_causes import waiting_cause
from factflow_execution.why.words import counted, moment
from factflow_lineage.models import PipelineLineageEntry


def ended_causes(facts: MessageFacts) -> Iterator[Cause]:
    """Yield how a message ended that stands in no queue (any more)."""
    row = facts.row
    if facts.damaged_record is not None:
        following = f"factflow storage metadata {facts.damaged_record}"
        words = f"its outcome record {facts.damaged_record} cannot be read"
        yield message_cause(facts, "object_damaged", words, following)
    if row is None:
        yield from _without_row(facts)
    elif row.outcome == "failed":
        yield failed_message(row, attempts_of(facts))
    elif row.outcome == "filtered":
        yield message_cause(
            facts,
            "filtered",
            f"it was filtered at {row.route_id}/{row.stage}: the adapter {row.adapter} returned nothing "
            "for it, which ends it in order",
            f"factflow lineage get {row.id}",
            stage=row.stage,
            since=row.completed_at,
        )
    elif row.outcome is None:
        yield _cut_off(facts, row)
    elif row.pending_children and not _cannot_go_on(facts):
        yield _waits_for_children(facts, row)
    elif row.pending_children:
        words = (
            f"{counted(row.pending_children, 'child', 'children')} of it had not ended when "
            f"{facts.execution.name} ended {facts.execution.status}"
        )
        below = _below(facts)
        replay = f"factflow execution replay {row.execution_id} --from-stage {row.stage}"
        yield message_cause(facts, "cut_off", words, replay, stage=row.stage, because=below)
    else:
        yield _done(facts, row)


def _without_row(facts: MessageFacts) -> Iterator[Cause]:
    execution = facts.execution
    yield message_cause(
        facts,
        "lineage_incomplete",
        "its handling has ended, but lineage has no row of it yet, and its record was not found",
        f"factflow lineage list --execution {execution.name} --message {facts.message_id}",
    )


def _cannot_go_on(facts: MessageFacts) -> bool:
    return facts.execution.status in FINAL


def _cut_off(facts: MessageFacts, row: PipelineLineageEntry) -> Cause:
    execution = facts.execution
    doing = "waited for another attempt" if row.status == "pending" else "was in work"
    if not _cannot_go_on(facts):
        return message_cause(
            facts,
            "in_work",
            f"it {doing} at {row.route_id}/{row.stage} since {moment(row.started_at)}; the end of that is "
            "not known yet",
            f"factflow lineage get {row.id}",
            stage=row.stage,
            since=row.started_at,
            because=() if execution.status == "running" else execution_causes(execution),
        )
    return message_cause(
        facts,
        "cut_off",
        f"it {doing} at {row.route_id}/{row.stage} when {execution.name} ended {execution.status}",
        f"factflow execution replay {row.execution_id} --from-stage {row.stage}",
        stage=row.stage,
        since=row.started_at,
    )


def _waits_for_children(facts: MessageFacts, row: PipelineLineageEntry) -> Cause:
    open_count = counted(row.pending_children, "child", "children")
    return message_cause(
        facts,
        "waits_for_children",
        f"it is through with {row.route_id}/{row.stage} ({row.outcome}); {open_count} of it have not "
        "ended, nor all that came of them",
        f"factflow lineage children {row.id}",
        stage=row.stage,
        since=row.completed_at,
        because=_below(facts),
    )


def _below(facts: MessageFacts) -> tuple[Cause, ...]:
    """Return what is known of the message's descendants: failures, work under way, routes they wait at."""
    execution = facts.execution
    found = list(group_causes(facts.failures_below, execution.id))
    for row in facts.under_way_below:
        waits = row.status == "pending"
        doing = (
            "waits for another attempt" if waits else f"is in work since {moment(row.started_at)}"
        )
        found.append(
            Cause(
                code="retry" if waits else "in_work",
                sentence=f"message {row.message_id}, which came of it, {doing} at "
                f"{row.route_id}/{row.stage}",
                next=f"factflow why {row.message_id}",
                since=row.started_at,
                execution_id=execution.id,
                route=row.route_id,
                stage=row.stage,
                message_id=row.message_id,
            )
        )
    found += [
        waiting_cause(execution, route_id)
        for route_id in facts.children_routes
        if route_id in execution.routes and execution.routes[route_id].messages
    ]
    return tuple(found)


def _done(facts: MessageFacts, row: PipelineLineageEntry) -> Cause:
    below = group_causes(facts.failures_below, facts.execution.id)
    went = f"it went through {row.route_id}/{row.stage} ({row.outcome})"
    words = f"{went}; all that came of it has ended"
    if below:
        words = f"{went}; of what came of it some failed"
    return message_cause(
        facts,
        "done",
        words,
        f"factflow lineage chain {row.id}",
        stage=row.stage,
        since=row.completed_at,
        because=below,
    )
