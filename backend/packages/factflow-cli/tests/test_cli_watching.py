"""`storage watch`: lines for people, JSON lines for programs, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Run = Callable[..., Any]


def _stream(stub: Any) -> str:
    return f"GET /executions/{stub.RUN}/storage-stream"


def test_programs_get_a_line_of_json_for_each_outcome(
    server: Any, stub: Any, factflow: Run
) -> None:
    """It ends with the execution, in order however that ended; what is asked for reaches the server."""
    watched = factflow(
        "storage", "watch", "--execution", stub.RUN, "--route", "crawl", "--new-only"
    )
    assert watched.code == 0
    lines = [json.loads(line) for line in watched.text.splitlines()]
    assert [(line["event"], line["stage"]) for line in lines] == [
        ("stored", "web_scraper"),
        ("failed", "web_scraper"),
    ]
    assert watched.err.strip() == f"execution {stub.RUN} is failed"
    asked = server.last("GET", f"/executions/{stub.RUN}/storage-stream").query
    assert (asked["route"], asked["new_only"]) == ("crawl", "true")


def test_people_get_lines_that_fit(
    server: Any, stub: Any, on_terminal: Callable[..., Any], seen: Callable[[str], list[str]]
) -> None:
    code, shown = on_terminal("storage", "watch", "--execution", stub.RUN).finish()
    lines = seen(shown)
    assert code == 0
    assert lines[0].startswith("09:30:12  stored       20.0 KiB  sitemap_scraper/web_scraper/")
    assert "sitemap_scraper/web_scraper HTTPStatusError" in lines[1]
    assert max(map(len, lines)) <= 80


def test_a_cut_connection_goes_on_behind_the_last_outcome(
    server: Any, stub: Any, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factflow_cli.event_stream.RETRY_SECONDS", 0.0)
    told = list(server.answers[_stream(stub)].events)
    answers = iter([stub.Told(told[:1], cut=True), stub.Told(told[1:])])
    server.answers[_stream(stub)] = lambda _: next(answers)
    watched = factflow("storage", "watch", "--execution", stub.RUN)
    assert [json.loads(line)["event"] for line in watched.text.splitlines()] == ["stored", "failed"]
    assert server.last("GET", f"/executions/{stub.RUN}/storage-stream").last_id == "1"


def test_an_interrupted_execution_has_an_exit_code_of_its_own(
    server: Any, stub: Any, factflow: Run
) -> None:
    server.answers[_stream(stub)] = stub.Told([("end", {"status": "interrupted"})])
    assert factflow("storage", "watch", "--execution", stub.RUN).code == 9
    assert factflow("storage", "watch", "--execution", "nobody").code == 6


def test_ctrl_c_ends_the_watching(server: Any, stub: Any, on_terminal: Callable[..., Any]) -> None:
    over = threading.Event()
    told = list(server.answers[_stream(stub)].events)

    def hold() -> Iterator[Any]:
        yield told[0]
        over.wait(30)

    server.answers[_stream(stub)] = stub.Told(hold())
    screen = on_terminal("storage", "watch", "--execution", stub.RUN)
    screen.read_until("stored")
    os.kill(screen.process.pid, signal.SIGINT)
    code, shown = screen.finish()
    over.set()
    assert (code, "no longer watching" in shown) == (130, True)
    assert "Traceback" not in shown


def test_it_ends_with_its_reader_though_nothing_more_is_stored(
    server: Any, stub: Any, program: Run
) -> None:
    """`head` has its line and leaves; the next outcome may be hours away."""
    over = threading.Event()
    told = list(server.answers[_stream(stub)].events)

    def hold() -> Iterator[Any]:
        yield told[0]
        over.wait(60)

    server.answers[_stream(stub)] = stub.Told(hold())
    ended = program(f"timeout 50 {{}} storage watch --execution {stub.RUN} | head -n 1")
    over.set()
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads(ended.stdout)["event"] == "stored"
