"""Several servers on one database: an execution is one server's, and another one's when that one dies."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_testing.server_process import ServerProcess, wait_until
from factflow_testing.stack import BROKERS, Stack, grown_up_stack

pytestmark = pytest.mark.timeout(900)


LEASE = {"FACTFLOW_LEASE_SECONDS": "2"}
OWNER_POINTS = (
    "lease.take.before:1",
    "lease.take.after:1",
    "execution.insert.after:1",
    "queue.broker.published:1",
    "queue.ledger.before:5",
    "queue.broker.settled:3",
    "execution.status.before:1",
    "execution.status.after:1",
)


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with grown_up_stack(tmp_path) as stack:
        stack.variables |= LEASE
        yield stack


def ended(server: ServerProcess, execution: str) -> bool:
    return bool(server.get(f"/executions/{execution}")["status"] == STATUS)


@pytest.mark.parametrize("broker", BROKERS)
def test_a_dead_owners_executions_go_on_while_workers_work(
    tmp_path: Path, broker: Callable[[], str]
) -> None:
    with (
        grown_up_stack(tmp_path, broker(), **LEASE) as stack,
        stack.server("--no-work") as owner,
        stack.server("--no-work") as other,
        stack.worker() as worker,
    ):
        execution = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 200)))
        wait_until("some work", lambda: len(stack.evidence.lines()) > 100)
        owner.kill()
        wait_until("the end", lambda: ended(other, execution))
        shown = other.get(f"/executions/{execution}")
        assert (shown["recoveries"], shown["last_recovery"]["source"]) == (1, "queue")
        assert worker.alive
        assert stack.check(other.url).repeated == 0  # the worker did not even notice


def test_a_stopped_servers_executions_are_taken_over_at_once(stack: Stack) -> None:
    stack.variables["FACTFLOW_LEASE_SECONDS"] = "3600"
    with stack.server() as owner, stack.server() as other:
        execution = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 60)))
        wait_until("some work", lambda: len(stack.evidence.lines()) > 30)
        assert owner.stop() == 0
        stack.evidence.note_kill()  # what it had in hand came back to the queue
        wait_until("the end", lambda: ended(other, execution))
        stack.check(other.url)


def test_an_owner_that_slept_through_its_replacement_changes_nothing(stack: Stack) -> None:
    with (
        stack.server("--no-work") as owner,
        stack.server("--no-work") as other,
        stack.worker(),
    ):
        execution = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 200)))
        wait_until("some work", lambda: len(stack.evidence.lines()) > 50)
        os.kill(owner.pid, signal.SIGSTOP)
        try:
            wait_until(
                "another owner", lambda: other.get(f"/executions/{execution}")["recoveries"] == 1
            )
        finally:
            os.kill(owner.pid, signal.SIGCONT)
        wait_until("the end", lambda: ended(other, execution))
        assert owner.get(f"/executions/{execution}")["status"] == STATUS
        stack.check(other.url)
        # It is of use for others.
        second = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 10)))
        assert owner.end_of(second)["status"] == STATUS


@pytest.mark.long
@pytest.mark.parametrize("point", ["execution.taken.before", "execution.taken.after"])
def test_whoever_takes_over_may_die_too(stack: Stack, point: str) -> None:
    with stack.worker(), stack.server("--no-work") as owner:
        execution = owner.run(owner.create(pipeline_yaml(stack.evidence.journal, 100)))
        wait_until("some work", lambda: len(stack.evidence.lines()) > 50)
        with stack.server("--no-work", FACTFLOW_CRASH_POINT=point) as heir:
            owner.kill()
            assert heir.wait_dead() == -signal.SIGKILL
        with stack.server("--no-work") as last:
            wait_until("the end", lambda: ended(last, execution))
            stack.check(last.url)


@pytest.mark.long
@pytest.mark.parametrize("point", ["worker.share.before", "worker.share.after"])
def test_a_worker_may_die_as_it_begins(stack: Stack, point: str) -> None:
    with stack.server("--no-work") as server, stack.worker(FACTFLOW_CRASH_POINT=point) as worker:
        execution = server.run(server.create(pipeline_yaml(stack.evidence.journal, 10)))
        assert worker.wait_dead() == -signal.SIGKILL
        with stack.worker():
            assert server.end_of(execution)["status"] == STATUS
        stack.check(server.url)


@pytest.mark.long
@pytest.mark.parametrize("point", OWNER_POINTS)
def test_an_owner_may_die_at_any_step(stack: Stack, point: str) -> None:
    with stack.server("--no-work") as other, stack.worker():
        with stack.server("--no-work", FACTFLOW_CRASH_POINT=point) as owner:
            config = other.create(pipeline_yaml(stack.evidence.journal, 30))
            with contextlib.suppress(Exception):  # it may die before it has answered
                owner.api.post(f"/configs/{config}/run")
            assert owner.wait_dead() == -signal.SIGKILL
        wait_until(
            "all to end",
            lambda: all(
                one["status"] not in {"running", "interrupted"}
                for one in other.get("/executions")["executions"]
            ),
        )
        stack.check(other.url)
