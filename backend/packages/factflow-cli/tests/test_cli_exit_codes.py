"""Exit codes: what scripts and CI rely on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factflow_cli.exit_codes import ExitCode

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "exit-codes.md"


def test_the_reference_page_lists_every_code_and_no_other() -> None:
    listed = re.findall(r"^\| `(\d+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(map(int, listed)) == sorted(ExitCode)


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 3), ("interrupted", 9)]
)
def test_wait_ends_as_the_execution_did(
    status: str, code: int, server: Any, stub: Any, factflow: Callable[..., Any]
) -> None:
    server.answers[f"GET /executions/{stub.RUN}/events"] = stub.events(status)
    server.answers[f"GET /executions/{stub.RUN}"] = stub.execution(status)
    ended = factflow("execution", "wait", stub.RUN)
    assert ended.code == code
    assert ended.json["status"] == status
    assert ended.err == ""


@pytest.mark.parametrize(
    ("status", "error_code", "code"),
    [
        (400, "config_invalid", 7),
        (404, "execution_not_found", 6),
        (409, "execution_state", 7),
        (413, "body_too_large", 7),
        (422, "invalid_request", 7),
        (429, "too_many_executions", 7),
        (500, "internal_error", 8),
        (503, "storage_unavailable", 8),
    ],
)
def test_an_error_answer_becomes_one_line_a_hint_and_a_code(
    status: int, error_code: str, code: int, server: Any, stub: Any, factflow: Callable[..., Any]
) -> None:
    server.answers["GET /executions"] = stub.error(
        status, error_code, "too\nbad \x1b[2J", "try this"
    )
    ended = factflow("execution", "list")
    assert (ended.code, ended.out) == (code, b"")
    error, hint = ended.err.splitlines()
    assert error.startswith("error: too bad \\x1b[2J")
    assert ("correlation id c0ffee" in error) == (status >= 500)
    assert hint == "hint: try this"


def test_findings_of_the_server_are_printed_with_the_error(
    server: Any, stub: Any, factflow: Callable[..., Any]
) -> None:
    server.answers[f"POST /configs/{stub.CONFIG}/run"] = stub.error(
        422, "config_invalid", "the config has 1 error", issues=[stub.ISSUE]
    )
    ended = factflow("config", "run", stub.CONFIG)
    assert ended.code == 7
    assert ended.err.splitlines()[1].strip() == (
        "7  E103  routes.sitemap_scraper.adapters[0].type  unknown adapter type 'web_scrapper'"
        " (did you mean 'web_scraper'?)"
    )


def test_field_errors_in_a_list_are_spelled_out(server: Any, factflow: Callable[..., Any]) -> None:
    detail = [{"loc": ["query", "limit"], "msg": "too large"}, {"loc": [], "msg": "and more"}]
    server.answers["GET /executions"] = (422, {"detail": detail})
    assert factflow("execution", "list").err.startswith("error: query.limit: too large; and more")


def test_no_server_says_where_it_looked_and_how_to_start_one(factflow: Callable[..., Any]) -> None:
    ended = factflow("execution", "list")
    assert ended.code == 5
    assert "http://127.0.0.1:9" in ended.err
    assert "factflow serve" in ended.err


def test_a_password_in_the_address_is_never_shown(factflow: Callable[..., Any]) -> None:
    ended = factflow("--server", "http://me:hunter2@127.0.0.1:9", "system", "health")
    assert ended.code == 5
    assert "hunter2" not in ended.err


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>hello</html>",
        (404, b"<html>nothing here</html>"),
        (502, b"bad gateway"),
        (302, b""),
        [1, 2],
        {},
        {"executions": "none"},
        {"executions": [1]},
        (500, {"error": "?"}),
    ],
)
def test_a_stranger_on_the_port_is_an_error_and_no_stack_trace(
    answer: Any, server: Any, factflow: Callable[..., Any]
) -> None:
    server.answers["GET /executions"] = answer
    ended = factflow("execution", "list")
    assert (ended.code, ended.out) == (8, b"")
    assert ended.err.startswith("error: ")
    assert "Traceback" not in ended.err


def test_an_answer_that_breaks_off_is_an_unreachable_server(
    server: Any, factflow: Callable[..., Any]
) -> None:
    server.answers["GET /executions"] = ...
    ended = factflow("execution", "list")
    assert ended.code == 5
    assert "broke off" in ended.err


def test_an_answer_that_does_not_come_is_a_timeout(
    server: Any, factflow: Callable[..., Any]
) -> None:
    import threading

    over = threading.Event()
    server.answers["GET /executions"] = lambda _: over.wait(30)
    try:
        ended = factflow("execution", "list", "--timeout", "200ms")
    finally:
        over.set()
    assert ended.code == 4
    assert "--timeout" in ended.err


@pytest.mark.parametrize(("status", "code"), [("healthy", 0), ("degraded", 11), ("unhealthy", 8)])
def test_a_server_that_is_not_well_fails_the_health_check(
    status: str, code: int, server: Any, factflow: Callable[..., Any]
) -> None:
    server.answers["GET /system/health"]["status"] = status
    assert factflow("system", "health").code == code


def test_an_id_of_any_characters_stays_one_path_segment(
    server: Any, factflow: Callable[..., Any]
) -> None:
    assert factflow("execution", "get", "../configs?x=1#y z").code == 6
    assert server.asked[-1].raw_path == "/executions/..%2Fconfigs%3Fx%3D1%23y%20z"
    assert factflow("storage", "get", "../../executions").code == 6
    assert server.asked[-1].raw_path == "/storage/objects/%2E%2E/%2E%2E/executions"
    assert factflow("lineage", "get", "..").code == 6
    assert server.asked[-1].raw_path == "/lineage/%2E%2E"


def test_a_result_that_cannot_be_written_is_told_apart_from_a_failure(
    server: Any, stub: Any, program: Callable[..., Any]
) -> None:
    """What was asked for is done, so a script must not take it for a refusal."""
    for line in (f"config run {stub.CONFIG} > /dev/full", "--help > /dev/full", "--version >&-"):
        done = program(f"{{}} {line}")
        assert done.returncode == ExitCode.NOT_WRITTEN, line
        error, hint = done.stderr.decode().splitlines()
        assert error.startswith("error: the result could not be written: ")
        assert hint.startswith("hint: ")
    assert server.last("POST", f"/configs/{stub.CONFIG}/run")


def test_a_server_without_tls_is_no_missing_server(
    server: Any, factflow: Callable[..., Any]
) -> None:
    """So `config validate` and `run` do not go on without the server that was named."""
    ended = factflow("--server", server.url.replace("http", "https"), "execution", "list")
    assert (ended.code, ended.out) == (5, b"")
    assert ended.err.startswith("error: no TLS with https://")
    assert f"--server {server.url}" in ended.err


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"", b"{", b"[" * 100_000, b"\xff\xfe"])
@pytest.mark.parametrize(("status", "code"), [(200, 8), (401, 8), (403, 8), (504, 8)])
def test_what_a_proxy_answers_is_one_sentence(
    body: bytes, status: int, code: int, server: Any, factflow: Callable[..., Any]
) -> None:
    server.answers["GET /executions"] = (status, body)
    ended = factflow("execution", "list")
    assert (ended.code, ended.out) == (code, b"")
    error, hint = ended.err.splitlines()
    assert (error[:7], hint[:6]) == ("error: ", "hint: ")
    assert "sign in" not in error


def test_an_export_leaves_what_is_no_folder_alone(
    server: Any, tmp_path: Path, factflow: Callable[..., Any]
) -> None:
    (tmp_path / "taken").write_text("mine")
    ended = factflow("storage", "export", "--output-dir", "taken")
    assert (ended.code, ended.out) == (2, b"")
    assert (tmp_path / "taken").read_text() == "mine"
