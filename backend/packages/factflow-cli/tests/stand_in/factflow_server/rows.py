"""Made-up configs, executions, lineage rows and objects, in the shapes of the API."""

from __future__ import annotations

from typing import Any

RUN = "0199a1b2-c3d4-7e5f-8a6b-112233445566"
OTHER_RUN = "0199a1b2-c3d4-7e5f-8a6b-aabbccddeeff"
CONFIG = "0199a000-0000-7000-8000-000000000001"
ROOT_ROW, ROW, CHILD_ROW = "a" * 32, "b" * 32, "c" * 32
MESSAGE = "d" * 32
KEY = f"executions/{RUN}/sitemap_scraper/web_scraper/{MESSAGE}.html"
BINARY_KEY = f"executions/{RUN}/sitemap_scraper/web_scraper/{MESSAGE}.bin"
PAGE = b"<h1>Guten Tag</h1>\n<p>\x1b[2Jcleared?</p>\n"
IMAGE = bytes(range(256)) * 8

ISSUE = {
    "severity": "error",
    "code": "E103",
    "path": "routes.sitemap_scraper.adapters[0].type",
    "line": 7,
    "message": "unknown adapter type 'web_scrapper'",
    "suggestion": "did you mean 'web_scraper'?",
}


def page(name: str, rows: list[Any], total: int | None = None, offset: int = 0) -> dict[str, Any]:
    """Return a listing's page."""
    total = len(rows) if total is None else total
    more = offset + len(rows) < total
    return {"total": total, "limit": 50, "offset": offset, "has_more": more, name: rows}


def config(**changes: Any) -> dict[str, Any]:
    """Return a stored config."""
    return {
        "id": CONFIG,
        "name": "documentation of a rather long-named product",
        "description": None,
        "source_type": "api",
        "source_path": None,
        "config_hash": "f" * 64,
        "version": 3,
        "created_at": "2026-03-01T09:00:00.000Z",
        "updated_at": "2026-03-01T09:30:00.000Z",
        "is_active": True,
        "is_runnable": True,
        "validation_report": {"is_valid": True, "issues": [], "error_count": 0, "warning_count": 0},
        "config_yaml": 'version: "1.0"\nname: docs  # ünïcode\n',
        **changes,
    }


def execution(status: str = "completed", **changes: Any) -> dict[str, Any]:
    """Return an execution in detail."""
    run = changes.get("execution_id", RUN)
    return {
        "execution_id": run,
        "id": run,
        "config_id": CONFIG,
        "config_name": "documentation of a rather long-named product",
        "config_version": 3,
        "config_hash": "f" * 64,
        "status": status,
        "started_at": "2026-03-01T09:30:00.000Z",
        "completed_at": None if status == "running" else "2026-03-01T09:31:30.000Z",
        "duration_ms": None if status == "running" else 90_000.0,
        "parent_execution_id": None,
        "replay_source": None,
        "tag": "nightly",
        "source": "api",
        "message_count": 84,
        "failed_count": 2 if status == "failed" else 0,
        "warning": None,
        "config_snapshot": "version: '1.0'\n",
        "metadata": {},
        "error_info": None,
        "routes": routes(),
        **changes,
    }


def routes() -> list[dict[str, Any]]:
    """Return the progress of two routes."""
    return [
        {
            "route_id": name,
            "name": name,
            "queue": f"{name}_in",
            "state": "running",
            "total_messages": 42,
            "completed": 38,
            "failed": 2,
            "in_progress": 1,
            "queued": 1,
            "delayed": 0,
            "avg_duration_ms": 312.5,
            "p50_ms": 300.0,
            "p95_ms": 900.0,
            "per_second": 4.25,
            "failure_share": 0.05,
        }
        for name in ("sitemap_scraper", "a_route_whose_name_is_longer_than_names_should_be")
    ]


def row(row_id: str, stage: str, parent: str | None = None, **changes: Any) -> dict[str, Any]:
    """Return a lineage row."""
    return {
        "id": row_id,
        "execution_id": RUN,
        "route_id": "sitemap_scraper",
        "stage": stage,
        "adapter": stage,
        "adapter_version": "0.1.0+abc",
        "message_id": MESSAGE,
        "origin_id": "e" * 32,
        "parent_id": parent,
        "replayed_from": None,
        "root_id": ROOT_ROW,
        "status": "completed",
        "outcome": "stored",
        "attempts": 1,
        "input_hash": "1" * 64,
        "output_hash": "2" * 64,
        "input_key": KEY,
        "output_key": KEY,
        "output_count": 1,
        "pending_children": 0,
        "error": None,
        "started_at": "2026-03-01T09:30:00.000Z",
        "completed_at": "2026-03-01T09:30:01.000Z",
        "duration_ms": 1000.0,
        "batch_id": None,
        "metadata": {"input_key": KEY, "title": "Evil \x1b[31mtitle\x1b[0m \u202eabc"},
        **changes,
    }


def failed_row() -> dict[str, Any]:
    """Return a lineage row of a failure."""
    return row(
        CHILD_ROW,
        "web_scraper",
        ROW,
        status="failed",
        outcome="failed",
        error={
            "type": "PermanentError",
            "message": "https://example.org/a/page/that/has/a/long/address answered 410 Gone",
            "traceback": "Traceback (most recent call last):\n  in process\nPermanentError: 410",
        },
    )


def stages() -> list[dict[str, Any]]:
    """Return the statistics of two stages."""
    return [
        {
            "route_id": "sitemap_scraper",
            "stage": stage,
            "adapter": stage,
            "count": 42,
            "completed": 40,
            "failed": 2,
            "filtered": 0,
            "avg_duration_ms": 12.5,
            "p50_ms": 10.0,
            "p95_ms": 40.0,
        }
        for stage in ("web_scraper", "web_content_storage")
    ]


def replay() -> dict[str, Any]:
    """Return the answer to a replay."""
    answer = execution("running", execution_id=OTHER_RUN, parent_execution_id=RUN, source="replay")
    return {
        **answer,
        "from_execution_id": RUN,
        "from_stage": "web_scraper",
        "to_route": None,
        "to_queue": "sitemap_scraper_in",
        "objects_found": 72,
        "objects_published": 72,
        "selected": {
            "after_stage": 70,
            "at_stage_failed": 2,
            "at_stage_queued": 0,
            "skipped_by_condition": 0,
        },
        "not_selected": {"filtered": 5, "not_settled": 0, "covered": 0},
        "note": "web_scraper is not run again for 70 messages",
    }


def end(status: str, run: str = RUN) -> dict[str, Any]:
    """Return what the last event of a stream tells."""
    return {"at": "2026-03-01T09:31:30.000Z", "execution_id": run, "status": status}


def progress() -> tuple[str, dict[str, Any]]:
    """Return an event that tells how far the routes are."""
    return "progress", {"execution_id": RUN, "routes": routes()}


def outcomes() -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a message that was stored and of one that failed."""
    shared = {
        "route_id": "sitemap_scraper",
        "stage": "web_scraper",
        "message_id": MESSAGE,
        "completed_at": "2026-03-01T09:30:12.000Z",
    }
    error = {"type": "HTTPStatusError", "message": "503 of a site\nwhose words are long " * 5}
    return [
        ("stored", {**shared, "outcome": "stored", "key": KEY, "size": 20480}),
        ("failed", {**shared, "outcome": "failed", "key": None, "size": None, "error": error}),
    ]


def pipelines() -> dict[str, Any]:
    """Return the running routes: one of an ordinary name, one paused whose name fills a line."""
    pause = {
        "route_id": "a_route_whose_name_is_as_long_as_names_of_routes_may_reasonably_be",
        "paused_at": "2026-03-01T09:30:00.000Z",
        "paused_by": "ada",
        "reason": "the model server is being moved to another machine and is back at noon",
    }
    shared = {"execution_id": RUN, "in_progress": 2, "queued": 40, "delayed": 1}
    return {
        "total": 2,
        "routes": [
            {**shared, "route_id": "crawl", "name": "crawl", "queue": "crawl_in"}
            | {"state": "running", "pause": None},
            {**shared, "route_id": pause["route_id"], "name": "long", "queue": "long_in"}
            | {"state": "paused", "pause": pause},
        ],
        "pauses": [pause],
    }


def deletion(state: str, **changes: Any) -> dict[str, Any]:
    """Return how far a deletion is."""
    return {
        "execution_id": RUN,
        "kind": "all",
        "state": state,
        "requested_at": "2026-04-01T09:30:00.000Z",
        "deleted_at": "2026-04-01T09:31:00.000Z" if state == "deleted" else None,
        "tag": "monday",
        "objects": 340,
        "bytes": 3_400_000,
        "lineage_rows": 84,
        "step": "done" if state == "deleted" else "objects",
        "removed": 200,
        "trouble": None,
        **changes,
    }


def chosen(asked: Any) -> tuple[int, dict[str, Any]]:
    """Return the answer to a request to delete: one goes, one is held."""
    dry = asked.body["dry_run"]
    refusal = {
        "code": "execution_held",
        "message": f"execution {OTHER_RUN} is still needed by {RUN}",
        "hint": "",
        "held_by": [RUN],
    }
    one = execution(execution_id=RUN, named=True)
    other = execution(execution_id=OTHER_RUN, named=OTHER_RUN in asked.body["execution_ids"])
    return 200 if dry else 202, {
        "dry_run": dry,
        "accepted": 1,
        "refused": 1,
        "more": False,
        "executions": [
            {**one, "deletion": None if dry else deletion("deleting"), "refused": None},
            {**other, "deletion": None, "refused": refusal},
        ],
    }


def level() -> dict[str, Any]:
    """Return a level of the tree of keys: a prefix that was not counted to its end, and an object."""
    one = {"kind": "prefix", "key": "executions/", "size": 34_000, "objects": 10_000}
    return {
        "prefix": "",
        "limit": 100,
        "has_more": True,
        "next_cursor": "notes",
        "entries": [
            {**one, "records": 12, "complete": False},
            {"kind": "object", "key": "notes", "size": 812, "objects": 1, "records": 0}
            | {"complete": True},
        ],
    }


def monitor(status: str = "running", **changes: Any) -> dict[str, Any]:
    """Return a snapshot of an execution for a live view."""
    return {
        "at": "2026-03-01T09:30:30.000Z",
        "execution": execution(status),
        "plan": {"published": 84, "planned": 184},
        "eta_seconds": 95.0,
        "metrics": {
            "total_messages": 84,
            "completed": 76,
            "failed": 4,
            "in_progress": 2,
            "queued": 2,
            "delayed": 0,
            "per_second": 8.5,
            "failure_share": 0.05,
        },
        "routes": routes(),
        "failures": [failed_row()],
        "dag": {"execution_id": RUN, "init_queue": "crawl_in", "nodes": [], "edges": []},
        **changes,
    }


def audit_progress() -> tuple[str, dict[str, Any]]:
    """Return an event that tells how far an audit is."""
    counts = {"rows": 84, "records": 60, "artefacts": 120, "gaps": 1}
    return "progress", {"step": "records", **counts}


def audit(gaps: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Return how lineage and storage disagree: a row is missing, unless told otherwise."""
    missing = {"kind": "row_missing", "key": KEY, "row_id": ROW, "detail": ""}
    found = [missing] if gaps is None else gaps
    return {
        "execution_id": RUN,
        "clean": not found,
        "deep": False,
        "records": 84,
        "artefacts": 160,
        "artefacts_deleted": 0,
        "deletion": None,
        "counts": {"row_missing": len(found), "litter": 0},
        "gaps": found,
        "rows_rebuilt": 0,
        "litter_deleted": 0,
        "notes": [],
    }
