"""The server's health and numbers drawn for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factflow_cli.api import rows
from factflow_cli.durations import format_duration
from factflow_cli.tables import (
    Column,
    Row,
    number,
    print_facts,
    print_line,
    print_table,
    print_total,
)
from factflow_cli.values import moment, share, size, took

COMPONENTS = (
    Column("COMPONENT", "name", whole=True),
    Column("STATUS", "status", whole=True),
    Column("MESSAGE", "message", wraps=True),
)
ROUND_TRIPS = (
    Column("QUEUE", "queue"),
    Column("RESULT", lambda row: "ok" if row.get("ok") else "failed", whole=True),
    Column("PUBLISH", lambda row: took(row.get("publish_ms")), whole=True, right=True),
    Column("TAKE", lambda row: took(row.get("take_ms")), whole=True, right=True),
    Column("SETTLE", lambda row: took(row.get("settle_ms")), whole=True, right=True),
)
WORKERS = (
    Column("WORKER", "worker_id", whole=True),
    Column("ROUTES", lambda row: ", ".join(row.get("routes") or ["all"])),
    number("WORKS ON", "number"),
    Column("SEEN", lambda row: moment(row.get("seen_at")), whole=True, keep=1),
)
QUEUES = (
    Column("EXECUTION", "execution_id", whole=True, keep=1),
    Column("QUEUE", "queue"),
    Column("STATE", "state", whole=True),
    number("CONSUMERS", "consumers", keep=2),
    number("READY", "ready"),
    number("ACTIVE", "in_flight", keep=3),
    number("DELAYED", "delayed", keep=4),
)
STAGES = (
    Column("STAGE", "stage"),
    Column("ADAPTER", "adapter", keep=1),
    number("DONE", "completed"),
    number("FAILED", "failed"),
    Column("P50", lambda row: took(row.get("p50_ms")), whole=True, right=True),
    Column("P95", lambda row: took(row.get("p95_ms")), whole=True, right=True),
)


def draw_health(answer: Row, server: str, components: Sequence[Row]) -> None:
    """Print the status and every part; what was asked for with `--debug` stands below."""
    print_facts(
        [
            ("status", answer.get("status")),
            ("server", server),
            ("version", answer.get("version")),
            ("up for", _seconds(answer.get("uptime_seconds"))),
            ("data in", answer.get("data_dir")),
        ]
    )
    print_line()
    print_table(COMPONENTS, components, below=_advice)
    for component in components:
        debug = component.get("debug")
        if isinstance(debug, Mapping):
            _draw_part(component, debug)


def draw_workers(answer: Row, workers: Sequence[Row]) -> None:
    """Print every worker, and below each what keeps it."""
    if not answer.get("shared"):
        print_line("This server works alone: workers need PostgreSQL and a broker.")
        return
    if not workers:
        print_line("No worker is there. Start one: factflow worker")
        return
    counted = [{**worker, "number": len(worker.get("works_on") or ())} for worker in workers]
    print_table(WORKERS, counted, below=_what_keeps)


def _what_keeps(worker: Row) -> list[str]:
    told = {**(worker.get("refuses") or {}), **(worker.get("holding") or {})}
    return [f"{what}: {reason}" for what, reason in told.items()]


def _advice(component: Row) -> list[str]:
    hint = component.get("hint")
    return [f"hint: {hint}"] if hint else []


def _draw_part(component: Row, debug: Row) -> None:
    """Print all that a part tells of itself."""
    print_line()
    print_line(f"{component.get('name')}: {component.get('message')}")
    details = debug.get("details")
    facts = [("answered in", took(debug.get("latency_ms")))]
    facts += [_detail(str(name), value) for name, value in dict(details or {}).items()]
    print_facts([(f"  {label}", value) for label, value in facts])


def _detail(name: str, value: Any) -> tuple[str, str]:
    if name.endswith("_bytes"):
        return name.removesuffix("_bytes").replace("_", " "), size(value)
    if isinstance(value, bool):
        value = str(value).lower()
    return name.replace("_", " "), "-" if value is None else str(value)


def draw_metrics(answer: Row) -> None:
    """Print the snapshot as facts."""
    lineage, loop = _part(answer, "lineage"), _part(answer, "event_loop")
    stall = _part(loop, "last_stall")
    print_facts(
        [
            ("up for", _seconds(answer.get("uptime_seconds"))),
            ("messages received", answer.get("messages_received")),
            ("messages completed", answer.get("messages_completed")),
            ("messages failed", answer.get("messages_failed")),
            ("messages in flight", answer.get("messages_in_flight")),
            ("messages queued", answer.get("messages_queued")),
            ("messages delayed", answer.get("messages_delayed")),
            ("routes running", answer.get("running_routes")),
            ("routes paused", answer.get("paused_routes")),
            ("executions", _counts(_part(answer, "executions"))),
            ("lineage backlog", lineage.get("backlog")),
            ("lineage gaps", lineage.get("gap_rows")),
            ("event loop stalls", loop.get("stalls")),
        ]
    )
    if stall:
        print_line()
        print_line(
            f"the event loop was last held by {stall.get('stage')}, for {stall.get('seconds')} s "
            f"at {moment(stall.get('noticed_at'))}"
        )


def draw_diagnosis(answer: Row) -> None:
    """Print each round trip, and how queues stand."""
    print_table(ROUND_TRIPS, rows(answer, "round_trips"), below=_trip_error)
    queues = rows(answer, "queues")
    if queues:
        print_line()
        print_table(QUEUES, queues)
    print_line()
    left = answer.get("cleanup_error")
    verdict = "the queue works" if answer.get("ok") else "the queue does not work"
    print_line(f"{verdict}{f': {left}' if left else ''}, after {took(answer.get('total_ms'))}")


def _trip_error(trip: Row) -> list[str]:
    return [str(trip["error"])] if trip.get("error") else []


_KINDS = {"packed": "packed", "s3": "in a bucket"}


def draw_storage(answer: Row, executions: Sequence[Row], databases: Sequence[Row]) -> None:
    """Print the disk, the databases, and the executions by size."""
    columns = (
        Column("EXECUTION", "execution_id", whole=True),
        Column("SIZE", lambda row: size(row.get("disk_bytes")), whole=True, right=True),
        Column("OBJECTS", "objects", whole=True, right=True, keep=2),
        Column("STATUS", "status", whole=True, keep=1),
        Column("ENDED", lambda row: moment(row.get("completed_at")), whole=True, keep=4),
        Column("HELD BY", lambda row: ", ".join(row.get("held_by") or ()), keep=5),
        Column("TAG", "tag", keep=6),
        Column("COUNTED", lambda row: moment(row.get("counted_at")), whole=True, keep=7),
    )
    free, total = size(answer.get("disk_free")), size(answer.get("disk_total"))
    kind = _KINDS.get(str(answer.get("kind")), "plain files")
    print_facts(
        [
            ("disk", f"{free} free of {total}"),
            ("executions", f"{size(answer.get('disk_bytes'))}, {kind}"),
            *((str(file.get("name")), size(file.get("disk_bytes"))) for file in databases),
        ]
    )
    print_line()
    print_table(columns, executions)
    print_total(answer, len(executions), "executions")
    if not answer.get("complete"):
        print_line(
            f"still counting: {answer.get('counting')} executions left, "
            f"{answer.get('counting_objects')} objects of the present one so far"
        )
    for hint in answer.get("hints") or ():
        print_line(f"hint: {hint}")


def draw_route(metrics: Row) -> None:
    """Print how a route does in one execution."""
    pace = _part(metrics, "throughput")
    held = _part(metrics, "held_back")
    print_facts(
        [
            ("execution", metrics.get("execution_id")),
            ("status", metrics.get("execution_status")),
            ("route is", metrics.get("state")),
            ("held back by", held.get("route")),
            ("holding for", metrics.get("holding")),
            ("last minute", f"{pace.get('last_minute_per_second')} messages/s"),
            ("since start", f"{pace.get('since_start_per_second')} messages/s"),
            ("completed", metrics.get("completed")),
            ("failed", _failed(metrics)),
            ("in progress", _of(metrics.get("in_progress"), metrics.get("concurrency"))),
            ("queued", metrics.get("queued")),
            ("delayed", metrics.get("delayed")),
        ]
    )
    for breaker in rows(metrics, "breakers"):
        print_line(
            f"breaker of {breaker.get('stage')} is {breaker.get('state')} after "
            f"{breaker.get('failures')} failures: {breaker.get('last_error')}"
        )
    print_line()
    print_table(STAGES, rows(metrics, "stages"))


def _failed(metrics: Row) -> str:
    told = share(metrics.get("failure_share"))
    return f"{metrics.get('failed')}{f' ({told})' if told else ''}"


def _of(count: Any, most: Any) -> str:
    return str(count) if most is None else f"{count}, {most} at a time"


def _counts(counts: Row) -> str:
    return ", ".join(f"{value} {name}" for name, value in counts.items() if value) or "none"


def _part(answer: Row, name: str) -> Row:
    part = answer.get(name)
    return part if isinstance(part, Mapping) else {}


def _seconds(value: Any) -> str:
    return format_duration(value) if isinstance(value, int | float) else ""
