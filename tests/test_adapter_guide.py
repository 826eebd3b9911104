"""`docs/guides/writing-an-adapter.md`, followed step by step in an empty folder with real processes.

What the guide shows after a command has to appear in its output, line by line and in that order; `…`
stands for anything, and columns may be wider or narrower.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from factflow_testing.server_process import environment

GUIDE = Path(__file__).resolve().parent.parent / "docs/guides/writing-an-adapter.md"
BLOCK = re.compile(r"^([^\n]*)\n+```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`([\w.]+)`:")
REPLACED = re.compile(r"Replace `(\w+)` in `([\w.]+)`:")
START_SECONDS = 60
SHOWN_ADDRESS = "http://127.0.0.1:8000"
PLACEHOLDERS = {
    "LINEAGE": re.compile(r"^([0-9a-f]{32}) ", re.MULTILINE),
    "EXECUTION": re.compile(r"^in executions/(\S+)/$", re.MULTILINE),
    "KEY": re.compile(r"^(\S+\.md) ", re.MULTILINE),
}


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a reader does: writes a file, edits one, or types a command."""

    kind: str
    what: str
    text: str


def steps(guide: str) -> Iterator[Step]:
    """Yield what the numbered part of the guide asks for, in its order."""
    for before, language, text in BLOCK.findall(guide.partition("\n## What else")[0]):
        if language == "console":
            for command in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                typed, _, shown = command.partition("\n")
                yield Step("serve" if typed.startswith("factflow serve") else "type", typed, shown)
        elif replaced := REPLACED.fullmatch(before):
            yield Step("replace", replaced[2], text)
        else:
            named = FILE.fullmatch(before)
            assert named is not None, f"this block has no file name before it:\n{text}"
            yield Step("write", named[1], text)


class Reader:
    """Someone with a folder, a terminal, and a second terminal in which the server runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = ""
        self.code = 0
        self._known: dict[str, list[str]] = {}
        self._server: subprocess.Popen[str] | None = None
        hermetic = {name: "" for name in os.environ if name.startswith("PYTEST_")}
        self._environment = environment(
            **hermetic,
            FACTFLOW_PORT="0",
            FACTFLOW_SERVER_URL="http://127.0.0.1:9",
            TERM="xterm",
            COLUMNS="100",
        )

    def follow(self, step: Step) -> None:
        """Do what a step says, and see what it shows."""
        if step.kind == "write":
            (self.folder / step.what).write_text(step.text)
        elif step.kind == "replace":
            self._replace(self.folder / step.what, step.text)
        elif step.kind == "serve":
            self._serve(step)
        elif step.what == "echo $?":
            assert str(self.code) == step.text.strip()
        else:
            self._type(step)

    def leave(self) -> None:
        """Stop the server with Ctrl+C."""
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)
            assert self._server.wait(START_SECONDS) == 0
            assert self._server.stdout is not None
            self._server.stdout.close()
            self._server = None

    def _replace(self, path: Path, method: str) -> None:
        head, found, _ = path.read_text().partition(method.splitlines(keepends=True)[0])
        assert found
        path.write_text(head + method)

    def _serve(self, step: Step) -> None:
        self.leave()
        self._server = subprocess.Popen(
            step.what.split(),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._server.stdout is not None
        assert select.select([self._server.stdout], [], [], START_SECONDS)[0]
        line = self._server.stdout.readline()
        address = re.search(r"http://[\d.:]+", line)
        assert address is not None, line
        self._environment["FACTFLOW_SERVER_URL"] = address[0]
        check_shown(step, line.replace(address[0], SHOWN_ADDRESS))

    def _type(self, step: Step) -> None:
        for command in self._filled_in(step.what):
            self._run(command)
            try:
                check_shown(step, self.output)
            except AssertionError as error:
                problem = error
                continue
            break
        else:
            raise problem
        for name, pattern in PLACEHOLDERS.items():
            self._known[name] = pattern.findall(self.output) or self._known.get(name, [])

    def _filled_in(self, command: str) -> list[str]:
        """Return the command with its placeholders filled in from outputs so far, in every way."""
        commands = [command]
        for name in PLACEHOLDERS:
            if name in command.split():
                values = self._known[name]
                commands = [one.replace(name, value) for one in commands for value in values]
        return commands

    def _run(self, command: str) -> None:
        """Run a command on a terminal of 100 columns; stderr is read behind stdout."""
        terminal, inner = pty.openpty()
        fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 100, 0, 0))
        process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=inner,
            stderr=subprocess.PIPE,
        )
        os.close(inner)
        with os.fdopen(terminal, "rb", buffering=0) as screen, process:
            said = b""
            while part := read_screen(screen.fileno()):
                said += part
            assert process.stderr is not None
            said += process.stderr.read()
        self.code = process.returncode
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said.decode())
        self.output = plain.replace("\r\n", "\n")


def read_screen(descriptor: int) -> bytes:
    """Return what came next; nothing once the program has gone (Linux says so with an error)."""
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""


def check_shown(step: Step, output: str) -> None:
    """Fail unless every line the guide shows stands in the output, in that order."""
    lines = iter([" ".join(line.split()) for line in output.splitlines()])
    for shown in filter(None, (" ".join(line.split()) for line in step.text.splitlines())):
        pattern = ".*".join(re.escape(part) for part in shown.split("…"))
        assert any(re.fullmatch(pattern, line) for line in lines), (
            f"$ {step.what}\nthe guide shows {shown!r}, but the output was:\n{output}"
        )


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader in an empty folder."""
    reader = Reader(tmp_path)
    try:
        yield reader
    finally:
        reader.leave()


@pytest.mark.long
def test_the_guide_works_as_it_stands(reader: Reader) -> None:
    """From an empty folder to a mended adapter whose new version stands in the records."""
    followed = list(steps(GUIDE.read_text()))
    versions = []
    for step in followed:
        reader.follow(step)
        versions += re.findall(r"adapter version +(\S+)", reader.output)
        reader.output = ""
    assert len({step.kind for step in followed}) == 4
    new, old = versions[-2:]
    assert new != old, "the edited adapter runs under the version it had before"
