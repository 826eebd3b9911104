"""States of executions, routes and messages as plain facts, for judging them."""

from __future__ import annotations

from typing import Any

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.envelope import Envelope
from factflow_engine.execution_spec import BreakerRuntime, ExecutionSlots, HeldBack, RouteRuntime
from factflow_execution.execution_deletions import Deletion
from factflow_execution.models import ExecutionStatus, PipelineExecution
from factflow_execution.snapshot import snapshot_config
from factflow_execution.why.facts import (
    ExecutionFacts,
    InWork,
    MessageFacts,
    NextAttempt,
    Pause,
    RouteFacts,
)
from factflow_foundation.records import ErrorInfo
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.unsettled import FailureGroup
from factflow_protocols.queue import MessagePlace

NOW = 1_000_000.0
SINCE = NOW - 60
LATER = NOW + 30
E, M, ROW = "0199a1b2-c3d4-7e5f-8a6b-112233445566", "d" * 32, "b" * 32

PIPELINE = """\
version: "1.0"
name: three routes
routes:
  fetch:
    inbound: {queue: fetch_in}
    adapters: [{type: get}]
    outbound: convert_in
  convert:
    inbound: {queue: convert_in, concurrency: 4}
    adapters:
      - {type: clean, condition: {field: kind, operator: equals, value: html}}
      - {type: cut}
    outbound: publish_in
  publish:
    inbound: {queue: publish_in}
    adapters: [{type: send}]
error_handling: {max_retries: 3, failure_tolerance: 0.01}
init_message: {route: fetch, payload: {}}
"""


def execution_row(status: ExecutionStatus, **changes: Any) -> PipelineExecution:
    """An execution's row; ended ones ended a minute ago."""
    values: dict[str, Any] = {
        "execution_id": E,
        "config_id": None,
        "config_name": "three routes",
        "config_version": None,
        "config_hash": "",
        "config_snapshot": PIPELINE,
        "status": status,
        "started_at": SINCE - 60,
        "completed_at": None if status == "running" else SINCE,
    }
    return PipelineExecution(**{**values, **changes})


def runtime(route_id: str = "convert", **changes: Any) -> RouteRuntime:
    """A route at work, with nothing in it."""
    values: dict[str, Any] = {
        "route_id": route_id,
        "name": route_id,
        "queue": f"{route_id}_in",
        "state": "running",
        "in_flight": 0,
        "ready": 0,
        "delayed": 0,
        "concurrency": 4,
    }
    return RouteRuntime(**{**values, **changes})


def route(route_id: str = "convert", **changes: Any) -> RouteFacts:
    """A route's facts; fields of its runtime may be given among them."""
    own = {name: changes.pop(name) for name in list(changes) if name in RouteRuntime.__slots__}
    before = {"convert": ("fetch",), "publish": ("convert",)}.get(route_id, ())
    values: dict[str, Any] = {"attempts": 4, "upstream": before}
    return RouteFacts(runtime=runtime(route_id, **own), **{**values, **changes})


def facts(
    status: ExecutionStatus = "running", *routes: RouteFacts, **changes: Any
) -> ExecutionFacts:
    """An execution's facts; changes of its row are given under the columns' names."""
    columns = {
        name: changes.pop(name)
        for name in list(changes)
        if name in PipelineExecution.__dataclass_fields__
    }
    values: dict[str, Any] = {
        "now": NOW,
        "execution": execution_row(status, **columns),
        "graph": PipelineGraph(snapshot_config(PIPELINE)),
        "runs_here": status == "running",
        "routes": {each.name: each for each in routes},
    }
    return ExecutionFacts(**{**values, **changes})


def lineage_row(**changes: Any) -> PipelineLineageEntry:
    """A message's row at the stage `cut` of the route `convert`."""
    values: dict[str, Any] = {
        "id": ROW,
        "execution_id": E,
        "route_id": "convert",
        "stage": "cut",
        "adapter": "cut",
        "message_id": M,
        "origin_id": "e" * 32,
        "status": "completed",
        "outcome": "stored",
        "started_at": SINCE,
        "completed_at": NOW - 1,
    }
    return PipelineLineageEntry(**{**values, **changes})


def failed_row(kind: str = "ValueError", **changes: Any) -> PipelineLineageEntry:
    """The row of a message that failed at its fourth attempt."""
    error = ErrorInfo(kind, "it was empty")
    return lineage_row(status="failed", outcome="failed", attempts=4, error=error, **changes)


def group(count: int = 40, kind: str = "ValueError") -> FailureGroup:
    """Failures of one stage with one error."""
    return FailureGroup("convert", "cut", kind, count, failed_row(kind))


def envelope(**changes: Any) -> Envelope:
    """The message on its way into the stage `cut`."""
    values: dict[str, Any] = {
        "message_id": M,
        "origin_id": "e" * 32,
        "route": "convert",
        "entry_stage": "cut",
        "input_key": "executions/x",
        "input_hash": "",
        "content_type": "application/json",
    }
    return Envelope(**{**values, **changes})


def message(execution: ExecutionFacts | None = None, **changes: Any) -> MessageFacts:
    """A message's facts, in an execution that runs the route `convert`."""
    return MessageFacts(message_id=M, execution=execution or facts("running", route()), **changes)


PAUSED = Pause(SINCE, "ann", "until upstream is back", LATER)
OPEN = BreakerRuntime("cut", "open", SINCE, LATER, 5, "503 from the model")
PROBING = BreakerRuntime("cut", "half_open", SINCE, LATER, 5, "503 from the model")
WORK = (InWork(M, "cut", SINCE),)
RETRY = NextAttempt(M, "cut", 2, "TransientError", "503", LATER)
READY = MessagePlace("convert_in", "ready", b"", ahead=12)
HELD = MessagePlace("convert_in", "in_flight", b"")
DELAYED = MessagePlace("convert_in", "delayed", b"", not_before=LATER)
GONE = MessagePlace("convert_in", "settled")
BEHIND = route("publish", ready=120, pause=PAUSED, state="paused")
HELD_BACK = route(ready=300, held_back=HeldBack("publish", 120, 100))
OURS = {"type": "storage_unavailable", "message": "no space left"}
CUT_OFF = {"message": "the server ended before this execution did"}
DELETED = Deletion(execution_id=E, kind="all", requested_at=SINCE, deleted_at=SINCE)
FULL = ExecutionSlots(12, 12, ("another",))
