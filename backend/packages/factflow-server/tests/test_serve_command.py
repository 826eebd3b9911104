"""The server as a process of its own: how it starts, refuses to start, and ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from factflow_testing.postgres_schemas import database_of

ADAPTERS = Path(__file__).parent / "arithmetic_adapters.py"
READY = re.compile(r"Factflow listening on (http://127\.0\.0\.1:\d+) \(data in (.+)\)\n")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "error", "-m", "factflow_server", *arguments]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FACTFLOW_")}
    return kept | more


class ServerProcess:
    """A server that listens, and what it said when it was ready."""

    def __init__(self, *arguments: str, cwd: Path) -> None:
        self.process = subprocess.Popen(
            command("serve", "--embedded", "--port", "0", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cwd,
            env=environment(
                FACTFLOW_SHUTDOWN_GRACE_SECONDS="0.2", FACTFLOW_DATABASE_URL=database_of(cwd) or ""
            ),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        match = READY.fullmatch(line)
        if match is None:
            pytest.fail(f"said {line!r} and on stderr {self.process.communicate()[1]}")
        self.url, self.data_dir = match[1], Path(match[2])
        self.client = httpx2.Client(base_url=f"{self.url}/api/v1", timeout=30)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal; return the exit code and what else was said on stdout and stderr."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err

    def close(self) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


Serve = Callable[..., ServerProcess]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    servers: list[ServerProcess] = []

    def start(*arguments: str) -> ServerProcess:
        servers.append(ServerProcess("--adapters", str(ADAPTERS), *arguments, cwd=tmp_path))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def refused(cwd: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a command that does not start a server; return its exit code and stderr."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert not done.stdout
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_once_it_says_so_and_ends_in_order(serve: Serve, number: int) -> None:
    server = serve()
    assert server.client.get("/system/health").json()["status"] == "healthy"
    assert server.data_dir.name == ".factflow"
    code, out, err = server.end(number)
    assert (code, out, err) == (0, "", "")


@pytest.mark.long
def test_what_was_stored_is_there_after_a_restart(
    serve: Serve, numbers_yaml: str, tmp_path: Path
) -> None:
    server = serve("--data-dir", str(tmp_path / "mine"))
    config = server.client.post("/configs", json={"config_yaml": numbers_yaml}).json()
    started = server.client.post(f"/configs/{config['id']}/run").json()
    path = f"/executions/{started['id']}"
    assert server.client.post(f"{path}/wait", json={"timeout": 30}).json()["completed"]
    before = server.client.get(path).json()
    server.end()
    server = serve("--data-dir", str(tmp_path / "mine"))
    assert server.client.get(path).json() == before
    assert server.client.get("/lineage", params={"execution_id": started["id"]}).json()["total"] > 0


def test_running_executions_are_interrupted_and_waiters_told(
    serve: Serve, gated_yaml: str, tmp_path: Path
) -> None:
    server = serve()
    config = server.client.post("/configs", json={"config_yaml": gated_yaml}).json()
    started = server.client.post(f"/configs/{config['id']}/run").json()
    wait = f"/api/v1/executions/{started['id']}/wait"
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=60)
    connection.request("POST", wait)
    code, _, err = server.end()
    assert (code, err) == (0, "")
    waited = json.load(connection.getresponse())
    assert (waited["completed"], waited["status"]) == (True, "interrupted")
    connection.close()
    again = serve()
    assert taken_up(again, started["id"])["recoveries"] == 1


def taken_up(server: ServerProcess, execution_id: str) -> dict[str, Any]:
    """Return an execution once recovery has made it run again."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        execution: dict[str, Any] = server.client.get(f"/executions/{execution_id}").json()
        if execution["status"] == "running" and execution["recoveries"]:
            return execution
    raise AssertionError(f"not taken up again: {execution}")


@pytest.mark.long
def test_executions_of_a_killed_server_go_on_under_the_next(serve: Serve, gated_yaml: str) -> None:
    server = serve()
    config = server.client.post("/configs", json={"config_yaml": gated_yaml}).json()
    started = server.client.post(f"/configs/{config['id']}/run").json()
    server.end(signal.SIGKILL)
    again = serve()
    assert taken_up(again, started["id"])["recoveries"] == 1


@pytest.mark.parametrize("name", ["factflow.db", "queue.db"])
def test_a_database_that_is_none_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / ".factflow").mkdir()
    (tmp_path / ".factflow" / name).write_text(
        "not a database, but long enough to be read as one" * 99
    )
    code, err = refused(tmp_path, "serve", "--embedded", "--port", "0")
    assert code == 2
    assert err.startswith("factflow: error: ")
    assert name in err


def test_a_lost_lineage_database_does_not_keep_it_from_starting(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / ".factflow" / "lineage.db").mkdir(parents=True)
    server = serve("--log-level", "error")
    health = server.client.get("/system/health").json()
    assert health["status"] == "degraded"
    refused = server.client.get("/lineage")
    assert (refused.status_code, refused.json()["error_code"]) == (503, "lineage_unavailable")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--host", "0.0.0.0"], "only loopback"),
        (["--port", "99999"], "port"),
        (["--max-concurrent-executions", "0"], "max_concurrent_executions"),
        (["--adapters", "no_such_module"], "no_such_module"),
        (["--pipelines", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_line(
    tmp_path: Path, arguments: list[str], said: str
) -> None:
    code, err = refused(tmp_path, "serve", "--embedded", "--port", "0", *arguments)
    assert code == 2
    assert err.startswith("factflow: error: ")
    assert said in err


def test_an_invalid_setting_from_the_environment_is_named(tmp_path: Path) -> None:
    code, err = refused(tmp_path, "serve", "--embedded", FACTFLOW_PORT="eighty")
    assert code == 2
    assert "port" in err


def test_without_embedded_it_says_what_to_do(tmp_path: Path) -> None:
    code, err = refused(tmp_path, "serve")
    assert code == 2
    assert "serve --embedded" in err


@pytest.mark.long
def test_an_invalid_shipped_pipeline_stops_the_start_unless_told_otherwise(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "shipped"
    folder.mkdir()
    (folder / "broken.yaml").write_text('version: "1.0"\nroutes: {}\n')
    arguments = ("serve", "--embedded", "--port", "0", "--pipelines", str(folder))
    code, err = refused(tmp_path, *arguments)
    assert code == 2
    assert "broken.yaml" in err
    assert "FACTFLOW_CONFIG_VALIDATOR_STRICT=0" in err
    (folder / "broken.yaml").unlink()
    serve("--pipelines", str(folder))


def test_files_are_validated_without_a_server(tmp_path: Path, numbers_yaml: str) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(numbers_yaml)
    bad.write_text(numbers_yaml.replace("count_up", "count_down"))

    def validate(*files: Path) -> tuple[int, list[dict[str, object]]]:
        done = subprocess.run(
            command("validate", *map(str, files), "--output", "json", "--adapters", str(ADAPTERS)),
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not done.stderr
        return done.returncode, json.loads(done.stdout)["files"]

    code, files = validate(good)
    assert (code, files[0]["is_valid"]) == (0, True)
    code, files = validate(good, bad, tmp_path / "absent.yaml")
    assert (code, [file["is_valid"] for file in files]) == (1, [True, False, False])
    assert not (tmp_path / ".factflow").exists()


def test_beyond_loopback_it_does_not_start_without_tokens(tmp_path: Path) -> None:
    code, said = refused(tmp_path, "serve", "--embedded", "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "without access tokens only loopback" in said
    assert "FACTFLOW_API_TOKENS" in said


def test_tokens_that_cannot_be_read_keep_it_from_starting_and_are_not_told(tmp_path: Path) -> None:
    code, said = refused(
        tmp_path,
        "serve",
        "--embedded",
        "--port",
        "0",
        FACTFLOW_API_TOKENS="alice:root:s3cret-s3cret",
    )
    assert code == 2
    assert "entry 1 of FACTFLOW_API_TOKENS" in said
    assert "s3cret" not in said
