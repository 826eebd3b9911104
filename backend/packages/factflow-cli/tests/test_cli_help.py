"""Help, version, usage errors: what is answered without a server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

COMMANDS = [
    *["run", "serve", "worker", "why", "adapters list", "adapters show"],
    *[f"config {name}" for name in ["validate", "create", "list", "get", "edit", "delete", "run"]],
    *[
        f"execution {name}"
        for name in [
            "list",
            "get",
            "wait",
            "cancel",
            "dag",
            "monitor",
            "stats",
            "routes",
            "replay",
            "tree",
            "diff",
            "delete",
        ]
    ],
    *[f"pipeline {name}" for name in ["list", "metrics", "pause", "resume"]],
    "selftest chaos",
    *[
        f"storage {name}"
        for name in ["list", "browse", "get", "metadata", "watch", "export", "download"]
    ],
    *[f"system {name}" for name in ["health", "metrics", "mq-diagnostic", "storage", "workers"]],
    *[
        f"lineage {name}"
        for name in ["list", "get", "chain", "batch", "children", "failures", "stats", "audit"]
    ],
]


def _declared() -> Iterator[str]:
    from factflow_cli.app import app

    yield from (str(found.name) for found in app.registered_commands)
    for group in app.registered_groups:
        assert isinstance(group.typer_instance, typer.Typer)
        for found in group.typer_instance.registered_commands:
            yield f"{group.name} {found.name}"


def test_every_command_is_listed_here() -> None:
    assert sorted(_declared()) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_of_the_command_and_fits_80_columns(
    command: str, factflow: Callable[..., Any]
) -> None:
    shown = factflow(*command.split(), "--help")
    assert shown.code == 0
    _, _, examples = shown.text.partition("Example")
    assert f"factflow {command}" in examples or f"--timeout 1h {command}" in examples
    assert "--output" in shown.text
    assert max(len(line) for line in shown.text.splitlines()) <= 80


@pytest.mark.parametrize("line", [[], ["config"], ["execution"], ["--help"], ["-h"]])
def test_a_group_alone_prints_its_help(line: list[str], factflow: Callable[..., Any]) -> None:
    shown = factflow(*line)
    assert shown.code == 0
    assert shown.text.startswith("Usage: factflow")


def test_version_is_printed(factflow: Callable[..., Any]) -> None:
    assert factflow("--version").text == "factflow 0.1.0\n"


def test_help_loads_neither_http_client_nor_rich() -> None:
    """Start-up stays short because heavy modules are loaded by the commands that need them."""
    script = (
        "import sys\n"
        "from factflow_cli.app import main\n"
        "sys.argv = ['factflow', '--help']\n"
        "try:\n    main()\n"
        "finally:\n"
        "    heavy = {m.split('.')[0] for m in sys.modules} & {'httpx2', 'rich', 'asyncio', 'pydantic'}\n"
        "    print('heavy:', sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr == "heavy: []\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["execution", "wiat", "x"], "wait"),
        (["execution", "get"], "EXECUTION_ID"),
        (["execution", "list", "--limit", "0"], "--limit"),
        (["execution", "list", "--status", "done"], "no status 'done'"),
        (["execution", "list", "--outptu", "json"], "--output"),
        (["execution", "list", "--output", "xml"], "xml"),
        (["--timeout", "soon", "execution", "wait", "x"], "not a duration"),
        (["--server", "localhost:8000", "system", "health"], "not an http"),
        (["--server", "http://[bad", "system", "health"], "not a URL"),
        (["--server", "http://u:secret@", "system", "health"], "not an http"),
        (["execution", "get", ""], "empty"),
        (["storage", "get", ""], "empty"),
        (["storage", "list"], "--execution"),
        (["storage", "watch"], "--execution"),
        (["config", "list", "--active", "--all"], "exclude each other"),
        (["config", "run", "x", "--init", "url"], "no '='"),
        (["config", "create", "-f", "missing.yaml"], "missing.yaml"),
        (["config", "validate", "missing"], "does not exist"),
        (["run", "."], "cannot read ."),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_says_what_to_do(
    line: list[str], said: str, factflow: Callable[..., Any]
) -> None:
    ended = factflow(*line)
    error, hint = ended.err.splitlines()
    assert (ended.code, ended.out) == (2, b"")
    assert error.startswith("error: ")
    assert said in error
    assert hint.startswith("hint: ")
    assert "secret" not in ended.err


def test_a_file_that_is_no_text_is_named_with_the_place(
    tmp_path: Path, factflow: Callable[..., Any]
) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"name: \xff")
    (tmp_path / "empty.yaml").write_bytes(b" \n")
    assert (
        "bad.yaml is not UTF-8 text: byte 6" in factflow("config", "create", "-f", "bad.yaml").err
    )
    assert "empty.yaml is empty" in factflow("config", "create", "-f", "empty.yaml").err
