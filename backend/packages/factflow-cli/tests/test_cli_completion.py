"""What the shell offers at the Tab key, in bash, zsh and fish."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

Shell = Callable[..., Any]


@pytest.fixture
def completed(factflow: Shell, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what the program offers a shell for a line, its last word not yet ended."""

    def complete(line: str, shell: str = "bash") -> str:
        with monkeypatch.context() as changed:
            changed.setenv("_FACTFLOW_COMPLETE", f"complete_{shell}")
            changed.setenv("COMP_WORDS", line)
            changed.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
            changed.setenv("_TYPER_COMPLETE_ARGS", line)
            changed.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
            ended = factflow()
        assert ended.err == ""
        return str(ended.text)

    return complete


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_the_shell_is_shown(shell: str, program: Shell) -> None:
    """A person's own shell is found by the program; here it is named."""
    done = program(
        f"{{}} --show-completion {shell}", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1"
    )
    assert done.returncode == 0
    assert f"_FACTFLOW_COMPLETE=complete_{shell}".encode() in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_are_completed(shell: str, completed: Callable[..., str]) -> None:
    offered = completed("factflow exe", shell)
    assert "execution" in offered
    assert "storage" not in offered


def test_ids_and_tags_of_executions_are_completed(
    server: Any, stub: Any, completed: Callable[..., str]
) -> None:
    rows = [{"execution_id": stub.RUN, "tag": "monday"}, {"execution_id": "x", "tag": "a\x1b[2J"}]
    server.answers["GET /executions"] = {"executions": rows}
    assert completed("factflow execution get mo") == "monday\n"
    assert completed("factflow execution wait ").split() == ["monday", stub.RUN, "x"]
    assert completed("factflow lineage list --execution mo") == "monday\n"
    assert server.last("GET", "/executions").query == {"limit": "200"}


def test_configs_routes_and_adapters_are_completed(
    server: Any, stub: Any, completed: Callable[..., str]
) -> None:
    assert stub.CONFIG in completed("factflow config run ")
    server.answers["GET /pipelines"] = {"routes": [{"route_id": "embed"}, {"route_id": "crawl"}]}
    assert completed("factflow pipeline pause em") == "embed\n"
    assert completed("factflow adapters show web_s") == "web_scraper\n"


def test_the_server_of_the_line_is_asked(
    server: Any, stub: Any, completed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTFLOW_SERVER_URL", "http://127.0.0.1:9")
    assert stub.CONFIG in completed(f"factflow --server {server.url} config get ")


@pytest.mark.parametrize(
    "answer", [(500, {"detail": "no"}), b"<html>", ..., {"executions": "none"}, (401, b"")]
)
def test_trouble_offers_nothing_and_says_nothing(
    answer: Any, server: Any, completed: Callable[..., str]
) -> None:
    server.answers["GET /executions"] = answer
    assert completed("factflow execution get ").strip() == ""


def test_a_server_that_does_not_answer_is_left_soon(
    completed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes the connection and says nothing."""
    monkeypatch.setattr("factflow_cli.completion.SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("FACTFLOW_SERVER_URL", f"http://127.0.0.1:{port}")
        assert completed("factflow execution get ").strip() == ""
        monkeypatch.setenv("FACTFLOW_SERVER_URL", "no-url")
        assert completed("factflow execution get ").strip() == ""
