"""A process that is cut off from a service: the others go on, and it comes back by itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit, urlunsplit

import pytest

from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_testing.server_process import ServerProcess, wait_until
from factflow_testing.stack import Stack, grown_up_stack
from factflow_testing.tcp_gate import TcpGate

pytestmark = [pytest.mark.alone, pytest.mark.timeout(900)]


Way = Literal["cut", "silent"]
WAYS = (pytest.param("cut"), pytest.param("silent", marks=pytest.mark.long))
FAN = 150


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with grown_up_stack(tmp_path) as stack:
        stack.variables["FACTFLOW_LEASE_SECONDS"] = "3"
        yield stack


@contextlib.contextmanager
def behind_a_gate(stack: Stack, variable: str, more: str = "") -> Iterator[tuple[TcpGate, str]]:
    """Lend a gate before a service, and the URL of the service behind it."""
    parts = urlsplit(stack.variables[variable])
    user, at, _ = parts.netloc.rpartition("@")
    with TcpGate(parts.hostname or "", parts.port or 0) as gate:
        place = parts._replace(netloc=f"{user}{at}127.0.0.1:{gate.port}")
        query = "&".join(part for part in (place.query, more) if part)
        yield gate, urlunsplit(place._replace(query=query))


def close(gate: TcpGate, way: Way) -> None:
    if way == "cut":
        gate.shut()
    else:
        gate.hold()


class Work:
    """Executions one after the other, so that there is always something to do."""

    def __init__(self, server: ServerProcess, stack: Stack) -> None:
        self._server = server
        self._config = server.create(pipeline_yaml(stack.evidence.journal, FAN))
        self.begun: list[str] = []

    def until(self, what: str, holds: Callable[[], bool], seconds: float = 120.0) -> float:
        """Keep something running until that holds; return after how many seconds."""
        begun = time.monotonic()

        def looked() -> bool:
            if holds():
                return True
            running = self._server.get("/executions", status="running")["total"]
            if running < 2:
                self.begun.append(self._server.run(self._config))
            return False

        wait_until(what, looked, seconds)
        return time.monotonic() - begun

    def end(self, server: ServerProcess) -> None:
        """Wait for all of it to end well."""
        left = set(self.begun)

        def ended() -> bool:
            left.difference_update(
                one for one in list(left) if server.get(f"/executions/{one}")["status"] == STATUS
            )
            return not left

        wait_until("all to end", ended, 180.0)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("variable", "more"),
    [
        pytest.param("FACTFLOW_QUEUE_URL", "heartbeat=4", id="broker"),
        pytest.param("FACTFLOW_DATABASE_URL", "", id="PostgreSQL", marks=pytest.mark.long),
    ],
)
def test_a_worker_that_is_cut_off_comes_back(
    stack: Stack, variable: str, more: str, way: Way, record_property: Callable[[str, object], None]
) -> None:
    with (
        behind_a_gate(stack, variable, more) as (gate, url),
        stack.server("--no-work") as server,
        stack.worker(**{variable: url}) as cut,
        stack.worker() as other,
    ):
        work = Work(server, stack)
        work.until("the one to work", lambda: stack.commits()[cut.pid] >= 20)
        before = stack.commits()
        close(gate, way)
        went_on = work.until(
            "others to go on", lambda: stack.commits()[other.pid] > before[other.pid]
        )
        record_property("others went on after", went_on)
        work.until("much of others", lambda: stack.commits()[other.pid] > before[other.pid] + 100)
        gate.open()
        again = stack.commits()[cut.pid]
        came_back = work.until("it to come back", lambda: stack.commits()[cut.pid] > again + 10)
        record_property("came back after", came_back)
        work.end(server)
        stack.check(server.url, repeats=True)


@pytest.mark.parametrize("way", WAYS)
def test_an_owner_that_is_cut_off_from_postgresql_is_replaced(stack: Stack, way: Way) -> None:
    with (
        behind_a_gate(stack, "FACTFLOW_DATABASE_URL") as (gate, url),
        stack.server("--no-work", FACTFLOW_DATABASE_URL=url) as owner,
        stack.server("--no-work") as other,
        stack.worker() as worker,
    ):
        execution = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 2 * FAN)))
        wait_until("some work", lambda: stack.commits()[worker.pid] >= 20)
        close(gate, way)
        wait_until(
            "another owner", lambda: other.get(f"/executions/{execution}")["recoveries"] == 1
        )
        gate.open()
        wait_until(
            "the end", lambda: other.get(f"/executions/{execution}")["status"] == STATUS, 120.0
        )
        wait_until("it to be well", lambda: owner.get("/system/health")["status"] == "healthy")
        stack.check(other.url)
        again = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 10)))
        assert owner.end_of(again)["status"] == STATUS
