"""Pipeline YAML on its way in: read from files, folders or stdin, checked by whoever can."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factflow_cli import terminal
from factflow_cli.api import Api
from factflow_cli.errors import CliError, unexpected_answer
from factflow_cli.exit_codes import ExitCode
from factflow_cli.private_server import server_command

SUFFIXES = {".yaml", ".yml"}
LOCAL_SECONDS = 120.0


def read_config(name: str) -> str:
    """Return the text of a file, or of stdin for `-`; raise `CliError` when it cannot be read."""
    source = "stdin" if name == "-" else name
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise CliError(
            f"cannot read {source}: {error.strerror or error}", hint="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise CliError(
            f"{source} is not UTF-8 text: byte {error.start} cannot be read",
            hint="save it as UTF-8",
        ) from error
    if not text.strip():
        raise CliError(f"{source} is empty", hint="give a pipeline YAML file")
    return text


def config_files(name: str) -> list[Path]:
    """Return the file, or every `*.yaml` and `*.yml` below the folder, in order of their names.

    Folders and files whose name starts with a dot are passed over.
    """
    target = Path(name)
    if not target.exists():
        raise CliError(f"{name} does not exist", hint="check the path")
    if not target.is_dir():
        return [target]
    found = sorted(
        file
        for file in target.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(target).parts)
    )
    if not found:
        raise CliError(f"no *.yaml or *.yml below {name}", hint="give a pipeline YAML file")
    return found


def check_by_server(api: Api, config_yaml: str, source: str) -> dict[str, Any]:
    """Return the server's verdict on one config, with its `source`."""
    report = api.post("/configs/validate", {"config_yaml": config_yaml, "source": source})
    return checked_report({"source": source, **report})


def check_files(
    api: Api, files: Sequence[Path], adapters: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Return one verdict for each file: the server's, or ours when no server answers.

    `adapters` are modules to load in the second case; a server has its own.
    """
    sources = [str(file) for file in files]
    texts = [read_config(source) for source in sources]
    try:
        return [check_by_server(api, *pair) for pair in zip(texts, sources, strict=True)]
    except CliError as error:
        if error.code != "server_unreachable":
            raise
    terminal.say("no server answers; checking with the adapters installed here")
    return _check_here(sources, adapters)


def _check_here(sources: Sequence[str], adapters: Sequence[str]) -> list[dict[str, Any]]:
    """Have the server module check the files without a server; it answers in their order."""
    modules = ["--adapters", *adapters] if adapters else []
    command = server_command("validate", "--output", "json", *modules, "--", *sources)
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module, no shell
            command,
            capture_output=True,
            check=False,
            timeout=LOCAL_SECONDS,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise CliError(
            f"checking took longer than {LOCAL_SECONDS:g}s",
            hint="start a server and try again: factflow serve",
            exit_code=ExitCode.TIMEOUT,
        ) from error
    try:
        pairs = zip(sources, json.loads(done.stdout)["files"], strict=True)
        return [checked_report({**report, "source": source}) for source, report in pairs]
    except (ValueError, KeyError, TypeError) as error:
        said = [line for line in done.stderr.splitlines() if line.startswith("factflow: error:")]
        last = (said or done.stderr.splitlines() or ["it said nothing"])[-1]
        raise CliError(
            f"cannot check without a server: {last.removeprefix('factflow: error:').strip()}",
            hint="start one and try again: factflow serve",
            exit_code=ExitCode.USAGE if done.returncode == 2 else ExitCode.UNREACHABLE,
        ) from error


def checked_report(report: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict unchanged, or raise `CliError` when it is not shaped like one."""
    issues = report.get("issues")
    if not isinstance(report.get("is_valid"), bool) or not isinstance(issues, list):
        raise unexpected_answer("a validation report without is_valid and issues")
    if not all(isinstance(issue, dict) for issue in issues):
        raise unexpected_answer("issues that are no objects")
    return report
