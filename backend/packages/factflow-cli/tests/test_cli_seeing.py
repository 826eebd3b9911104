"""Watching an execution, drawing its graph, auditing its lineage, going on in long listings."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_monitor_on_a_terminal_follows_the_execution_to_its_end(
    server: Any, stub: Any, on_terminal: Callable[..., Any]
) -> None:
    """Routes, pace, what is left and the last failures; then it ends as the execution does."""
    asked = 0

    def snapshot(_asked: Any) -> Any:
        nonlocal asked
        asked += 1
        return stub.monitor("running" if asked < 3 else "failed")

    server.answers[f"GET /executions/{stub.RUN}/monitor"] = snapshot
    screen = on_terminal("execution", "monitor", stub.RUN)
    for text in ("running", "80/184", "4 failed (5.0%)", "about 1m35s left", "PermanentError"):
        screen.read_until(text)
    code, _ = screen.finish()
    assert (code, asked) == (1, 3)


def test_leaving_a_monitor_is_quiet(
    server: Any, stub: Any, on_terminal: Callable[..., Any]
) -> None:
    """Ctrl+C ends the watching, and says that the execution goes on."""
    import signal

    screen = on_terminal("execution", "monitor", stub.RUN)
    screen.read_until("sitemap_scraper")
    screen.process.send_signal(signal.SIGINT)
    code, shown = screen.finish()
    assert code == 130
    assert "goes on" in shown
    assert "Traceback" not in shown


def test_a_monitor_asks_once_when_nobody_watches(server: Any, stub: Any, factflow: Run) -> None:
    """In a pipe it is one JSON document, whatever the status."""
    before = len(server.asked)
    done = factflow("execution", "monitor", stub.RUN)
    assert (done.code, done.json["metrics"]["queued"]) == (0, 2)
    assert len(server.asked) == before + 1


@pytest.mark.parametrize("form", ["tree", "mermaid", "dot"])
def test_a_graph_is_asked_for_as_text(form: str, server: Any, stub: Any, factflow: Run) -> None:
    """The server draws; what could steer a terminal is spelled out."""
    server.answers[f"GET /executions/{stub.RUN}/dag"] = b"graph \x1b[2J\n"
    done = factflow("execution", "dag", stub.RUN, "--format", form)
    assert done.text == "graph \\x1b[2J\n"
    assert server.asked[-1].query["format"] == form


def test_an_audit_lists_gaps_and_fails_until_they_are_gone(
    server: Any, stub: Any, factflow: Run
) -> None:
    """The exit code tells a script; the table names each gap and the next command."""
    asked = ("lineage", "audit", "--execution", stub.RUN)
    assert factflow(*asked).code == 1
    table = factflow(*asked, "--deep", "--output", "table")
    assert server.asked[-1].query["deep"] == "true"
    assert f"row_missing  {stub.ROW}" in table.text
    assert [line for line in table.text.splitlines() if len(line) > 80] == []
    assert "--repair" in table.err
    repaired = factflow(*asked, "--repair", "--output", "table")
    assert repaired.code == 0
    assert server.asked[-1].body == {"deep": False, "limit": 20}
    assert "lineage and storage agree" in repaired.text


def test_an_audit_tells_how_far_it_is_while_a_person_waits(
    server: Any, stub: Any, on_terminal: Callable[..., Any]
) -> None:
    """On a terminal only; what is told before the report is no part of it."""
    over = threading.Event()
    told = list(server.answers[f"GET /executions/{stub.RUN}/audit"].events)

    def hold() -> Iterator[Any]:
        yield told[0]
        over.wait(30)
        yield told[1]

    server.answers[f"GET /executions/{stub.RUN}/audit"] = stub.Told(hold())
    screen = on_terminal("lineage", "audit", "--execution", stub.RUN)
    screen.read_until("60 of 84 records, 120 artefacts, 1 gaps")
    over.set()
    code, shown = screen.finish()
    assert (code, "row missing" in shown) == (1, True)


def test_an_audit_that_breaks_off_is_an_error(server: Any, stub: Any, factflow: Run) -> None:
    """Said by the server on the way, or told by the lack of an end."""
    trouble = {"detail": "lineage is away", "error_code": "lineage_unavailable", "status": 503}
    server.answers[f"GET /executions/{stub.RUN}/audit"] = stub.Told([("error", trouble)])
    ended = factflow("lineage", "audit", "--execution", stub.RUN)
    assert (ended.code, ended.out, "lineage is away" in ended.err) == (8, b"", True)
    server.answers[f"GET /executions/{stub.RUN}/audit"] = stub.Told([stub.audit_progress()])
    ended = factflow("lineage", "audit", "--execution", stub.RUN)
    assert (ended.code, ended.out) == (5, b"")


def test_what_was_deleted_on_purpose_is_no_gap(server: Any, stub: Any, factflow: Run) -> None:
    """The day is told, and the exit code is that of agreement."""
    answer = stub.audit(gaps=[]) | {"artefacts_deleted": 160, "deletion": stub.deletion("deleted")}
    server.answers[f"GET /executions/{stub.RUN}/audit"] = stub.Told([("report", answer)])
    done = factflow("lineage", "audit", "--execution", stub.RUN, "--output", "table")
    assert done.code == 0
    assert "160 artefacts, deleted on 2026-04-01" in done.text


def test_a_search_that_came_to_its_bound_says_how_to_go_on(
    server: Any, stub: Any, factflow: Run
) -> None:
    """Nothing was found yet, which is not the same as nothing."""
    server.answers["GET /lineage"] = {
        **stub.page("entries", []),
        "total": None,
        "has_more": True,
        "scanned": 50_000,
        "next_cursor": "W10",
    }
    done = factflow("lineage", "list", "--url", "install", "--output", "table")
    assert "0 rows shown, 50000 looked at; there may be more: --cursor W10" in done.text


def test_statistics_are_narrowed_as_listings_are(server: Any, stub: Any, factflow: Run) -> None:
    """By execution, place, status and time; over all executions when none is named."""
    narrowing = ("--route", "crawl", "--stage", "s", "--adapter", "a", "--status", "failed")
    assert factflow("lineage", "stats", *narrowing, "--since", "2026-03-01").code == 0
    assert server.asked[-1].query == {
        "route_id": "crawl",
        "stage": "s",
        "adapter": "a",
        "status": "failed",
        "started_after": "2026-03-01",
    }


def test_times_may_be_told_as_ago(server: Any, factflow: Run) -> None:
    """`--since 1h` is a moment by the time the server hears of it."""
    factflow("lineage", "failures", "--since", "1h30m", "--until", "2026-03-01")
    sent = server.asked[-1].query
    assert sent["started_after"].endswith("+00:00")
    assert sent["started_before"] == "2026-03-01"


def test_a_tree_is_drawn_in_a_pipe_when_asked_for_and_is_bounded(
    server: Any, stub: Any, factflow: Run
) -> None:
    """Status and duration of each row; what is left out is counted."""
    answer = server.answers[f"GET /lineage/{stub.ROW}/chain"]
    below = [
        stub.row(f"{place:032x}", "page", stub.ROW, status="processing", pending_children=2)
        for place in range(30)
    ]
    server.answers[f"GET /lineage/{stub.ROW}/chain"] = {**answer, "descendants": below}
    done = factflow("lineage", "chain", stub.ROW, "--tree", "--limit", "10")
    lines = done.text.splitlines()
    assert len([line for line in lines if "page  stored  (2 unfinished below)  1s" in line]) == 10
    assert lines[-1] == "1 ancestors, 30 descendants, 20 of them not drawn: --limit 30"
