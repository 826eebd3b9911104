"""`factflow run FILE` and `factflow serve`: with a server that is there, and with one of our own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def pipeline(tmp_path: Path) -> str:
    (tmp_path / "p.yaml").write_text("name: x\n")
    return "p.yaml"


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_server_that_answers_is_used(
    pipeline: str, server: Any, stub: Any, factflow: Run, tmp_path: Path
) -> None:
    ended = factflow("run", pipeline, "--init", "depth=2", "--tag", "t")
    assert ended.code == 0
    assert ended.json["execution_id"] == stub.RUN
    run = server.last("POST", f"/configs/{stub.CONFIG}/run")
    assert (run.body, run.query) == ({"depth": 2}, {"tag": "t", "loaded_code": "false"})
    assert not (tmp_path / ".factflow").exists()


def test_an_invalid_file_runs_nothing(
    server: Any, stub: Any, factflow: Run, tmp_path: Path
) -> None:
    (tmp_path / "bad.yaml").write_text("type: web_scrapper\n")
    ended = factflow("run", "bad.yaml")
    assert (ended.code, ended.out) == (1, b"")
    assert "bad.yaml:7  E103" in ended.err
    assert [a.path for a in server.asked] == ["/system/health", "/configs/validate"]


def test_a_chosen_server_that_is_away_is_not_replaced(
    pipeline: str, factflow: Run, tmp_path: Path
) -> None:
    assert factflow("run", pipeline).code == 5
    assert not (tmp_path / ".factflow").exists()


def test_without_a_server_a_private_one_runs_it_and_is_gone_afterwards(
    pipeline: str, with_stand_in: Path, stub: Any, factflow: Run, tmp_path: Path
) -> None:
    ended = factflow("run", pipeline, "--output", "table")
    assert ended.code == 0
    assert stub.RUN in ended.text
    assert "starting a private one on ./.factflow" in ended.err
    assert "  factflow serve\n" in ended.err, "the next commands need a server again"
    pid = int((tmp_path / ".factflow" / "serving").read_text())
    assert f"(pid {pid})" in ended.err
    assert _is_gone(pid)
    assert "/configs" in json.loads((tmp_path / ".factflow" / "stopped").read_text())


def test_a_failed_execution_on_a_private_server_fails_the_command(
    pipeline: str, with_stand_in: Path, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN_STATUS", "failed")
    ended = factflow("run", pipeline)
    assert ended.code == 1
    assert ended.json["status"] == "failed"


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("refuse", "belongs to server 4711"),
        ("locked", "belongs to server 4711"),
        ("silent", "nothing"),
    ],
)
def test_a_private_server_that_cannot_start_says_why(
    mode: str,
    said: str,
    pipeline: str,
    with_stand_in: Path,
    factflow: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STAND_IN", mode)
    ended = factflow("run", pipeline)
    assert (ended.code, ended.out) == (5, b"")
    assert "could not start" in ended.err
    assert said in ended.err


def test_a_private_server_that_dies_meanwhile_ends_the_command(
    pipeline: str, with_stand_in: Path, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "die")
    ended = factflow("run", pipeline)
    assert (ended.code, ended.out) == (5, b"")
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_private_server_too(
    number: signal.Signals,
    code: int,
    pipeline: str,
    with_stand_in: Path,
    on_terminal: Run,
    tmp_path: Path,
) -> None:
    screen = on_terminal("run", pipeline, STAND_IN="forever")
    screen.read_until("2 failed")
    os.kill(screen.process.pid, number)
    ended, shown = screen.finish()
    if "starting a private one" not in shown:
        pytest.skip("a server answers at the default address of this machine")
    assert ended == code
    if number == signal.SIGINT:
        assert "it goes on with: factflow serve" in shown
    assert _is_gone(int((tmp_path / ".factflow" / "serving").read_text()))
    assert (tmp_path / ".factflow" / "stopped").exists(), "it was asked to stop, not killed"
    assert "Traceback" not in shown


def test_serve_becomes_the_server_with_the_options_given(with_stand_in: Path, program: Run) -> None:
    done = program(
        "{} serve --port 0 --data-dir d --adapters a --adapters b --durability fsync "
        "--allow-private-networks --max-concurrent-executions 3 --embedded",
        STAND_IN="echo",
    )
    assert done.returncode == 0
    assert json.loads(done.stdout) == [
        *["serve", "--data-dir", "d", "--port", "0", "--durability", "fsync"],
        *["--max-concurrent-executions", "3", "--adapters", "a", "--adapters", "b"],
        *["--embedded", "--allow-private-networks"],
    ]


def test_worker_becomes_a_worker_with_the_options_given(with_stand_in: Path, program: Run) -> None:
    done = program("{} worker --routes a --routes b --concurrency 3", STAND_IN="echo")
    assert done.returncode == 0
    assert json.loads(done.stdout) == [
        *["worker", "--concurrency", "3", "--routes", "a", "--routes", "b"],
    ]


def test_serve_is_the_same_process(with_stand_in: Path, tmp_path: Path) -> None:
    """Signals reach the server directly, because no process stands between."""
    program = Path(sys.executable).parent / "factflow"
    with subprocess.Popen(
        [program, "serve", "--data-dir", "d"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Factflow listening on http://127.0.0.1:")
        assert int((tmp_path / "d" / "serving").read_text()) == process.pid
        process.terminate()
        assert process.wait(30) == 0
