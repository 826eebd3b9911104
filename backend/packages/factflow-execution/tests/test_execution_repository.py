from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.errors import TagTakenError
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.models import ExecutionStatus, PipelineExecution


def execution(number: int = 1, **changes: object) -> PipelineExecution:
    fields: dict[str, object] = {
        "execution_id": f"execution-{number}",
        "config_id": "config-1",
        "config_name": "pipeline",
        "config_version": 1,
        "config_hash": "1" * 64,
        "config_snapshot": "routes: {}\n",
        "status": "running",
        "started_at": 1000.0 + number,
    }
    return PipelineExecution(**(fields | changes))  # type: ignore[arg-type]  # its own fields


@pytest.fixture
def repository(engine: AsyncEngine) -> ExecutionRepository:
    return ExecutionRepository(engine)


async def test_an_execution_is_found_by_id_and_by_tag(repository: ExecutionRepository) -> None:
    stored = execution(
        tag="nightly",
        metadata={"ticket": 7},
        replay_source={"from_stage": "clean"},
        parent_execution_id="execution-0",
        source="replay",
    )
    await repository.insert(stored)
    assert await repository.get("execution-1") == stored
    assert await repository.get("nightly") == stored
    assert await repository.get("weekly") is None


async def test_a_tag_is_given_once(repository: ExecutionRepository) -> None:
    await repository.insert(execution(1, tag="nightly"))
    with pytest.raises(TagTakenError, match="nightly"):
        await repository.insert(execution(2, tag="nightly"))
    assert await repository.get("execution-2") is None


async def test_listing_reads_no_yaml_and_has_its_index(
    repository: ExecutionRepository, engine: AsyncEngine
) -> None:
    """Texts of megabytes stay where they are; neither order nor page makes all rows be read."""
    await repository.insert(execution(1))
    sent: list[tuple[str, Any]] = []
    sa.event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda _c, _cursor, statement, values, *_: sent.append((statement, values)),
    )
    for status in (None, "running"):
        assert (await repository.list(status, 10, 0)).total == 1
    asked = [one for one in sent if "pipeline_execution" in one[0]]
    assert asked
    assert not any("config_snapshot" in statement for statement, _ in asked)
    if engine.dialect.name == "postgresql":
        return  # it judges by what the tables hold
    async with engine.connect() as connection:
        for statement, values in asked:
            explained = f"EXPLAIN QUERY PLAN {statement}"
            found = (await connection.exec_driver_sql(explained, values)).all()
            plan = [str(tuple(row)[-1]) for row in found]
            assert all("INDEX" in step for step in plan), plan


async def test_listing_is_newest_first_and_equal_times_go_by_id(
    repository: ExecutionRepository,
) -> None:
    await repository.insert(execution(1))
    await repository.insert(execution(3, started_at=1002.0))
    await repository.insert(execution(2))
    page = await repository.list(None, 10, 0)
    assert [row.execution_id for row in page.rows] == [
        "execution-3",
        "execution-2",
        "execution-1",
    ]


async def test_listing_by_status_counts_only_those(repository: ExecutionRepository) -> None:
    for number in range(1, 4):
        await repository.insert(execution(number))
    await repository.move("execution-2", "failed")
    page = await repository.list("failed", 10, 0)
    assert [row.execution_id for row in page.rows] == ["execution-2"]
    assert page.total == 1
    assert await repository.with_status("running") == ["execution-1", "execution-3"]


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_the_first_end_stands(repository: ExecutionRepository, end: ExecutionStatus) -> None:
    await repository.insert(execution())
    assert await repository.move("execution-1", end, completed_at=5.0, message_count=3)
    for later in ("completed", "failed", "cancelled", "interrupted", "running"):
        assert not await repository.move("execution-1", later, completed_at=9.0)
    stored = await repository.get("execution-1")
    assert stored is not None
    assert (stored.status, stored.completed_at, stored.message_count) == (end, 5.0, 3)


async def test_an_interrupted_execution_may_run_again(repository: ExecutionRepository) -> None:
    await repository.insert(execution())
    assert await repository.move("execution-1", "interrupted", completed_at=5.0)
    assert not await repository.move("execution-1", "completed")
    assert await repository.move("execution-1", "running", completed_at=None)


async def test_of_many_ends_at_once_one_wins(repository: ExecutionRepository) -> None:
    await repository.insert(execution())
    ends: list[ExecutionStatus] = ["completed", "failed", "cancelled"]  # no way leads from one on
    won = await asyncio.gather(*(repository.move("execution-1", end) for end in ends))
    assert sum(won) == 1
    stored = await repository.get("execution-1")
    assert stored is not None
    assert stored.status == ends[won.index(True)]


async def test_a_move_of_nobody_changes_nothing(repository: ExecutionRepository) -> None:
    assert not await repository.move("execution-9", "failed")
