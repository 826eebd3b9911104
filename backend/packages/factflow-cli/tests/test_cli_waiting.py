"""`execution wait`: long polls, `--timeout`, a server that goes away meanwhile, Ctrl+C."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]


def _running(stub: Any) -> dict[str, Any]:
    return {**stub.ended(stub.RUN, "running"), "completed": False}


def test_it_polls_until_the_execution_ended(server: Any, stub: Any, factflow: Run) -> None:
    answers = iter([_running(stub), _running(stub), stub.ended(stub.RUN, "failed")])
    server.answers[f"POST /executions/{stub.RUN}/wait"] = lambda _: next(answers)
    server.answers[f"GET /executions/{stub.RUN}"] = stub.execution("failed")
    ended = factflow("execution", "wait", stub.RUN)
    assert ended.code == 1
    assert ended.json["failed_count"] == 2
    assert "config_snapshot" not in ended.json


def test_the_time_limit_ends_the_waiting_and_not_the_execution(
    server: Any, stub: Any, factflow: Run
) -> None:
    server.answers[f"POST /executions/{stub.RUN}/wait"] = _running(stub)
    ended = factflow("--timeout", "300ms", "execution", "wait", stub.RUN)
    assert (ended.code, ended.out) == (4, b"")
    assert "has not ended after 0.3s; it goes on" in ended.err
    assert not [asked for asked in server.asked if "cancel" in asked.path]


def test_a_poll_never_asks_for_longer_than_the_time_left(
    server: Any, stub: Any, factflow: Run
) -> None:
    factflow("--timeout", "1h", "execution", "wait", stub.RUN)
    assert server.last("POST", f"/executions/{stub.RUN}/wait").body == {"timeout": 30}
    factflow("--timeout", "5s", "execution", "wait", stub.RUN)
    assert server.last("POST", f"/executions/{stub.RUN}/wait").body == {"timeout": 5}


def test_a_restart_of_the_server_is_sat_out(
    server: Any, stub: Any, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factflow_cli.waiting.RETRY_SECONDS", 0.0)
    answers = iter(
        [
            _running(stub),
            ...,
            stub.error(503, "server_stopping", "the server is stopping"),
            stub.ended(stub.RUN, "completed"),
        ]
    )
    server.answers[f"POST /executions/{stub.RUN}/wait"] = lambda _: next(answers)
    ended = factflow("execution", "wait", stub.RUN)
    assert ended.code == 0
    assert ended.json["status"] == "completed"
    assert ended.err.count("trying again") == 1


def test_a_server_that_stays_away_ends_the_waiting(
    server: Any, stub: Any, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factflow_cli.waiting.RETRY_SECONDS", 0.0)
    monkeypatch.setattr("factflow_cli.waiting.PATIENCE_SECONDS", 0.0)
    answers = iter([_running(stub)])
    server.answers[f"POST /executions/{stub.RUN}/wait"] = lambda _: next(answers, ...)
    assert factflow("execution", "wait", stub.RUN).code == 5


def test_an_unknown_execution_is_not_waited_for(server: Any, stub: Any, factflow: Run) -> None:
    assert factflow("execution", "wait", "nobody").code == 6


@pytest.mark.parametrize("answer", [{}, {"completed": True, "status": "exploded"}, {"status": 5}])
def test_a_wait_answer_that_makes_no_sense_is_an_error(
    answer: Any, server: Any, stub: Any, factflow: Run
) -> None:
    server.answers[f"POST /executions/{stub.RUN}/wait"] = answer
    ended = factflow("execution", "wait", stub.RUN)
    assert ended.code == 8
    assert "Traceback" not in ended.err


def test_ctrl_c_leaves_the_execution_running_and_says_so(
    server: Any, stub: Any, on_terminal: Callable[..., Any]
) -> None:
    asked, over = threading.Event(), threading.Event()

    def hold(_: Any) -> Any:
        asked.set()
        over.wait(30)
        return _running(stub)

    server.answers[f"POST /executions/{stub.RUN}/wait"] = hold
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

    def hold(_: Any) -> Any:
        if watched.wait(30):
            return stub.ended(stub.RUN, "completed")
        return _running(stub)

    server.answers[f"POST /executions/{stub.RUN}/wait"] = hold
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
    server.answers[f"POST /executions/{stub.RUN}/wait"] = stub.ended(stub.RUN, "failed")
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
