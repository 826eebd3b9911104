"""The command line, run in this process or as a program, against a stub of the API."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer.main

STAND_IN = Path(__file__).parent / "stand_in"
PROGRAM = Path(sys.executable).parent / "factflow"
NO_SERVER = "http://127.0.0.1:9"
tree_of = functools.cache(typer.main.get_command)
"""What a process makes of the program once; here it serves all tests."""
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07)")


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def json(self) -> Any:
        import json

        return json.loads(self.out)


@pytest.fixture(scope="session")
def stub() -> ModuleType:
    """The module of the stub: its constants and builders. Not under the real server's name."""
    folder = STAND_IN / "factflow_server"
    spec = importlib.util.spec_from_file_location(
        "factflow_cli_stub", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{spec.name}.stub")


@pytest.fixture
def server(stub: Any) -> Iterator[Any]:
    """A listening stub; change its `answers` to make it say something else."""
    with stub.Stub(stub.content()) as running:
        yield running


@pytest.fixture(autouse=True)
def surroundings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """An empty folder to work in, and the stub (when the test has one) as the server."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    uses_stub = "server" in request.fixturenames
    url = request.getfixturevalue("server").url if uses_stub else NO_SERVER
    monkeypatch.setenv("FACTFLOW_SERVER_URL", url)


@pytest.fixture
def factflow(
    capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """Run a command line in this process; stdout is no terminal."""
    from factflow_cli.app import main

    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["factflow", *arguments])
        monkeypatch.setattr(typer.main, "get_command", tree_of)
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        captured = capfdbinary.readouterr()
        return Ended(int(left.value.code or 0), captured.out, captured.err.decode())

    return run


@pytest.fixture
def program() -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run the installed program in a shell line, `{}` standing for it."""

    def run(line: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["bash", "-c", f"set -o pipefail; {line.replace('{}', str(PROGRAM))}"],
            capture_output=True,
            check=False,
            timeout=60,
            env={**os.environ, **environment},
        )

    return run


class Screen:
    """The installed program on a terminal of 80 columns."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        variables = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            [str(PROGRAM), *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**variables, **environment},
            start_new_session=True,
        )
        os.close(slave)
        self._shown = b""

    def read_until(self, text: str, seconds: float = 30) -> None:
        """Read until the text was shown."""
        end = time.monotonic() + seconds
        while text not in ESCAPES.sub("", self._shown.decode(errors="replace")):
            assert time.monotonic() < end, f"{text!r} never came: {self._shown.decode()}"
            assert self._read(), f"{text!r} never came: {self._shown.decode()}"

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._master, f"{line}\n".encode())

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], 30)
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:
            return False
        self._shown += data
        return bool(data)

    def finish(self) -> tuple[int, str]:
        """Return the exit code and all that was shown, as raw text."""
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(30), self._shown.decode().replace("\r\n", "\n")


@pytest.fixture
def on_terminal() -> Callable[..., Screen]:
    """Start the installed program on a terminal."""
    return Screen


@pytest.fixture
def seen() -> Callable[[str], list[str]]:
    """Return the lines a person sees: without colours, and a redrawn line as its last state."""

    def lines(shown: str) -> list[str]:
        plain = ESCAPES.sub("", shown)
        return [line.rsplit("\r", 1)[-1] for line in plain.splitlines()]

    return lines


@pytest.fixture
def with_stand_in(monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in for the server module before the real one; no server is running."""
    monkeypatch.setenv("PYTHONPATH", str(STAND_IN))
    monkeypatch.delenv("FACTFLOW_SERVER_URL")
    monkeypatch.setattr("factflow_cli.session.DEFAULT_SERVER", NO_SERVER)
    return STAND_IN
