"""Answers why: finds what a question is about, gathers the facts, has them judged."""

from __future__ import annotations

import contextlib
from typing import ClassVar

from factflow_engine.execution_spec import RouteState
from factflow_execution.errors import ExecutionNotFoundError
from factflow_execution.models import PipelineExecution
from factflow_execution.runtimes import Runtimes, has_route
from factflow_execution.why import execution_causes, message_causes
from factflow_execution.why.asked_owners import AskedOwners
from factflow_execution.why.causes import Answer, SubjectKind
from factflow_execution.why.facts import ExecutionFacts
from factflow_execution.why.failure_causes import group_causes
from factflow_execution.why.gathering import FactGatherer
from factflow_execution.why.message_facts import message_facts
from factflow_execution.why.route_causes import pause_cause, route_causes
from factflow_execution.why.words import counted
from factflow_lineage.errors import LineageNotFoundError, LineageUnavailableError
from factflow_lineage.models import PipelineLineageEntry
from factflow_protocols.errors import FactflowError, QueueUnavailableError


class SubjectNotFoundError(FactflowError):
    """Nothing of this name or id is known here."""

    code: ClassVar[str] = "subject_not_found"

    def __init__(self, subject: str, where: str = "") -> None:
        super().__init__(
            f"no execution, route or message {subject!r} is known{where}",
            hint="factflow execution list and factflow pipeline list show what there is; a route that does "
            "not run now is found with --execution ID",
        )


class WhyService:
    """One method for each kind of subject, and `resolve` for whatever somebody typed."""

    def __init__(self, gatherer: FactGatherer, runtimes: Runtimes | None = None) -> None:
        self._gatherer = gatherer
        self._executions = gatherer.executions
        self._runtimes = runtimes or Runtimes(gatherer.manager)
        self._owners = AskedOwners(self._executions, self._runtimes.others, self._answer_here)

    async def resolve(self, subject: str, execution: str | None = None) -> Answer:
        """Answer for what `subject` names: an execution (id or tag), a route, a message (id, or the id
        of one of its rows), looked for in this order. With `execution` only in that one: a route of it,
        then a message.

        Raises `SubjectNotFoundError`, `ExecutionNotFoundError` for an unknown `execution`, and
        `LineageUnavailableError` when only lineage could tell.
        """
        if execution is not None:
            row = await self._executions.get(execution)
            if subject in {row.execution_id, row.tag}:
                return await self.execution(subject)
            if has_route(row, subject):
                return await self._of("route", subject, row)
            return await self._of("message", subject, row)
        try:
            return await self.execution(subject)
        except ExecutionNotFoundError:
            pass
        try:
            return await self.route(subject)
        except SubjectNotFoundError:
            return await self.message(subject)

    async def execution(self, id_or_tag: str) -> Answer:
        """Answer for an execution. Raises `ExecutionNotFoundError`."""
        row = await self._executions.get(id_or_tag)
        return await self._of("execution", row.execution_id, row)

    async def _of(self, kind: SubjectKind, subject: str, row: PipelineExecution) -> Answer:
        """Answer for a subject in an execution: as the server says that runs it, if that is another one and
        answers."""
        asked = await self._owners.ask(kind, subject, row)
        if asked.answer is not None:
            return asked.answer
        return await self._answer_here(kind, subject, row, asked.silent)

    async def _answer_here(
        self, kind: SubjectKind, subject: str, row: PipelineExecution, silent: str | None = None
    ) -> Answer:
        """Answer by what this server can find out; `silent` is the one that runs it and did not answer."""
        facts = await self._gatherer.execution(row, silent)
        if kind == "route":
            return _route_answer(subject, facts)
        if kind == "message":
            return await self._message_in(facts, subject)
        return Answer(
            kind="execution",
            subject=facts.id,
            execution_id=facts.id,
            status=facts.status,
            summary=execution_causes.summary(facts),
            as_of=facts.now,
            causes=execution_causes.execution_causes(facts),
        )

    async def route(self, route_id: str, execution: str | None = None) -> Answer:
        """Answer for a route, in one execution or in all that run it. Raises `SubjectNotFoundError`, also
        for one that nobody runs and nobody has paused, and `ExecutionNotFoundError`."""
        if execution is not None:
            row = await self._executions.get(execution)
            if not has_route(row, route_id):
                named = row.tag or row.execution_id
                raise SubjectNotFoundError(route_id, f" in execution {named}")
            return await self._of("route", route_id, row)
        running = [
            await self._of("route", route_id, await self._executions.get(execution_id))
            for execution_id in await self._runtimes.running(route_id)
        ]
        running = [answer for answer in running if answer.status != "stopped"]
        if len(running) == 1:
            return running[0]
        pause = (await self._gatherer.pauses()).get(route_id)
        if not running and pause is None:
            raise SubjectNotFoundError(route_id)
        where = counted(len(running), "running execution") if running else "no execution now"
        return Answer(
            kind="route",
            subject=route_id,
            execution_id=None,
            status="paused" if pause is not None else "running",
            summary=f"route {route_id} runs in {where}",
            as_of=self._gatherer.now(),
            causes=tuple(cause for answer in running for cause in answer.causes)
            or ((pause_cause(route_id, pause),) if pause is not None else ()),
        )

    async def message(self, message_or_row: str) -> Answer:
        """Answer for a message, by its id or one of its rows'. Raises `SubjectNotFoundError` and
        `LineageUnavailableError`."""
        trouble: LineageUnavailableError | None = None
        try:
            row = await self._gatherer.lineage.get(message_or_row)
        except LineageNotFoundError:
            pass
        except LineageUnavailableError as error:
            trouble = error
        else:
            return await self._of_row(row)
        for execution in await self._with_queues():
            try:
                place = await self._gatherer.find(execution, message_or_row)
            except QueueUnavailableError:
                break
            if place is not None:
                return await self._of("message", message_or_row, execution)
        raise trouble or SubjectNotFoundError(message_or_row)

    async def _with_queues(self) -> list[PipelineExecution]:
        running = [await self._executions.get(each) for each in await self._runtimes.running()]
        return [*running, *await self._executions.interrupted()]

    async def _of_row(self, row: PipelineLineageEntry) -> Answer:
        try:
            execution = await self._executions.get(row.execution_id)
        except ExecutionNotFoundError:
            raise SubjectNotFoundError(row.message_id, ": its execution is gone") from None
        return await self._of("message", row.message_id, execution)

    async def _message_in(self, execution: ExecutionFacts, message_or_row: str) -> Answer:
        message_id = message_or_row
        # What lineage does not know, the queue or a record may know all the same.
        with contextlib.suppress(LineageNotFoundError, LineageUnavailableError):
            message_id = (await self._gatherer.lineage.get(message_or_row)).message_id
        facts = await message_facts(self._gatherer, execution, message_id)
        if facts is None:
            raise SubjectNotFoundError(message_or_row, f" in execution {execution.name}")
        return Answer(
            kind="message",
            subject=message_id,
            execution_id=execution.id,
            status=message_causes.status(facts),
            summary=message_causes.summary(facts),
            as_of=execution.now,
            causes=message_causes.message_causes(facts),
        )


def _route_answer(route_id: str, facts: ExecutionFacts) -> Answer:
    """Answer for a route of an execution, whether it runs or not."""
    words = f"route {route_id} of execution {facts.name}, which is {facts.status}"
    route = facts.routes.get(route_id)
    failed = [group for group in facts.failures if group.route_id == route_id]
    if route is not None:
        now = route.runtime
        words += f": {now.ready} waiting, {now.in_flight} in hand, {now.delayed} delayed"
        causes = route_causes(facts, route_id)
    else:
        causes = execution_causes.execution_causes(facts)
        causes = tuple(each for each in causes if each.code != "messages_failed" or not failed)
    unknown: RouteState = "stopped" if facts.silent_owner is None else "running"
    state = unknown if route is None else route.runtime.state
    return Answer(
        kind="route",
        subject=route_id,
        execution_id=facts.id,
        status=state,
        summary=words,
        as_of=facts.now,
        causes=(*causes, *group_causes(failed, facts.id)),
    )
