"""Pipes and terminals: who reads decides what is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Shell = Callable[..., Any]


def test_a_run_can_be_piped_into_a_wait(server: Any, stub: Any, program: Shell) -> None:
    """The documented line, with python in the place of jq where jq is not installed."""
    pick = "python3 -c 'import json,sys; print(json.load(sys.stdin)[\"execution_id\"])'"
    done = program(f"{{}} config run {stub.CONFIG} | {pick} | xargs {{}} execution wait")
    assert done.returncode == 0
    assert json.loads(done.stdout)["status"] == "completed"
    assert done.stderr == b""


def test_a_reader_that_leaves_early_is_no_error(server: Any, stub: Any, program: Shell) -> None:
    rows = [stub.row(stub.ROW, "sitemap_parser") for _ in range(3000)]
    server.answers["GET /lineage"] = stub.page("entries", rows)
    done = program(f"{{}} lineage list --execution {stub.RUN} | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"{\n", b"")
    for line in (f"storage get {stub.KEY}", "execution list", "--version"):
        done = program(f"{{}} {line} | true")
        assert (done.returncode, done.stderr) == (0, b""), line


def test_the_exit_code_stands_although_nobody_reads_the_result(
    server: Any, stub: Any, program: Shell
) -> None:
    server.answers[f"GET /executions/{stub.RUN}/events"] = stub.events("failed")
    server.answers[f"GET /executions/{stub.RUN}"] = stub.execution("failed")
    assert program(f"{{}} execution wait {stub.RUN} | true").returncode == 1


def test_a_locale_without_unicode_still_gives_utf_8(server: Any, stub: Any, program: Shell) -> None:
    done = program(
        f"{{}} config get {stub.CONFIG}", LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0"
    )
    assert "ünïcode" in json.loads(done.stdout)["config_yaml"]


def test_an_argument_that_is_no_text_is_refused(server: Any, program: Shell) -> None:
    done = program(r"{} execution get $'\xff'")
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")


def test_stdin_can_be_the_config(server: Any, program: Shell) -> None:
    done = program("printf 'name: piped\\n' | {} config create -f -")
    assert done.returncode == 0
    assert server.last("POST", "/configs").body == {
        "config_yaml": "name: piped\n",
        "source_type": "api",
    }


@pytest.mark.parametrize(
    "line",
    [
        "config list",
        "execution list",
        "execution get RUN",
        "storage list --execution RUN",
        "lineage list --execution RUN",
        "lineage get CHILD_ROW",
        "lineage chain ROW",
        "lineage failures",
        "lineage stats --execution RUN",
        "execution stats RUN",
        "adapters show web_scraper",
        "system health --debug",
    ],
)
def test_a_terminal_gets_a_table_of_at_most_80_columns(
    line: str, server: Any, stub: Any, on_terminal: Shell, seen: Callable[[str], list[str]]
) -> None:
    words = [getattr(stub, word, word) if word.isupper() else word for word in line.split()]
    code, shown = on_terminal(*words).finish()
    assert code == 0
    lines = seen(shown)
    assert not shown.lstrip().startswith("{")
    assert [text for text in lines if len(text) > 80 and not text.startswith("next: ")] == []
    assert "\u202e" not in shown
    assert "\x1b[31mtitle" not in shown


def test_status_is_coloured_on_a_terminal_unless_colours_are_refused(
    server: Any, stub: Any, on_terminal: Shell
) -> None:
    assert "\x1b[32mcompleted" in on_terminal("execution", "get", stub.RUN).finish()[1]
    assert "\x1b" not in on_terminal("execution", "get", stub.RUN, NO_COLOR="1").finish()[
        1
    ].replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_text_is_shown_on_a_terminal_with_its_escapes_spelled_out(
    server: Any, stub: Any, on_terminal: Shell
) -> None:
    code, shown = on_terminal("storage", "get", stub.KEY).finish()
    assert code == 0
    assert shown == "<h1>Guten Tag</h1>\n<p>\\x1b[2Jcleared?</p>\n"


def test_binary_is_kept_from_a_terminal(server: Any, stub: Any, on_terminal: Shell) -> None:
    code, shown = on_terminal("storage", "get", stub.BINARY_KEY).finish()
    assert code == 2
    assert "is binary" in shown
    assert "> FILE" in shown


def test_json_on_a_terminal_when_asked_for(server: Any, stub: Any, on_terminal: Shell) -> None:
    _, shown = on_terminal("lineage", "get", stub.ROW, "--output", "json").finish()
    assert json.loads(shown)["id"] == stub.ROW


def test_findings_are_wrapped_on_a_terminal(
    server: Any, tmp_path: Path, on_terminal: Shell, seen: Callable[[str], list[str]]
) -> None:
    (tmp_path / "bad.yaml").write_text("type: web_scrapper\n")
    code, shown = on_terminal("config", "validate", "bad.yaml").finish()
    assert code == 1
    lines = seen(shown)
    assert lines[0].startswith("bad.yaml:7  E103  ")
    assert lines[1].startswith("    ")
    assert max(len(line) for line in lines) <= 80
