"""A whole API with made-up content: what the command line is tested against."""

from __future__ import annotations

from typing import Any

from .causes import why
from .listener import Asked, Stub, Told, error, not_found
from .rows import (
    BINARY_KEY,
    CHILD_ROW,
    CONFIG,
    IMAGE,
    ISSUE,
    KEY,
    MESSAGE,
    OTHER_RUN,
    PAGE,
    ROOT_ROW,
    ROW,
    RUN,
    audit,
    audit_progress,
    chosen,
    config,
    deletion,
    end,
    execution,
    failed_row,
    level,
    monitor,
    outcomes,
    page,
    pipelines,
    progress,
    replay,
    routes,
    row,
    stages,
)
from .system_rows import diagnosis, health, route_metrics, system_metrics, usage

# Tests take these from here, beside what `content` is made of.
__all__ = [
    "MESSAGE",
    "Stub",
    "Told",
    "audit",
    "audit_progress",
    "deletion",
    "error",
    "events",
    "not_found",
    "progress",
]


def validation(asked: Asked) -> dict[str, Any]:
    """Judge a config: it is invalid when it says so."""
    bad = "web_scrapper" in asked.body["config_yaml"]
    return {
        "is_valid": not bad,
        "issues": [ISSUE] if bad else [],
        "error_count": int(bad),
        "warning_count": 0,
    }


def events(status: str, execution_id: str = RUN) -> Told:
    """Return the stream of an execution that ends so."""
    return Told([progress(), ("end", end(status, execution_id))])


def content() -> dict[str, Any]:
    """Return answers to everything the command line can ask."""
    record = {"key": KEY, "content_type": "text/html", "size": len(PAGE), "stage": "web_scraper"}
    run = f"/executions/{RUN}"
    return {
        "GET /system/health": health(),
        "GET /system/metrics": system_metrics(),
        "POST /system/mq-diagnostic": diagnosis(),
        "GET /pipelines/crawl/metrics": route_metrics(),
        "POST /configs/validate": validation,
        "GET /configs": page("configs", [config()]),
        "POST /configs": (201, config()),
        f"GET /configs/{CONFIG}": config(),
        f"PUT /configs/{CONFIG}": config(version=4),
        f"DELETE /configs/{CONFIG}": (204, None),
        f"POST /configs/{CONFIG}/run": (201, execution("running")),
        "GET /pipelines": pipelines(),
        f"GET /why/{RUN}": why(),
        "GET /executions": page("executions", [execution(), execution("failed")]),
        f"GET {run}": execution(),
        f"GET {run}/routes": {"execution_id": RUN, "routes": routes()},
        f"GET {run}/stats": {
            "execution_id": RUN,
            "total_messages": 84,
            "completed_messages": 82,
            "failed_messages": 2,
            "in_progress_messages": 0,
            "success_rate": 0.976,
            "stages": stages(),
        },
        f"GET {run}/dag": {
            "execution_id": RUN,
            "init_queue": "crawl_in",
            "nodes": [
                {"route_id": "crawl", "name": "crawl", "queue": "crawl_in", "adapters": ["a", "b"]},
                {"route_id": "clean", "name": "clean", "queue": "clean_in", "adapters": ["c"]},
            ],
            "edges": [
                {"from_route": "crawl", "to_route": "clean", "queue": "clean_in"}
                | {"kind": "outbound"},
                {"from_route": "clean", "to_route": "crawl", "queue": "crawl_in"}
                | {"kind": "dead_letter"},
            ],
        },
        f"GET {run}/events": events("completed"),
        f"GET {run}/storage-stream": Told([*outcomes(), ("end", end("failed"))]),
        f"GET {run}/monitor": monitor(),
        f"GET {run}/audit": Told([audit_progress(), ("report", audit())]),
        f"POST {run}/audit/repair": Told([("report", audit(gaps=[]) | {"rows_rebuilt": 42})]),
        f"POST {run}/cancel": {
            "success": True,
            "execution_id": RUN,
            "previous_status": "running",
            "current_status": "cancelled",
            "message": "cancelled",
        },
        f"POST {run}/replay": (201, replay()),
        f"GET /executions/{OTHER_RUN}/events": events("completed", OTHER_RUN),
        f"GET /executions/{OTHER_RUN}": execution(execution_id=OTHER_RUN),
        f"GET /executions/{OTHER_RUN}/routes": {"execution_id": OTHER_RUN, "routes": routes()},
        "GET /storage/objects": page(
            "objects",
            [
                {
                    "key": key,
                    "size": 20480,
                    "content_type": "text/html; charset=utf-8",
                    "last_modified": "2026-03-01T09:30:00Z",
                }
                for key in (KEY, BINARY_KEY)
            ],
            total=340,
        ),
        "GET /storage/browse": level(),
        "GET /system/storage": usage(),
        "POST /executions/delete": chosen,
        f"GET {run}/deletion": deletion("deleted"),
        f"GET /executions/{OTHER_RUN}/deletion": deletion("deleted"),
        f"GET /storage/objects/{KEY}": PAGE,
        f"GET /storage/objects/{BINARY_KEY}": IMAGE,
        f"GET /storage/metadata/{KEY}": record,
        f"GET /storage/metadata/{BINARY_KEY}": {"key": BINARY_KEY},
        "GET /lineage": page("entries", [row(ROW, "sitemap_parser"), failed_row()], total=70),
        "GET /lineage/failures": page("entries", [failed_row()]),
        "GET /lineage/stats": {"execution_id": RUN, "stages": stages()},
        f"GET /lineage/{ROW}": row(ROW, "sitemap_parser", ROOT_ROW),
        f"GET /lineage/{CHILD_ROW}": failed_row(),
        f"GET /lineage/{ROW}/chain": {
            "id": ROW,
            "ancestors": [row(ROOT_ROW, "init")],
            "entry": row(ROW, "sitemap_parser", ROOT_ROW),
            "descendants": [failed_row()],
            "truncated": False,
        },
        f"GET /lineage/{ROW}/children": {"id": ROW, "entries": [failed_row()], "total": 1},
        "GET /adapters": {
            "adapters": [
                {
                    "type": "web_scraper",
                    "description": "Fetches a page, within the limits its robots.txt sets",
                    "version": "0.1.0+abc",
                    "distribution": "factflow-webscraper",
                    "module": "factflow_webscraper.scraper",
                    "changed_on_disk": False,
                }
            ],
            "broken": [{"type": "gone", "error": "No module named 'gone'"}],
        },
        "GET /adapters/web_scraper": {
            "type": "web_scraper",
            "description": "Fetches a page",
            "version": "0.1.0+abc",
            "distribution": "factflow-webscraper",
            "module": "factflow_webscraper.scraper",
            "changed_on_disk": True,
            "config_schema": {
                "properties": {
                    "url": {"type": "string", "description": "Where to start"},
                    "depth": {"anyOf": [{"type": "integer"}, {"type": "null"}], "default": 2},
                },
                "required": ["url"],
            },
        },
    }
