"""An execution drawn for a person: its facts, its routes, its graph, and what to try next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factflow_cli import terminal
from factflow_cli.tables import Column, number, print_facts, print_line, print_table
from factflow_cli.values import moment, size, took

Row = Mapping[str, Any]

LIST_COLUMNS = (
    Column("EXECUTION", "execution_id", whole=True),
    Column("STATUS", "status", whole=True),
    Column("CONFIG", "config_name", keep=1),
    number("MESSAGES", "message_count", keep=3),
    number("FAILED", "failed_count", keep=2),
    Column("STARTED", lambda row: moment(row.get("started_at")), keep=4, whole=True),
    Column("TOOK", lambda row: took(row.get("duration_ms")), keep=5, whole=True),
    Column("TAG", "tag", keep=6),
)

ROUTE_COLUMNS = (
    Column("ROUTE", lambda row: row.get("route_id") or row.get("name")),
    number("TOTAL", "total_messages"),
    number("COMPLETED", "completed"),
    number("FAILED", "failed"),
    number("ACTIVE", "in_progress", keep=2),
    number("QUEUED", "queued", keep=1),
    number("DELAYED", "delayed", keep=4),
    Column("STATE", "state", keep=3, whole=True),
    Column("AVERAGE", lambda row: took(row.get("avg_duration_ms")), keep=5, whole=True, right=True),
    Column("QUEUE", "queue", keep=6),
)

STAGE_COLUMNS = (
    Column("ROUTE", "route_id", whole=True),
    Column("STAGE", "stage", whole=True),
    Column("ADAPTER", "adapter", keep=1, whole=True),
    number("COUNT", "count"),
    number("COMPLETED", "completed"),
    number("FAILED", "failed"),
    number("FILTERED", "filtered", keep=2),
    Column("AVG", lambda row: took(row.get("avg_duration_ms")), keep=4, whole=True, right=True),
    Column("P50", lambda row: took(row.get("p50_ms")), keep=5, whole=True, right=True),
    Column("P95", lambda row: took(row.get("p95_ms")), keep=3, whole=True, right=True),
)


def print_stages(stages: Sequence[Row]) -> None:
    """Print statistics by stage, without the columns that would tell nothing: the stages when
    every one is called as its adapter, the filtered when there are none."""
    idle = set()
    if all(row.get("stage") == row.get("adapter") for row in stages):
        idle.add("STAGE")
    if not any(row.get("filtered") for row in stages):
        idle.add("FILTERED")
    print_table([column for column in STAGE_COLUMNS if column.header not in idle], stages)


def without_snapshot(execution: Row) -> dict[str, Any]:
    """Return the execution without its YAML, which nobody wants after a wait."""
    return {name: value for name, value in execution.items() if name != "config_snapshot"}


def draw_execution(execution: Row) -> None:
    """Print facts and, when the answer has them, the routes' progress."""
    error = execution.get("error_info")
    print_facts(
        [
            ("execution", execution.get("execution_id")),
            ("status", execution.get("status")),
            ("config", _config(execution)),
            ("started", moment(execution.get("started_at"))),
            ("ended", moment(execution.get("completed_at"))),
            ("took", took(execution.get("duration_ms"))),
            ("messages", execution.get("message_count")),
            ("failed", execution.get("failed_count")),
            ("tag", execution.get("tag")),
            ("deleted", _deleted(execution.get("deletion"))),
            ("replay of", execution.get("parent_execution_id")),
            ("held by", ", ".join(map(str, execution.get("held_by") or [])) or None),
            ("recoveries", _recoveries(execution)),
            ("published", _published(execution.get("plan"))),
            ("warning", execution.get("warning")),
            ("error", error.get("message", error) if isinstance(error, Mapping) else error),
        ]
    )
    routes = execution.get("routes")
    if isinstance(routes, Sequence) and routes and all(isinstance(r, Mapping) for r in routes):
        print_line()
        print_table(ROUTE_COLUMNS, routes)


def _recoveries(execution: Row) -> str | None:
    """Tell how often it was taken up again, when last, and from what."""
    count, last = execution.get("recoveries"), execution.get("last_recovery")
    if not count or not isinstance(last, Mapping):
        return str(count) if count else None
    if last.get("source") == "records":
        source = "the records, as its queue was lost"
    else:
        settled, announced = last.get("settled"), last.get("announced")
        source = f"its queue, {settled} of {announced} messages had ended"
    return f"{count}, last {moment(last.get('at'))} from {source}"


def _deleted(deletion: Any) -> str | None:
    """Tell what was deleted, when, and how much that was."""
    if not isinstance(deletion, Mapping):
        return None
    what = "its artefacts" if deletion.get("kind") == "artefacts" else "all but this"
    if deletion.get("deleted_at") is None:
        return f"{what}, being deleted since {moment(deletion.get('requested_at'))}"
    was = f", tag {deletion['tag']}" if deletion.get("tag") else ""
    return (
        f"{what}, on {moment(deletion['deleted_at'])}: {deletion.get('objects')} objects, "
        f"{size(deletion.get('bytes'))}{was}"
    )


def _published(plan: Any) -> str | None:
    if not isinstance(plan, Mapping):
        return None
    return f"{plan.get('published')} of {plan.get('planned')} planned"


def _config(execution: Row) -> str:
    name, version = execution.get("config_name"), execution.get("config_version")
    version_text = f"version {version}, " if version else ""
    config_id = execution.get("config_id")
    return f"{name} ({version_text}{config_id})" if name else str(config_id or "")


def draw_dag(dag: Row, nodes: Sequence[Row], edges: Sequence[Row]) -> None:
    """Print the routes as a tree: each with its stages, under it the routes its queue feeds.

    A route that was drawn already (a cycle, or two ways to one place) is named with `(above)`.
    """
    by_id = {str(node.get("route_id")): node for node in nodes}
    fed = {str(edge.get("to_route")) for edge in edges}
    roots = [
        route
        for route, node in by_id.items()
        if route not in fed or node.get("queue") == dag.get("init_queue")
    ]
    drawn: set[str] = set()
    print_line(f"init -> {dag.get('init_queue') or '?'}")
    for root in [*roots, *by_id]:
        if root not in drawn:
            _draw_route(root, by_id, edges, drawn, depth=0)


def _draw_route(
    route: str, by_id: Mapping[str, Row], edges: Sequence[Row], drawn: set[str], depth: int
) -> None:
    pending = [(route, depth, "")]
    while pending:
        name, level, queue = pending.pop()
        indent = "   " * level
        arrow = f"{indent}+- " if level else ""
        via = f"  <- {queue}" if queue else ""
        if name in drawn:
            print_line(f"{arrow}{name} (above){via}")
            continue
        drawn.add(name)
        node = by_id.get(name, {})
        print_line(f"{arrow}{name}  [{node.get('queue') or queue or '?'}]")
        stages = node.get("adapters")
        if isinstance(stages, Sequence) and not isinstance(stages, str):
            chain = " > ".join(str(stage) for stage in stages)
            print_line(f"{indent}{'   ' if level else '  '}{chain}")
        onward = [edge for edge in edges if str(edge.get("from_route")) == name]
        pending += [
            (str(edge.get("to_route")), level + 1, str(edge.get("queue") or ""))
            for edge in reversed(onward)
        ]


def suggest_next(execution: Row, *, server_stopped: str = "") -> None:
    """Tell on stderr which commands go on from an ended execution."""
    name = _short_name(execution)
    terminal.say("")
    terminal.say("next:")
    if server_stopped:
        terminal.say(f"  {server_stopped}")
    if execution.get("status") == "failed" or execution.get("failed_count"):
        terminal.say(f"  factflow lineage failures --execution {name}")
        terminal.say(f"  factflow execution replay {name} --only failed")
    terminal.say(f"  factflow execution stats {name}")
    terminal.say(f"  factflow storage list --execution {name}")


def _short_name(execution: Row) -> str:
    """Return the tag, as people know it, unless it is longer than the id."""
    execution_id, tag = str(execution.get("execution_id")), str(execution.get("tag") or "")
    return tag if 0 < len(tag) <= len(execution_id) else execution_id
