"""The numbers that rows carry in place of the names of their execution, route, stage and adapter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.statements import Statements
from factflow_lineage.tables import ROWS_PER_BLOCK


class StageOfExecution(NamedTuple):
    """What a row of counters is about."""

    execution_id: str
    route_id: str
    stage: str
    adapter: str


class StageNumber(NamedTuple):
    """A stage's number, its execution's, and the block of the execution's rows."""

    number: int
    execution_number: int
    block: int


def stage_of(entry: PipelineLineageEntry) -> StageOfExecution:
    """Return which stage an entry is about."""
    return StageOfExecution(entry.execution_id, entry.route_id, entry.stage, entry.adapter)


def number_stages(
    statements: Statements, wanted: Iterable[StageOfExecution]
) -> dict[StageOfExecution, StageNumber]:
    """Return the numbers of stages; those that have none yet get theirs."""
    numbers: dict[StageOfExecution, StageNumber] = {}
    known: dict[str, tuple[int, int]] = {}
    for stage in dict.fromkeys(wanted):
        execution = known.get(stage.execution_id)
        if execution is None:
            execution = known[stage.execution_id] = _execution(statements, stage.execution_id)
        numbers[stage] = StageNumber(_number(statements, stage, execution[0]), *execution)
    return numbers


def _execution(statements: Statements, execution_id: str) -> tuple[int, int]:
    """Return an execution's number and block; a new one goes to the block of the newest rows."""
    found = statements.fetch(
        "SELECT number, block FROM lineage_executions WHERE execution_id = ?", [execution_id]
    ) or statements.fetch(
        "INSERT INTO lineage_executions (execution_id, block) "
        "SELECT ?, coalesce(max(number), 0) / ? FROM lineage_rows RETURNING number, block",
        [execution_id, ROWS_PER_BLOCK],
    )
    number, block = found[0]
    return number, block


def _number(statements: Statements, stage: StageOfExecution, execution_number: int) -> int:
    values = [execution_number, stage.route_id, stage.stage, stage.adapter]
    found = statements.fetch(
        "SELECT number FROM lineage_stages "
        "WHERE execution_number = ? AND route_id = ? AND stage = ? AND adapter = ?",
        values,
    ) or statements.fetch(
        "INSERT INTO lineage_stages (execution_number, route_id, stage, adapter) "
        "VALUES (?, ?, ?, ?) RETURNING number",
        values,
    )
    return int(found[0][0])
