"""Runs `factflow …` the way a user would, and prints each command before it does."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import screen
from demo_folder import DemoError
from demo_process import PROGRAM, environment
from demo_server import DemoServer

POLL_SECONDS = 0.3
ROWS_AT_ONCE = 2000

Row = dict[str, Any]


class Commands:
    """The command line, pointed at the demo's server."""

    def __init__(self, server: DemoServer) -> None:
        self._server = server
        self._environment = environment(FACTFLOW_SERVER_URL=server.url, COLUMNS=str(screen.width()))

    def show(self, *words: str) -> None:
        """Print the command and let it print its table; raise `DemoError` when it fails."""
        screen.command(["factflow", *words])
        done = subprocess.run(
            self._line(*words, "--output", "table"),
            env=self._environment,
            stderr=None if screen.is_terminal() else subprocess.STDOUT,
            check=False,
        )
        self._check(words, done.returncode)

    def ask(self, *words: str, shown: bool = False) -> Row:
        """Return the command's JSON answer, printing the command when `shown`."""
        if shown:
            screen.command(["factflow", *words])
        done = subprocess.run(
            self._line(*words, "--output", "json"),
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self._check(words, done.returncode, done.stderr)
        answer: Row = json.loads(done.stdout)
        return answer

    def rows(self, execution: str) -> list[Row]:
        """Return all lineage rows of an execution: one for each message and stage."""
        words = ("lineage", "list", "--execution", execution, "--limit", str(ROWS_AT_ONCE))
        found: list[Row] = []
        while True:
            answer = self.ask(*words, "--offset", str(len(found)))
            found += answer["entries"]
            if not answer["has_more"]:
                return found

    def wait(self, execution: str, *options: str) -> Row:
        """Show progress until the execution ends; return it as it is then.

        On a terminal the command's own bars move; else a line is printed whenever a count changed.
        """
        words = ("execution", "wait", execution, *options)
        screen.command(["factflow", *words])
        line = self._line(*words, "--output", "table")
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            output = None if screen.is_terminal() else said
            process = subprocess.Popen(
                line, env=self._environment, stdout=output, stderr=output, text=True
            )
            try:
                if not screen.is_terminal():
                    self._print_progress(process, execution)
                code = process.wait()
            except BaseException:
                process.kill()
                process.wait()
                raise
            said.seek(0)
            print(said.read(), end="")
        ended = self.ask("execution", "get", execution)
        if ended["status"] not in ("completed", "failed"):
            self._check(words, code or 1)
        return ended

    def _print_progress(self, process: subprocess.Popen[str], execution: str) -> None:
        before = ""
        while process.poll() is None:
            routes = self.ask("execution", "routes", execution)["routes"]
            now = ", ".join(
                f"{route['name']} {route['completed'] + route['failed']} of "
                f"{route['total_messages']}"
                for route in routes
            )
            if now != before:
                screen.note(now)
                before = now
            time.sleep(POLL_SECONDS)

    def _line(self, *words: str) -> list[str]:
        return [str(PROGRAM), *words]

    def _check(self, words: Sequence[str], code: int, said: str = "") -> None:
        if code == 0:
            return
        if not self._server.is_alive():
            raise DemoError("the server died" + self._server.last_words())
        lines = [text for text in said.splitlines() if text.strip()]
        reason = f": {lines[0].removeprefix('error: ')}" if lines else ""
        hints = [text.removeprefix("hint: ") for text in lines if text.startswith("hint:")]
        raise DemoError(
            f"factflow {' '.join(words)} ended with {code}{reason}", hints[-1] if hints else ""
        )
