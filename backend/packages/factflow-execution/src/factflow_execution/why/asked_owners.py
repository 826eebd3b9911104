"""Has the server that runs an execution say why: it knows what others cannot see."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import PipelineExecution
from factflow_execution.runtimes import OtherServers
from factflow_execution.why.causes import Answer, SubjectKind

WHY = "why"
"""The kind of question that is answered with an `Answer`."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The owner's answer; without one, `silent` is the owner, if there is any but this server."""

    answer: Answer | None = None
    silent: str | None = None


class AskedOwners:
    """Asks owners, and answers with `answer_here` when this server is asked as one."""

    def __init__(
        self,
        executions: ExecutionService,
        others: OtherServers | None,
        answer_here: Callable[[SubjectKind, str, PipelineExecution], Awaitable[Answer]],
    ) -> None:
        self._executions = executions
        self._others = others
        self._answer_here = answer_here
        if others is not None:
            others.questions.answerers[WHY] = self._answer

    async def ask(self, kind: SubjectKind, subject: str, row: PipelineExecution) -> Asked:
        """Ask the server that runs an execution, unless that is this one."""
        others, execution_id = self._others, row.execution_id
        if others is None or row.status not in {"running", "interrupted"}:
            return Asked()
        owner = await others.owner_of(execution_id)
        if owner is None or execution_id in self._executions.here():
            return Asked()
        answer = await others.ask(owner, WHY, execution_id, kind=kind, subject=subject)
        if answer is None:
            return Asked(silent=owner)
        return Asked(msgspec.json.decode(answer, type=Answer))

    async def _answer(self, execution_id: str, parameters: Mapping[str, Any]) -> str:
        row = await self._executions.get(execution_id)
        answer = await self._answer_here(parameters["kind"], parameters["subject"], row)
        return msgspec.json.encode(answer).decode()
