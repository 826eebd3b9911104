"""The HTTP API over real sockets with made-up content: what the command line is tested against.

`Stub.answers` holds what is answered to `"METHOD /path"` (without the API prefix): a value (200), a
`(status, value)` pair, bytes, or a function of the `Asked` that returns one of these.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

PREFIX = "/api/v1"
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


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; `path` is decoded and without the API prefix."""

    method: str
    path: str
    raw_path: str
    query: dict[str, str]
    body: Any


@dataclass
class Stub:
    """A listening server, what it answers, and what it was asked."""

    answers: dict[str, Any]
    asked: list[Asked] = field(default_factory=list)
    on_request: Callable[[Asked], None] = lambda _: None
    address: tuple[str, int] = ("127.0.0.1", 0)

    def __post_init__(self) -> None:
        stub = self

        class Handler(_Handler):
            owner = stub

        self.http = _Quiet(self.address, Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self._thread = threading.Thread(
            target=self.http.serve_forever, kwargs={"poll_interval": 0.02}
        )

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.http.shutdown()
        self.http.server_close()
        self._thread.join()

    def last(self, method: str, path: str) -> Asked:
        """Return the latest such request."""
        return [a for a in self.asked if (a.method, a.path) == (method, path)][-1]


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing about clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    owner: Stub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the library's name
        """Say nothing on stderr."""

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        path = unquote(parts.path).removeprefix(PREFIX)
        asked = Asked(
            self.command,
            path,
            parts.path.removeprefix(PREFIX),
            dict(parse_qsl(parts.query)),
            json.loads(body) if body else None,
        )
        self.owner.asked.append(asked)
        self.owner.on_request(asked)
        answer = self.owner.answers.get(f"{self.command} {path}", not_found(f"nothing at {path}"))
        if callable(answer):
            answer = answer(asked)
        status, value = answer if isinstance(answer, tuple) else (200, answer)
        self._send(status, value)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815  # the library's names

    def _send(self, status: int, value: Any) -> None:
        if value is ...:
            self.close_connection = True
            return  # hang up without a word
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        kind = "text/html" if isinstance(value, bytes) else "application/json"
        if value == IMAGE:
            kind = "application/octet-stream"
        self.send_header("Content-Type", kind)
        if 300 <= status < 400:
            self.send_header("Location", "https://elsewhere.example/")
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if status != 204:
            self.wfile.write(data)


def error(status: int, code: str, detail: str, hint: str = "", **more: Any) -> tuple[int, Any]:
    """Return an error answer as the API promises it."""
    return status, {
        "detail": detail,
        "error_code": code,
        "hint": hint,
        "correlation_id": "c0ffee",
        "timestamp": "2026-03-01T09:30:00Z",
        **more,
    }


def not_found(detail: str) -> tuple[int, Any]:
    """Return the answer for an id or key that is not known."""
    return error(404, "execution_not_found", detail, "factflow execution list")


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


def validation(asked: Asked) -> dict[str, Any]:
    """Judge a config: it is invalid when it says so."""
    bad = "web_scrapper" in asked.body["config_yaml"]
    return {
        "is_valid": not bad,
        "issues": [ISSUE] if bad else [],
        "error_count": int(bad),
        "warning_count": 0,
    }


def ended(run: str, status: str) -> dict[str, Any]:
    """Return the answer to a wait for an execution that ended."""
    return {
        "completed": True,
        "execution_id": run,
        "status": status,
        "duration_ms": 90_000.0,
        "message": f"the execution ended {status}",
    }


def content() -> dict[str, Any]:
    """Return answers to everything the command line can ask."""
    record = {"key": KEY, "content_type": "text/html", "size": len(PAGE), "stage": "web_scraper"}
    run = f"/executions/{RUN}"
    return {
        "GET /system/health": {
            "status": "healthy",
            "components": [{"name": "storage", "status": "healthy", "message": "12 GiB free"}],
            "version": "0.1.0",
            "uptime_seconds": 3700.0,
            "data_dir": "/srv/factflow",
        },
        "POST /configs/validate": validation,
        "GET /configs": page("configs", [config()]),
        "POST /configs": (201, config()),
        f"GET /configs/{CONFIG}": config(),
        f"PUT /configs/{CONFIG}": config(version=4),
        f"DELETE /configs/{CONFIG}": (204, None),
        f"POST /configs/{CONFIG}/run": (201, execution("running")),
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
                {"from_route": "crawl", "to_route": "clean", "queue": "clean_in"},
                {"from_route": "clean", "to_route": "crawl", "queue": "crawl_in"},
            ],
        },
        f"POST {run}/wait": ended(RUN, "completed"),
        f"POST {run}/cancel": {
            "success": True,
            "execution_id": RUN,
            "previous_status": "running",
            "current_status": "cancelled",
            "message": "cancelled",
        },
        f"POST {run}/replay": (201, replay()),
        f"POST /executions/{OTHER_RUN}/wait": ended(OTHER_RUN, "completed"),
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
