"""What the stand-in tells of the server itself: health, numbers, queues, space."""

from __future__ import annotations

from typing import Any

from .rows import OTHER_RUN, RUN, execution, stages


def health() -> dict[str, Any]:
    """Return the health of a server with a part that wants to be looked at."""
    debug = {"latency_ms": 0.4, "details": {"kind": "file", "data_disk_free_bytes": 12_884_901_888}}
    part = {"name": "storage", "status": "healthy", "message": "answers", "hint": ""}
    return {
        "status": "healthy",
        "components": [{**part, "checked_at": "2026-03-01T09:30:00.000Z", "debug": debug}],
        "timestamp": "2026-03-01T09:30:00.000Z",
        "version": "0.1.0",
        "uptime_seconds": 3700.0,
        "data_dir": "/srv/factflow",
    }


def system_metrics() -> dict[str, Any]:
    """Return the numbers of a server that was stalled once."""
    at = "2026-03-01T09:30:00.000Z"
    return {
        "timestamp": at,
        "uptime_seconds": 3700.0,
        "messages_received": 9960,
        "messages_completed": 9900,
        "messages_failed": 40,
        "messages_in_flight": 5,
        "messages_queued": 14,
        "messages_delayed": 1,
        "running_routes": 2,
        "paused_routes": 1,
        "executions": {"running": 1, "completed": 3, "failed": 0},
        "executions_ended": {"completed": 1},
        "event_loop": {
            "stalls": 1,
            "stalled_seconds": 1.2,
            "last_stall": {"stage": "crawl/parse", "seconds": 1.2, "noticed_at": at},
        },
        "lineage": {"ok": True, "backlog": 12, "dropped": 0, "gap_rows": 0},
    }


def diagnosis() -> dict[str, Any]:
    """Return a queue that works."""
    trip = {"ok": True, "publish_ms": 0.4, "take_ms": 0.1, "settle_ms": 0.3, "error": None}
    state = {"execution_id": RUN, "route_id": "crawl", "queue": "crawl_in", "state": "running"}
    return {
        "ok": True,
        "total_ms": 2.5,
        "cleanup_error": None,
        "round_trips": [{"queue": "diagnostic", **trip}, {"queue": "crawl_in", **trip}],
        "queues": [{**state, "consumers": 1, "ready": 3, "in_flight": 2, "delayed": 0}],
    }


def route_metrics() -> dict[str, Any]:
    """Return how a route does that is held back and has an open breaker."""
    at = "2026-03-01T09:30:00.000Z"
    breaker = {"stage": "web_scraper", "state": "open", "opened_at": at, "probe_at": at}
    return {
        "route_id": "crawl",
        "timestamp": at,
        "running": 1,
        "note": None,
        "executions": [
            {
                "execution_id": RUN,
                "execution_status": "running",
                "name": "crawl",
                "queue": "crawl_in",
                "state": "running",
                "throughput": {"last_minute_per_second": 12.5, "since_start_per_second": 9.75},
                "completed": 380,
                "failed": 20,
                "failure_share": 0.05,
                "in_progress": 2,
                "queued": 40,
                "delayed": 1,
                "concurrency": 5,
                "held_back": {"route": "clean", "queued": 1200, "max_queued": 1000},
                "holding": None,
                "breakers": [{**breaker, "failures": 5, "last_error": "503 from example.org"}],
                "avg_duration_ms": 312.5,
                "stages": stages(),
            }
        ],
    }


def usage() -> dict[str, Any]:
    """Return what takes the space."""
    counted = {
        **execution(execution_id=RUN),
        "objects": 340,
        "records": 82,
        "bytes": 3_000_000,
        "disk_bytes": 3_400_000,
        "counted_at": "2026-03-01T10:00:00.000Z",
        "held_by": [OTHER_RUN],
        "deletable": False,
    }
    none = dict.fromkeys(("objects", "records", "bytes", "disk_bytes", "counted_at"))
    return {
        "kind": "file",
        "complete": False,
        "counting": 1,
        "counting_objects": 4000,
        "disk_total": 10**12,
        "disk_free": 10**11,
        "disk_bytes": 3_400_000,
        "objects": 340,
        "total": 2,
        "limit": 20,
        "offset": 0,
        "has_more": False,
        "databases": [{"name": "lineage.db", "disk_bytes": 40_960}],
        "executions": [counted, {**execution(execution_id=OTHER_RUN), **none, "held_by": []}],
        "hints": ["1 executions ended more than 30 days ago: factflow execution delete"],
    }
