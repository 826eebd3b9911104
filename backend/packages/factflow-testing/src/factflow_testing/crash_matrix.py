"""`kill -9` before and after every durable step of a real server, and what must have come of it.

A case runs the pipeline of the self-test in a server that dies at a named point, starts another one without
a command, and has the self-test's judge count from outside. A new durable step gets a line in `CASES`.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2

from factflow_selftest.client import Client
from factflow_selftest.evidence import Evidence
from factflow_selftest.figures import Figures
from factflow_selftest.judge import judge_all
from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_testing.server_process import ServerDidNotStartError, ServerProcess, wait_until

MESSAGES = 10
FIRST_CRASH = "queue.settle.after:4"
"""Where the first process dies in cases about what happens from then on."""

FIRST_AT_BROKER = "queue.broker.event:4"
"""The same where a broker has the queues."""

Scenario = Callable[[ServerProcess, str], None]
"""What is asked of the server that is to die, given the pipeline."""


def running(server: ServerProcess, pipeline: str) -> None:
    """The point lies on the way of a fresh execution."""
    server.run(server.create(pipeline))


def recovering(server: ServerProcess, pipeline: str) -> None:
    """The point lies on the way of an execution that a crash cut off before: nobody asks for anything."""
    del server, pipeline


def replaying(server: ServerProcess, pipeline: str) -> None:
    """The point lies on the way of a replay of an execution that had ended."""
    del pipeline
    (source,) = server.get("/executions")["executions"]
    body = {"from_stage": "split/selftest_vary"}
    server.post(f"/executions/{source['execution_id']}/replay", body)


def cancelling(server: ServerProcess, pipeline: str) -> None:
    """The point lies on the way of a cancellation."""
    execution = server.run(server.create(pipeline))
    server.post(f"/executions/{execution}/cancel")


def pausing(server: ServerProcess, pipeline: str) -> None:
    """The point lies on the way of a pause."""
    server.run(server.create(pipeline))
    server.api.patch("/pipelines/work", json={"state": "paused"})


def resuming(server: ServerProcess, pipeline: str) -> None:
    """The point lies on the way of a pause's end."""
    pausing(server, pipeline)
    server.api.patch("/pipelines/work", json={"state": "running"})


@dataclass(frozen=True)
class Case:
    """A crash point (`name:n` is its n-th passing), what leads there, and how the execution must end."""

    point: str
    leads_there: Scenario = running
    ends: str = STATUS
    quick: str = ""
    """The fate of the queue (`survived`, `lost`) with which it is part of every test run."""

    @property
    def name(self) -> str:
        """The point's name alone."""
        return self.point.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.leads_there.__name__}-{self.point}"


CASES = [
    Case("storage.artefact.before:40"),
    Case("storage.artefact.after:60", quick="survived"),
    Case("storage.record.before:70", quick="lost"),
    Case("storage.record.after:30"),
    Case("queue.publish.before:1"),
    Case("queue.publish.after:1"),
    Case("queue.settle.before:12", quick="lost"),
    Case("queue.settle.after:1"),
    Case("queue.put_back.before:1"),
    Case("queue.put_back.after:1", quick="survived"),
    Case("queue.claim.before:2", recovering),
    Case("queue.claim.after:5", recovering),
    Case("lineage.flush.before:2"),
    Case("lineage.flush.after:2"),
    Case("execution.insert.before:1"),
    Case("execution.insert.after:1"),
    Case("execution.insert.after:1", replaying),
    Case("execution.status.before:1"),  # its end
    Case("execution.status.after:1"),
    Case("execution.status.after:1", recovering),  # interrupted
    Case("execution.status.before:2", recovering),  # running again
    Case("execution.cancel.before:1", cancelling),
    Case("execution.cancel.after:1", cancelling, ends="cancelled"),
    Case("execution.update.before:1", recovering),  # its lineage is whole again
    Case("execution.update.after:1", recovering),
    Case("route.pause.before:1", pausing),
    Case("route.pause.after:1", pausing),
    Case("route.resume.before:1", resuming),
    Case("route.resume.after:1", resuming),
    Case("plan.write.before:1", replaying),
    Case("plan.write.after:1", replaying),
    Case("queue.settle.after:2", replaying),
]

DELETION_POINTS = (
    "deletion.enter.before",
    "deletion.enter.after",
    "deletion.count.before",
    "deletion.count.after",
    "storage.delete.before",
    "storage.delete.after",
    "deletion.finish.before",
    "deletion.finish.after",
)
"""Points on the way of a deletion, of which the judge would say that everything was lost: they have a test of
their own."""

SHARED_POINTS = (
    "lease.take.before",
    "lease.take.after",
    "execution.taken.before",
    "execution.taken.after",
    "worker.share.before",
    "worker.share.after",
)
"""Points that only servers and workers pass which share executions: those have tests of their own."""

BROKER_POINTS = (
    "queue.broker.announced",
    "queue.broker.published",
    "queue.broker.children",
    "queue.broker.event",
    "queue.broker.copied",
    "queue.broker.settled",
    "queue.ledger.before",
    "queue.ledger.after",
)
"""Points on the way through a broker: the test of its queue has a process die at each of them."""

MEMBER_POINTS = ("queue.member.told",)
"""Points that only a process passes which has joined a scope: a test of its own has one die there."""


def check(
    case: Case,
    folder: Path,
    *,
    queue_lost: bool,
    packed: bool = False,
    broker: str | None = None,
) -> list[str]:
    """Have a server die as the case says and another one go on; fail unless all is as it should be.

    With `queue_lost` the queue's file is deleted in between; with `packed` the storage is; `broker` is the
    URL of one that has the queues. Returns the ids of the executions.
    """
    return check_by(Evidence(folder, packed=packed), case, queue_lost=queue_lost, broker=broker)


def check_by(
    evidence: Evidence, case: Case, *, queue_lost: bool, broker: str | None = None
) -> list[str]:
    """Check a case, as `check` does, with the store that the evidence knows."""
    if case.leads_there is replaying:
        _run_calmly(evidence, broker)
    if case.leads_there is recovering:
        _die(evidence, FIRST_CRASH if broker is None else FIRST_AT_BROKER, running, broker)
    _die(evidence, case.point, case.leads_there, broker)
    if queue_lost:
        evidence.lose_queue()
    with _server(evidence, broker) as server:
        for pause in server.get("/pipelines")["pauses"]:
            server.api.patch(f"/pipelines/{pause['route_id']}", json={"state": "running"})
        wait_until("every execution to end", lambda: not _unfinished(server))
        with contextlib.closing(Client(server.url)) as client:
            figures = judge_all(evidence, client, case.ends)
        known = {each["execution_id"] for each in server.get("/executions")["executions"]}
    _is_as_it_should_be(figures, evidence)
    assert _left_by_launches_that_failed(evidence, known) <= {"_init.json", "_plan"}
    return sorted(known)


def _server(evidence: Evidence, broker: str | None, point: str = "") -> ServerProcess:
    variables = evidence.variables | ({"FACTFLOW_CRASH_POINT": point} if point else {})
    if broker is not None:
        variables |= {"FACTFLOW_QUEUE_URL": broker}
    return ServerProcess(evidence.data_dir, cwd=None, **variables)


def _run_calmly(evidence: Evidence, broker: str | None) -> None:
    with _server(evidence, broker) as server:
        execution = server.run(server.create(pipeline_yaml(evidence.journal, MESSAGES)))
        assert server.end_of(execution)["status"] == STATUS
        assert server.stop() == 0


def _die(evidence: Evidence, point: str, leads_there: Scenario, broker: str | None) -> None:
    """Let a server run into its crash point, and note what it left."""
    code: int | None
    try:
        with _server(evidence, broker, point) as server:
            with contextlib.suppress(httpx2.TransportError):  # it may die before it has answered
                leads_there(server, pipeline_yaml(evidence.journal, MESSAGES))
            code = server.wait_dead()
    except ServerDidNotStartError as error:
        code = error.code
    assert code == -signal.SIGKILL, f"{point} was never reached"
    evidence.note_kill()


def _unfinished(server: ServerProcess) -> bool:
    executions = server.get("/executions")["executions"]
    return any(each["status"] in {"running", "interrupted"} for each in executions)


def _is_as_it_should_be(figures: Figures, evidence: Evidence) -> None:
    told = "\n".join([str(figures.as_json()), *figures.problems])
    assert not figures.wrong, told
    assert figures.set_aside == 0, told
    assert figures.kills == len(evidence.kills) > 0, told


def _left_by_launches_that_failed(evidence: Evidence, known: set[str]) -> set[str]:
    """Return the names of objects below executions that do not exist."""
    names = [name.split("/", 2) for name in evidence.look() if name.startswith("executions/")]
    left = {rest.rpartition("/")[2] for _, execution, rest in names if execution not in known}
    return {name for name in left if not name.endswith(".meta.json")}
