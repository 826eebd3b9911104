"""Replays, their plans, trees and differences drawn for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from factflow_cli import terminal
from factflow_cli.tables import Column, number, print_facts, print_line, print_table
from factflow_cli.values import moment, took

Row = Mapping[str, Any]


def _ran_before(row: Row) -> str:
    adapter, version = row.get("source_adapter"), row.get("source_version")
    if not adapter:
        return ""
    return str(version) if adapter == row.get("adapter") else f"{adapter} {version}"


def _mark(row: Row) -> str:
    if row.get("changed_on_disk"):
        return "changed on disk"
    return "changed" if row.get("changed") else ""


def _not_run(row: Row) -> str:
    where = row.get("not_run_in")
    return f"not run in {str(where).upper()}" if where else ""


def _value(value: Any) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else f"{text[:199]}…"


STAGE_COLUMNS = (
    Column("STAGE", lambda row: f"{row.get('route')}/{row.get('stage')}"),
    Column("ADAPTER", "adapter", keep=2),
    Column("RAN BEFORE", _ran_before, keep=1),
    Column("RUNS NOW", "version"),
    Column("", _mark, whole=True),
)
DIFFERENCE_COLUMNS = (
    Column("CONFIG", "path", wraps=True),
    Column("WHAT", "kind", whole=True),
    Column("BEFORE", lambda row: _value(row.get("old")), wraps=True),
    Column("NOW", lambda row: _value(row.get("new")), wraps=True),
)
ENTRY_COLUMNS = (
    Column("ENTERS AT", lambda row: f"{row.get('route')}/{row.get('stage')}"),
    Column("QUEUE", "queue"),
    number("MESSAGES", "messages"),
)
DIFF_COLUMNS = (
    Column("STAGE", lambda row: f"{row.get('route_id')}/{row.get('stage')}"),
    number("SAME", "same"),
    number("CHANGED", "changed"),
    number("ONLY A", "only_a"),
    number("ONLY B", "only_b"),
    number("NOT RUN", "not_run", keep=4),
    Column("A TOOK", lambda row: took(row.get("avg_ms_a")), keep=2, whole=True, right=True),
    Column("B TOOK", lambda row: took(row.get("avg_ms_b")), keep=3, whole=True, right=True),
    Column("", _not_run, keep=1, whole=True),
)


def draw_replay(replay: Row) -> None:
    """Print what a replay selected, and where it went."""
    print_facts(
        [
            ("execution", replay.get("execution_id")),
            ("status", replay.get("status")),
            *_selection(replay),
            ("published", replay.get("objects_published")),
            ("warning", replay.get("warning")),
            ("note", replay.get("note")),
        ]
    )


def draw_plan(plan: Row) -> None:
    """Print the plan of a replay that was not started."""
    config = f"{plan.get('config_name')} version {plan.get('config_version')}"
    print_facts(
        [
            ("plan", "nothing was started"),
            *_selection(plan),
            ("config", config if plan.get("config_version") else plan.get("config_name")),
            ("missing", _missing(plan.get("missing_count"))),
            ("note", plan.get("note")),
        ]
    )
    for columns, name in (
        (ENTRY_COLUMNS, "entries"),
        (STAGE_COLUMNS, "stages"),
        (DIFFERENCE_COLUMNS, "config_differences"),
    ):
        found = _rows(plan, name)
        if found:
            print_line()
            print_table(columns, found)
    missing = plan.get("missing")
    if isinstance(missing, Sequence) and missing and not isinstance(missing, str):
        print_line()
        print_line(f"missing from storage ({plan.get('missing_count')}):")
        for key in missing[:20]:
            print_line(f"  {key}")


def draw_tree(tree: Row) -> None:
    """Print an execution and its replays, each below what it was made from."""
    pending: list[tuple[Row, str, str]] = [(tree, "", "")]
    asked = tree.get("asked")
    while pending:
        node, lead, below = pending.pop()
        print_line(lead + _node(node, asked))
        replays = _rows(node, "replays")
        children = [
            (replay, f"{below}{'`-' if last else '|-'} ", f"{below}{'  ' if last else '| '} ")
            for number_, replay in enumerate(replays, 1)
            for last in [number_ == len(replays)]
        ]
        pending += reversed(children)


def draw_diff(diff: Row) -> None:
    """Print the comparison by stage, and the messages that differ."""
    print_table(DIFF_COLUMNS, _rows(diff, "stages"))
    print_line()
    print_line("the same" if diff.get("same") else "different")
    for change in _rows(diff, "changes"):
        print_line()
        label = change.get("label") or change.get("origin_id")
        place = f"{change.get('route_id')}/{change.get('stage')}"
        print_line(f"{change.get('kind')}  {place}  {label}")
        for side in ("a", "b"):
            found = change.get(side)
            if isinstance(found, Mapping):
                print_line(f"  {side}: {_outcome(found)}")
        if change.get("diff"):
            terminal.write_text(terminal.harmless(str(change["diff"])))
    if diff.get("changes_left"):
        print_line()
        print_line(f"{diff['changes_left']} more differ, --limit shows more")


def _missing(count: Any) -> str:
    return "no artefact" if not count else f"{count} artefact{'' if count == 1 else 's'}"


def _selection(replay: Row) -> list[tuple[str, Any]]:
    overlays = replay.get("with")
    return [
        ("replay of", replay.get("from_execution_id") or replay.get("parent_execution_id")),
        ("with", ", ".join(overlays) if isinstance(overlays, list) else None),
        ("from stage", replay.get("from_stage")),
        ("to route", replay.get("to_route")),
        ("to queue", replay.get("to_queue")),
        ("messages", replay.get("objects_found")),
        ("selected", _counts(replay.get("selected"))),
        ("not selected", _counts(replay.get("not_selected"))),
    ]


def _counts(counts: Any) -> str:
    if not isinstance(counts, Mapping):
        return ""
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)


def _rows(answer: Row, name: str) -> list[Row]:
    value = answer.get(name)
    return [row for row in value if isinstance(row, Mapping)] if isinstance(value, list) else []


def _node(node: Row, asked: Any) -> str:
    source = node.get("replay_source")
    from_stage = source.get("from_stage") if isinstance(source, Mapping) else None
    only = source.get("only") if isinstance(source, Mapping) else None
    counts = f"{node.get('message_count')} messages, {node.get('failed_count')} failed"
    parts = [
        str(node.get("execution_id")),
        str(node.get("status")),
        str(node["tag"]) if node.get("tag") else "",
        f"from {from_stage}" if from_stage else "",
        f"only {only}" if only else "",
        counts if node.get("message_count") is not None else "",
        moment(node.get("started_at")),
        "<- this one" if node.get("execution_id") == asked else "",
    ]
    return "  ".join(part for part in parts if part)


def _outcome(side: Row) -> str:
    error = side.get("error")
    reason = f"{error.get('type')}: {error.get('message')}" if isinstance(error, Mapping) else ""
    parts = [side.get("outcome"), reason, side.get("output_key")]
    return "  ".join(str(part) for part in parts if part)
