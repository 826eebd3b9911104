"""Trees of executions, and how two executions differ, on the wire."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from factflow_execution.models import ExecutionStatus
from factflow_foundation.records import OutcomeRecord
from factflow_replay.replay.execution_diff import (
    ExecutionDifference,
    MessageDifference,
    StageDifference,
)
from factflow_replay.replay.execution_tree import ExecutionNode, ExecutionTree
from factflow_server.api.schemas.times import duration_ms, iso


class TreeNodeSchema(BaseModel):
    """An execution and the replays made from it, oldest first."""

    execution_id: str
    parent_execution_id: str | None
    status: ExecutionStatus
    tag: str | None
    config_name: str
    config_version: int | None
    config_hash: str
    replay_source: dict[str, Any] | None
    started_at: str
    duration_ms: float | None
    message_count: int | None
    failed_count: int | None
    replays: list[TreeNodeSchema]

    @classmethod
    def of(cls, node: ExecutionNode) -> TreeNodeSchema:
        """Return a node with all below it."""
        return cls(**node_fields(node))


class TreeSchema(TreeNodeSchema):
    """The whole tree, from the first execution on; `asked` is the one whose tree was asked for."""

    asked: str

    @classmethod
    def of_tree(cls, tree: ExecutionTree) -> TreeSchema:
        """Return a tree as it goes on the wire."""
        return cls(**node_fields(tree.root), asked=tree.asked)


class SideSchema(BaseModel):
    """How a message ended in one of two executions."""

    message_id: str
    outcome: str
    output_key: str | None
    output_hash: str | None
    adapter_version: str
    duration_ms: float
    error: dict[str, str] | None

    @classmethod
    def of(cls, record: OutcomeRecord | None) -> SideSchema | None:
        """Return a record's part in a comparison."""
        if record is None:
            return None
        error = record.error
        return cls(
            message_id=record.message_id,
            outcome=record.outcome,
            output_key=record.output_key,
            output_hash=record.output_hash,
            adapter_version=record.adapter_version,
            duration_ms=max(0.0, record.completed_at - record.started_at) * 1000,
            error=None if error is None else {"type": error.type, "message": error.message},
        )


class MessageDifferenceSchema(BaseModel):
    """A message that differs. `label` is what it is known by: its URL, title or path, if it has one."""

    kind: Literal["changed", "only_a", "only_b"]
    route_id: str
    stage: str
    origin_id: str
    label: str | None
    a: SideSchema | None
    b: SideSchema | None
    diff: str | None

    @classmethod
    def of(cls, difference: MessageDifference) -> MessageDifferenceSchema:
        """Return a difference as it goes on the wire."""
        return cls(
            kind=difference.kind,
            route_id=difference.route,
            stage=difference.stage,
            origin_id=difference.origin_id,
            label=_label(difference.b or difference.a),
            a=SideSchema.of(difference.a),
            b=SideSchema.of(difference.b),
            diff=difference.diff,
        )


class StageDifferenceSchema(BaseModel):
    """One stage in both. The averages are over messages that both have; messages that a replay took up
    behind the stage (`not_run`), and a stage that it did not run (`not_run_in`), make no difference."""

    route_id: str
    stage: str
    same: int
    changed: int
    only_a: int
    only_b: int
    not_run: int
    avg_ms_a: float | None
    avg_ms_b: float | None
    not_run_in: Literal["a", "b"] | None

    @classmethod
    def of(cls, stage: StageDifference) -> StageDifferenceSchema:
        """Return a stage's counts."""
        return cls(
            route_id=stage.route,
            stage=stage.stage,
            same=stage.same,
            changed=stage.changed,
            only_a=stage.only_a,
            only_b=stage.only_b,
            not_run=stage.not_run,
            avg_ms_a=stage.avg_ms_a,
            avg_ms_b=stage.avg_ms_b,
            not_run_in=stage.not_run_in,
        )


class DiffResponse(BaseModel):
    """How two executions differ. `changes_left` counts differing messages that are not listed."""

    a: str
    b: str
    same: bool
    stages: list[StageDifferenceSchema]
    changes: list[MessageDifferenceSchema]
    changes_left: int

    @classmethod
    def of(cls, found: ExecutionDifference) -> DiffResponse:
        """Return a comparison as it goes on the wire."""
        return cls(
            a=found.a.execution_id,
            b=found.b.execution_id,
            same=found.same,
            stages=[StageDifferenceSchema.of(stage) for stage in found.stages],
            changes=[MessageDifferenceSchema.of(change) for change in found.changes],
            changes_left=found.changes_left,
        )


def node_fields(node: ExecutionNode) -> dict[str, Any]:
    """Return what a tree shows of an execution, its replays included."""
    execution = node.execution
    return {
        "execution_id": execution.execution_id,
        "parent_execution_id": execution.parent_execution_id,
        "status": execution.status,
        "tag": execution.tag,
        "config_name": execution.config_name,
        "config_version": execution.config_version,
        "config_hash": execution.config_hash,
        "replay_source": execution.replay_source,
        "started_at": iso(execution.started_at),
        "duration_ms": duration_ms(execution.started_at, execution.completed_at),
        "message_count": execution.message_count,
        "failed_count": execution.failed_count,
        "replays": [TreeNodeSchema.of(replay) for replay in node.replays],
    }


def _label(record: OutcomeRecord | None) -> str | None:
    if record is None:
        return None
    for name in ("url", "title", "path"):
        value = record.metadata.get(name)
        if isinstance(value, str) and value:
            return value[:500]
    return None
