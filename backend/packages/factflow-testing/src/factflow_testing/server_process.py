"""A server and its command line as processes of their own, the way a user has them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx2

from factflow_testing.forked_process import ForkedProcess, can_fork
from factflow_testing.postgres_schemas import database_of

START_SECONDS = 90.0
COMMAND_SECONDS = 120.0
LAST_WORDS_SECONDS = 5.0
"""How long a server that does not listen may take to end by itself."""
IN_A_HURRY = {"FACTFLOW_SHUTDOWN_GRACE_SECONDS": "0.2"}
"""What servers are told that a test starts, by itself or through `factflow run`."""
SERVER_MODULE = (sys.executable, "-m", "factflow_server")
ENDED = frozenset({"completed", "failed", "cancelled", "interrupted"})
_READY = re.compile(r"Factflow listening on (http://\S+) \(data in (.+)\)\n")


class ServerDidNotStartError(AssertionError):
    """The process ended, with `code`, or said something else, before it listened."""

    def __init__(self, said: str, code: int | None) -> None:
        super().__init__(said)
        self.code = code


def environment(**more: str) -> dict[str, str]:
    """Return this process's environment without its own Factflow settings, with `factflow` on the PATH."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACTFLOW_")}
    kept["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | more


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, read as JSON."""
        return json.loads(self.out)

    def done(self) -> Any:
        """Return the JSON it printed; fails unless it ended with 0."""
        assert self.code == 0, f"exit code {self.code}: {self.err}"
        return self.json

    def refused(self, code: int) -> str:
        """Return what it said on stderr; fails unless it ended with `code`, with a sentence and no result."""
        assert self.code == code, f"exit code {self.code}: {self.err or self.out}"
        assert "Traceback" not in self.err + self.out
        assert "error: " in self.err
        assert not self.out
        return self.err


def run_command(
    *command: str | Path,
    cwd: Path | None = None,
    stdin: str | None = None,
    variables: dict[str, str] | None = None,
    seconds: float = COMMAND_SECONDS,
) -> Finished:
    """Run a command to its end; it may not take longer than `seconds`."""
    parts, env = [str(part) for part in command], environment(**(variables or {}))
    if _is_forked(parts, env):
        return _run_forked(parts, stdin or "", cwd, env, seconds)
    done = subprocess.run(
        parts,
        cwd=cwd,
        env=env,
        input=stdin if stdin is not None else "",
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def _is_forked(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Tell whether a command is `python -m factflow_server …` and the same when it is forked from a process
    that has imported it."""
    return tuple(command[:3]) == SERVER_MODULE and can_fork(env)


def _run_forked(
    command: Sequence[str], stdin: str, cwd: Path | None, env: Mapping[str, str], seconds: float
) -> Finished:
    with contextlib.ExitStack() as stack:
        given, out, err = (stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(3))
        given.write(stdin)
        given.seek(0)
        process = ForkedProcess(command[3:], cwd=cwd, env=env, stdin=given, stdout=out, stderr=err)
        stack.callback(process.kill)
        code = process.wait(seconds)
        for stream in (out, err):
            stream.seek(0)
        return Finished(code, out.read(), err.read())


def serve_command(*arguments: str | Path) -> list[str]:
    """Return the command line of an embedded server on a free port."""
    return [*SERVER_MODULE, "serve", "--embedded", "--port", "0", *map(str, arguments)]


def cli(
    *arguments: str | Path,
    server: str | None = None,
    cwd: Path | None = None,
    stdin: str | None = None,
) -> Finished:
    """Run `factflow …` against the server at the URL, or as if none had been named."""
    variables = dict(IN_A_HURRY)
    if server:
        variables["FACTFLOW_SERVER_URL"] = server
    program = Path(sys.executable).with_name("factflow")
    return run_command(program, *arguments, cwd=cwd, stdin=stdin, variables=variables)


def start_process(
    command: Sequence[str], said: IO[str], cwd: Path | None, env: Mapping[str, str]
) -> subprocess.Popen[str] | ForkedProcess:
    """Start `python -m factflow_server …`, whose stderr is `said`."""
    if _is_forked(command, env):
        return ForkedProcess(command[3:], cwd=cwd, env=env, stderr=said)
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        text=True,
        cwd=cwd,
        env=env,
    )


class StartedProcess:
    """A server or a worker that has said it is ready: its `pid`. Use it as a context manager."""

    def __init__(
        self, command: Sequence[str], cwd: Path | None, variables: Mapping[str, str]
    ) -> None:
        self._said = tempfile.TemporaryFile(  # noqa: SIM115 - closed when the process is
            "w+", encoding="utf-8", errors="replace"
        )
        self._process = start_process(
            command, self._said, cwd, environment(**IN_A_HURRY, **variables)
        )
        self.pid = self._process.pid

    def _wait_until_ready(self, words: re.Pattern[str]) -> re.Match[str]:
        """Return its first line, which is to be of these words. Raises `ServerDidNotStartError`."""
        match = words.fullmatch(self._first_line())
        if match is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(LAST_WORDS_SECONDS)
            code = self._process.poll()
            self.close()
            with self._said:
                raise ServerDidNotStartError(self.said(), code)
        return match

    def _first_line(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        return self._process.stdout.readline() if ready else ""

    @property
    def alive(self) -> bool:
        """Tell whether it has not ended."""
        return self._process.poll() is None

    def said(self) -> str:
        """Return everything it has said on stderr."""
        self._said.seek(0)
        return self._said.read()

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it as `kill -9` does; return its exit code, which is -9."""
        return self._end(signal.SIGKILL)

    def wait_dead(self, seconds: float = 60.0) -> int:
        """Wait until it has ended by itself; return its exit code."""
        code = self._process.wait(seconds)
        self.close()
        return code

    def _end(self, number: int) -> int:
        self._process.send_signal(number)
        return self.wait_dead()

    def close(self) -> None:
        """Leave nothing of the process behind; a stopped one stays stopped."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
        self._said.close()


class ServerProcess(StartedProcess):
    """A server that listens: its `url`, its `data_dir`, its `pid`. Use it as a context manager.

    `under` is what comes before the command and becomes it: `setpriv --…`.
    """

    def __init__(
        self,
        data_dir: Path,
        *arguments: str | Path,
        cwd: Path | None = None,
        under: Sequence[str] = (),
        **variables: str,
    ) -> None:
        if (url := database_of(data_dir)) is not None:
            variables.setdefault("FACTFLOW_DATABASE_URL", url)
        command = [*under, *serve_command("--data-dir", data_dir, *arguments)]
        super().__init__(command, cwd, variables)
        ready = self._wait_until_ready(_READY)
        self.url, self.data_dir = ready[1], Path(ready[2])
        self.api = httpx2.Client(
            base_url=f"{self.url}/api/v1",
            timeout=120,
            trust_env=False,
            verify=False,  # plain HTTP: whom to trust would be read for nothing
            # A kept connection may be closed by the server, idle for long, just as it is used again.
            limits=httpx2.Limits(max_keepalive_connections=0),
        )

    def cli(
        self, *arguments: str | Path, cwd: Path | None = None, stdin: str | None = None
    ) -> Finished:
        """Run `factflow …` against this server."""
        return cli(*arguments, server=self.url, cwd=cwd, stdin=stdin)

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON of a GET below `/api/v1`; fails on an error answer."""
        answer = self.api.get(path, params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """Return the JSON of a POST below `/api/v1`; fails on an error answer."""
        answer = self.api.post(path, json=body, params=query)
        assert answer.is_success, answer.text
        return answer.json()

    def create(self, config_yaml: str) -> str:
        """Store a config and return its id."""
        return str(self.post("/configs", {"config_yaml": config_yaml})["id"])

    def run(self, config_id: str, **init: Any) -> str:
        """Start an execution and return its id."""
        return str(self.post(f"/configs/{config_id}/run", init or None)["execution_id"])

    def end_of(self, execution_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """Return the execution once it has ended; fails when it does not."""
        self.post(f"/executions/{execution_id}/wait", {"timeout": seconds})
        execution: dict[str, Any] = self.get(f"/executions/{execution_id}")
        assert execution["status"] in ENDED, execution
        return execution

    def end_of_resumed(self, execution_id: str, seconds: float = 60.0) -> dict[str, Any]:
        """Return an execution that was cut off, once recovery has brought it to its end."""
        wait_until(
            f"recovery of {execution_id}",
            lambda: self.get(f"/executions/{execution_id}")["status"] != "interrupted",
            seconds,
        )
        return self.end_of(execution_id, seconds)

    def rows(self, execution_id: str, **filters: Any) -> list[dict[str, Any]]:
        """Return all lineage rows of an execution that pass the filters."""
        page = self.get("/lineage", execution_id=execution_id, limit=10_000, **filters)
        assert not page["has_more"]
        rows: list[dict[str, Any]] = page["entries"]
        return rows

    def read(self, key: str) -> bytes:
        """Return a stored object's bytes."""
        answer = self.api.get(f"/storage/objects/{key}")
        assert answer.is_success, answer.text
        return answer.content

    def manifest(self) -> dict[str, str]:
        """Return the SHA-256 of every file in the store, by its path there; also of a dead server."""
        return manifest(self.data_dir)

    def peak_memory(self) -> int:
        """Return the most memory the process has had so far, in bytes (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def close(self) -> None:
        """Leave nothing of the process behind, nor of its clients."""
        super().close()
        if hasattr(self, "api"):
            self.api.close()


def manifest(data_dir: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a data folder's store, by its path there."""
    root = data_dir / "storage"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def wait_until(what: str, holds: Callable[[], bool], seconds: float = 60.0) -> None:
    """Return once `holds()` is true; fail, saying what did not come, when it stays false."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
