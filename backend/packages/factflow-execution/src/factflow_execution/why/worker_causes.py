"""Why messages that others are to take are not taken: what workers say of themselves."""

from __future__ import annotations

from collections.abc import Iterator

from factflow_execution.why.causes import Cause
from factflow_execution.why.facts import ExecutionFacts, RouteFacts
from factflow_execution.why.words import counted, told


def worker_causes(execution: ExecutionFacts, route: RouteFacts) -> Iterator[Cause]:
    """Yield what keeps a route that is not served by the execution's own server: nobody who serves it,
    and those that refuse, or hold."""
    serving = [worker for worker in execution.workers if worker.serves(route.name)]
    at_work = {
        share.worker_id
        for share in execution.shares
        if share.state == "working" and share.generation == execution.execution.generation
    }
    refusals = tuple(_refusals(execution, {worker.worker_id for worker in serving}))
    if not route.runtime.served_here and not any(one.worker_id in at_work for one in serving):
        who = "no worker is there" if not serving else f"{counted(len(serving), 'worker')} cannot"
        yield Cause(
            code="no_worker",
            sentence=f"nobody takes messages of route {route.name}: its server leaves them to workers, "
            f"and {who}",
            next=f"factflow worker --routes {route.name}",
            execution_id=execution.id,
            route=route.name,
            because=refusals,
        )
    else:
        yield from refusals
    for worker in serving:
        reason = (worker.holding or {}).get(f"{execution.id}/{route.name}")
        if reason is not None:
            yield Cause(
                code="holding",
                sentence=f"route {route.name} holds in worker {worker.worker_id} until trouble with "
                f"storage or queue is over: {told(reason)}",
                next="factflow system health",
                execution_id=execution.id,
                route=route.name,
            )


def _refusals(execution: ExecutionFacts, serving: set[str]) -> Iterator[Cause]:
    for share in execution.shares:
        if share.state == "refused" and share.worker_id in serving:
            yield Cause(
                code="worker_refused",
                sentence=f"worker {share.worker_id} cannot work on {execution.name}: "
                f"{told(share.reason or 'it does not say why')}",
                next="factflow adapters list",
                execution_id=execution.id,
            )
