"""`factflow selftest`: what is asked of the self-test, and what becomes of its figures."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("with_stand_in")

Run = Callable[..., Any]


def test_a_proof_that_holds_ends_with_0_and_prints_its_figures(factflow: Run) -> None:
    ended = factflow("selftest", "chaos", "--kills", "3")
    assert ended.code == 0
    assert ended.json["holds"] is True
    assert (ended.json["kills"], ended.json["lost"]) == (3, 0)


def test_what_is_asked_for_is_passed_on(factflow: Run) -> None:
    options = ["--kills", "5", "--seconds", "9.5", "--messages", "8", "--seed", "7", "--keep"]
    asked = factflow("selftest", "chaos", *options).json["arguments"]
    assert asked[0] == "chaos"
    assert sorted(asked[1:]) == sorted(options)
    assert "--seed" not in factflow("selftest", "chaos").json["arguments"]


def test_a_proof_that_does_not_hold_ends_with_1_and_says_why(
    factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "wrong")
    assert factflow("selftest", "chaos").code == 1
    shown = factflow("selftest", "chaos", "--output", "table")
    assert shown.code == 1
    assert re.search(r"^lost +1 ", shown.text, re.MULTILINE)
    assert "it does not hold" in shown.text
    assert "- message m1, announced by _init, has 0 final records" in shown.text


@pytest.mark.parametrize(
    ("mode", "said"), [("error", "ended by itself with code 2"), ("silent", "it said nothing")]
)
def test_a_proof_that_could_not_be_made_is_an_error(
    factflow: Run, monkeypatch: pytest.MonkeyPatch, mode: str, said: str
) -> None:
    monkeypatch.setenv("STAND_IN", mode)
    ended = factflow("selftest", "chaos")
    assert (ended.code, ended.out) == (8, b"")
    assert said in ended.err
    assert "hint: " in ended.err


def test_a_timeout_ends_it_in_order(
    factflow: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("STAND_IN", "forever")
    ended = factflow("selftest", "chaos", "--timeout", "3s")
    assert (ended.code, ended.out) == (4, b"")
    assert (tmp_path / "stopped").exists()


def test_a_pipe_is_told_of_the_progress_now_and_then(factflow: Run) -> None:
    ended = factflow("selftest", "chaos", "--kills", "25")
    assert ended.err.splitlines() == ["10 of 25 kills", "20 of 25 kills"]


def test_a_person_sees_a_bar_and_then_the_table(on_terminal: Run, seen: Run) -> None:
    code, shown = on_terminal("selftest", "chaos", "--kills", "4").finish()
    lines = seen(shown)
    assert code == 0
    assert "4/4" in shown
    assert any(line.startswith("FIGURE") for line in lines)
    assert any(line.startswith("result") and "nothing lost" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_ctrl_c_ends_it_in_order(on_terminal: Run, tmp_path: Path) -> None:
    screen = on_terminal("selftest", "chaos", "--kills", "2", STAND_IN="forever")
    screen.read_until("2/2")
    screen.process.send_signal(signal.SIGINT)
    code, _ = screen.finish()
    assert code == 130
    assert (tmp_path / "stopped").exists()
