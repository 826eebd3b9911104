"""Ids, filters and addresses that lead nowhere: a sentence, and an exit code that tells which kind."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from factflow_testing.server_process import Finished, ServerProcess, cli
from factflow_testing.site_process import Page, served_pages

Typed = Callable[..., Finished]
UNKNOWN = "01890000-0000-7000-8000-000000000000"
TAKING_AN_ID = [
    ("config", "get", UNKNOWN),
    ("config", "edit", UNKNOWN, "-f", "-"),
    ("config", "delete", UNKNOWN),
    ("config", "run", UNKNOWN),
    ("execution", "get", UNKNOWN),
    ("execution", "wait", UNKNOWN),
    ("execution", "cancel", UNKNOWN),
    ("execution", "dag", UNKNOWN),
    ("execution", "stats", UNKNOWN),
    ("execution", "routes", UNKNOWN),
    ("execution", "replay", UNKNOWN, "--from-stage", "any"),
    ("storage", "list", "--execution", UNKNOWN),
    ("storage", "get", f"executions/{UNKNOWN}/a/b/c.json"),
    ("storage", "metadata", f"executions/{UNKNOWN}/a/b/c"),
    ("lineage", "get", UNKNOWN),
    ("lineage", "chain", UNKNOWN),
    ("lineage", "children", UNKNOWN),
    ("lineage", "stats", "--execution", UNKNOWN),
    ("lineage", "list", "--execution", UNKNOWN),
    ("lineage", "failures", "--execution", UNKNOWN),
]
PIPELINE = """
version: "1.0"
init_message: {route: first, payload: {n: 1}}
routes:
  first:
    inbound: {queue: first}
    adapters: [{type: increment}]
    outbound: second
  second:
    inbound: {queue: second}
    adapters: [{type: echo}, {type: increment}]
"""


@pytest.mark.parametrize("command", TAKING_AN_ID, ids=" ".join)
def test_an_unknown_id_is_not_found(
    strict_server: ServerProcess, typed: Typed, command: tuple[str, ...]
) -> None:
    finished = typed(strict_server, *command, stdin=PIPELINE)
    assert UNKNOWN in finished.refused(6)
    assert "hint: " in finished.err


def test_an_adapter_that_is_not_there_is_not_found_and_the_nearest_is_named(
    strict_server: ServerProcess,
    typed: Typed,
) -> None:
    assert "'web_scraper'" in typed(strict_server, "adapters", "show", "web_scrapper").refused(6)


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (("execution", "list", "--status", "done"), 2, "completed"),
        (("execution", "list", "--limit", "-1"), 2, "hint: factflow execution list --help"),
        (("lineage", "list", "--status", "done"), 7, "completed"),
        (("lineage", "list", "--after", "yesterday"), 7, "started_after"),
        (("--timeout", "soon", "execution", "wait", UNKNOWN), 2, "soon"),
        (("--server", "ftp://localhost", "execution", "list"), 2, "ftp://localhost"),
        (("execution", "get", ""), 2, "empty"),
        (("execution", "gte", UNKNOWN), 2, "gte"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_value_that_cannot_be_is_refused_and_what_can_be_is_said(
    strict_server: ServerProcess, typed: Typed, command: tuple[str, ...], code: int, said: str
) -> None:
    finished = typed(strict_server, *command)
    assert said in finished.refused(code)
    assert "hint: " in finished.err


@pytest.fixture(scope="module")
def source(strict_server: ServerProcess) -> str:
    """An execution that completed."""
    execution = strict_server.run(strict_server.create(PIPELINE))
    assert strict_server.end_of(execution)["status"] == "completed"
    return execution


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--from-stage", "incremnt"), "stage_not_found", "second/echo"),
        (("--from-stage", "first/echo"), "stage_not_found", "second/echo"),
        (("--from-stage", "increment"), "stage_ambiguous", "first/increment, second/increment"),
        (("--from-stage", "echo", "--to-route", "third"), "route_not_found", "first, second"),
    ],
    ids=["stage", "route/stage", "ambiguous", "route"],
)
def test_a_replay_from_nowhere_or_to_nowhere_lists_what_there_is(
    strict_server: ServerProcess,
    typed: Typed,
    source: str,
    options: tuple[str, ...],
    code: str,
    said: str,
) -> None:
    before = strict_server.get("/executions")["total"], strict_server.manifest()
    err = typed(strict_server, "execution", "replay", source, *options).refused(7)
    assert said in err
    names = ("from_stage", "to_route")
    body = dict(zip(names, options[1::2], strict=False))
    answer = strict_server.api.post(f"/executions/{source}/replay", json=body)
    assert answer.json()["error_code"] == code
    assert (strict_server.get("/executions")["total"], strict_server.manifest()) == before


@pytest.mark.parametrize(
    "command",
    [
        ("execution", "wait", UNKNOWN),
        ("config", "create", "-f", "-"),
        ("run", "-"),
        ("storage", "get", "executions/a/b"),
    ],
    ids=" ".join,
)
def test_a_server_that_does_not_answer_is_named_with_how_to_start_one(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: nothing answers there
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        err = cli(*command, server=url, cwd=tmp_path, stdin=PIPELINE).refused(5)
    assert url in err
    assert "factflow serve" in err
    assert not list(tmp_path.iterdir())


def test_a_server_of_another_kind_is_recognised(tmp_path: Path) -> None:
    with served_pages({"/api/v1/executions": Page(b"<h1>Welcome</h1>")}) as url:
        assert "Factflow" in cli("execution", "list", server=url, cwd=tmp_path).refused(8)
