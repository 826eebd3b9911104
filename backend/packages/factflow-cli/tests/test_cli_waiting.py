"""`execution wait`: its stream, `--timeout`, a server that goes away meanwhile, Ctrl+C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Run = Callable[..., Any]


def _stream(stub: Any) -> str:
    return f"GET /executions/{stub.RUN}/events"


def test_it_waits_until_the_execution_ended(server: Any, stub: Any, factflow: Run) -> None:
    """Changes on the way are said on stderr, a line each; the result is the execution."""
    pause = {"at": "2026-03-01T09:30:12.000Z", "route_id": "crawl", "reason": "disk is full"}
    told = [("started", {}), ("route_paused", pause), *stub.events("failed").events]
    server.answers[_stream(stub)] = stub.Told(told)
    server.answers[f"GET /executions/{stub.RUN}"] = stub.execution("failed")
    ended = factflow("execution", "wait", stub.RUN)
    assert ended.code == 1
    assert ended.json["failed_count"] == 2
    assert "config_snapshot" not in ended.json
    assert ended.err.splitlines() == ["09:30:12 route paused: crawl (disk is full)"]


def test_the_time_limit_ends_the_waiting_and_not_the_execution(
    server: Any, stub: Any, factflow: Run
) -> None:
    def hold(asked: Any) -> Any:
        assert asked.query == {"timeout": "1"}
        return stub.Told(_until(threading.Event(), stub, 1.0))

    server.answers[_stream(stub)] = hold
    ended = factflow("--timeout", "300ms", "execution", "wait", stub.RUN)
    assert (ended.code, ended.out) == (4, b"")
    assert "has not ended after 0.3s; it goes on" in ended.err
    assert not [asked for asked in server.asked if "cancel" in asked.path]


def _until(event: threading.Event, stub: Any, seconds: float = 30) -> Iterator[Any]:
    """Tell of progress, and nothing more before the event."""
    yield stub.progress()
    event.wait(seconds)


def test_a_restart_of_the_server_is_sat_out(
    server: Any, stub: Any, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on behind the last event that had come, whichever way the connection was lost."""
    monkeypatch.setattr("factflow_cli.event_stream.RETRY_SECONDS", 0.0)
    answers = iter(
        [
            stub.Told([("started", {}), stub.progress()]),
            ...,
            stub.error(503, "server_stopping", "the server is stopping"),
            stub.Told([("started", {})], cut=True),
            stub.events("completed"),
        ]
    )
    server.answers[_stream(stub)] = lambda _: next(answers)
    ended = factflow("execution", "wait", stub.RUN)
    assert ended.code == 0
    assert ended.json["status"] == "completed"
    asked = [request.last_id for request in server.asked if request.path.endswith("/events")]
    assert asked == [None, "2", "2", "2", "1"]
    assert "trying again" in ended.err


def test_a_server_that_stays_away_ends_the_waiting(
    server: Any, stub: Any, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factflow_cli.event_stream.RETRY_SECONDS", 0.0)
    monkeypatch.setattr("factflow_cli.event_stream.PATIENCE_SECONDS", 0.0)
    answers = iter([stub.Told([stub.progress()])])
    server.answers[_stream(stub)] = lambda _: next(answers, ...)
    assert factflow("execution", "wait", stub.RUN).code == 5


def test_an_unknown_execution_is_not_waited_for(server: Any, stub: Any, factflow: Run) -> None:
    assert factflow("execution", "wait", "nobody").code == 6


@pytest.mark.parametrize("end", [{}, {"status": "exploded"}, {"status": 5}])
def test_an_end_that_makes_no_sense_is_an_error(
    end: Any, server: Any, stub: Any, factflow: Run
) -> None:
    server.answers[_stream(stub)] = stub.Told([("end", end)])
    ended = factflow("execution", "wait", stub.RUN)
    assert ended.code == 8
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("answer", [{"status": "running"}, b"<p>welcome to the proxy</p>"])
def test_an_answer_that_is_no_stream_is_an_error(
    answer: Any, server: Any, stub: Any, factflow: Run
) -> None:
    server.answers[_stream(stub)] = answer
    ended = factflow("execution", "wait", stub.RUN)
    assert (ended.code, "no stream of events" in ended.err) == (8, True)


def test_ctrl_c_leaves_the_execution_running_and_says_so(
    server: Any, stub: Any, on_terminal: Callable[..., Any]
) -> None:
    asked, over = threading.Event(), threading.Event()

    def hold(_: Any) -> Any:
        asked.set()
        return stub.Told(_until(over, stub))

    server.answers[_stream(stub)] = hold
    screen = on_terminal("execution", "wait", stub.RUN)
    assert asked.wait(30)
    os.kill(screen.process.pid, signal.SIGINT)
    code, shown = screen.finish()
    over.set()
    assert code == 130
    assert f"execution {stub.RUN} goes on" in shown
    assert "Traceback" not in shown
    assert not [a for a in server.asked if "cancel" in a.path]


def test_bars_show_every_route_and_leave_the_result_behind(
    server: Any, stub: Any, on_terminal: Callable[..., Any], seen: Callable[[str], list[str]]
) -> None:
    watched = threading.Event()

    def told() -> Iterator[Any]:
        yield from _until(watched, stub)
        yield from stub.events("completed").events

    server.answers[_stream(stub)] = stub.Told(told())
    screen = on_terminal("execution", "wait", stub.RUN)
    screen.read_until("40/42")
    screen.read_until("2 failed 1 queued")
    watched.set()
    code, shown = screen.finish()
    assert code == 0
    lines = seen(shown)
    assert any(line.startswith("status") and "completed" in line for line in lines)
    assert "  factflow execution stats nightly" in lines
    assert max(len(line) for line in lines) <= 80
    assert "\x1b[?25h" in shown, "the cursor is back"


@pytest.mark.parametrize("tag", ["nightly", None, "a-tag-that-is-longer-than-an-id-" * 4])
def test_what_to_try_after_a_failure_can_be_typed_from_80_columns(
    tag: str | None, server: Any, stub: Any, factflow: Run
) -> None:
    """By the tag, as people know the execution; by its id when it has none, or one too long."""
    server.answers[_stream(stub)] = stub.events("failed")
    server.answers[f"GET /executions/{stub.RUN}"] = stub.execution("failed", tag=tag)
    said = factflow("execution", "wait", stub.RUN, "--output", "table").err.splitlines()
    name = tag if tag == "nightly" else stub.RUN
    assert said[said.index("next:") + 1 :] == [
        f"  factflow lineage failures --execution {name}",
        f"  factflow execution replay {name} --only failed",
        f"  factflow execution stats {name}",
        f"  factflow storage list --execution {name}",
    ]
    assert max(map(len, said)) <= 80
