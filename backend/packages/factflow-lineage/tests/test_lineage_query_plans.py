"""No question reads more rows than it shows: the plans that SQLite makes for what is asked."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_foundation.records import ErrorInfo
from factflow_lineage import (
    LineageFilter,
    LineageService,
    PipelineLineageEntry,
    PipelineLineageRepository,
)
from factflow_lineage.cursor import Position, encode
from factflow_lineage.deletion import delete_step

Question = Callable[[PipelineLineageRepository], Awaitable[Any]]
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def asked(
    open_engine: Callable[[], AsyncEngine],
    service: LineageService,
    make_entry: Callable[..., PipelineLineageEntry],
) -> tuple[PipelineLineageRepository, list[tuple[str, Any]]]:
    """A repository over a few rows, and the statements it sends."""
    service.record(make_entry("root", stage="expand", expected_children=2, batch_id="batch"))
    service.record(make_entry("done"))
    for name, status in (("a", "failed"), ("b", "processing")):
        error = ErrorInfo("TimeoutError", "slow") if status == "failed" else None
        service.record(make_entry(name, parent_id="root", status=status, error=error))
    assert await service.flush()
    sent: list[tuple[str, Any]] = []
    engine = open_engine()

    @sa.event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        sent.append((statement, values))

    return PipelineLineageRepository(engine), sent


def _listing(**conditions: Any) -> Question:
    return lambda repository: repository.list(LineageFilter(**conditions))


def _totals(**conditions: Any) -> Question:
    return lambda repository: repository.totals(LineageFilter(**conditions))


def _plan(path: Path, statement: str, values: Any) -> list[str]:
    with sqlite3.connect(path) as connection:
        connection.create_function("lower", 1, str.lower, deterministic=True)
        found = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return [row[3] for row in found]


@on_sqlite
@pytest.mark.parametrize(
    ("question", "index"),
    [
        (_listing(), "by_time"),
        (_listing(sort_order="desc"), "by_time"),
        (_listing(started_after=1.0, started_before=2e9), "by_time"),
        (_listing(execution_id="exec"), "by_execution"),
        (_listing(execution_id="exec", sort_order="desc"), "by_execution"),
        (_listing(execution_id="exec", started_after=1.0), "by_execution"),
        (_listing(execution_id="exec", status="completed"), "by_execution"),
        (_listing(execution_id="exec", status="failed"), "failed_by_start"),
        (_listing(execution_id="exec", status="processing"), "unfinished"),
        (_listing(execution_id="exec", error_type="TimeoutError"), "with_error"),
        (_listing(execution_id="exec", is_root=True), "roots"),
        (_listing(is_root=True), "all_roots"),
        (_listing(execution_id="exec", is_root=False), "by_execution"),
        (_listing(stage="fetch"), "by_stage"),
        (_listing(execution_id="exec", stage="fetch"), "by_stage"),
        (_listing(execution_id="exec", route_id="crawl"), "by_stage"),
        (_listing(url="a"), "by_time"),
        (_listing(outcome="stored", started_after=1.0), "by_time"),
        (_listing(execution_id="exec", title="a"), "by_execution"),
        (_listing(execution_id="exec", stage="fetch", status="failed"), "failed_by_start"),
        (_listing(execution_id="exec", stage="fetch", started_after=1.0), "by_stage"),
        (_listing(cursor=encode("start asc", Position(1.0, 1))), "by_time"),
        (
            _listing(execution_id="exec", cursor=encode("start asc", Position(1.0, 1))),
            "by_execution",
        ),
        (_listing(batch_id="batch"), "by_batch"),
        (_listing(message_id="message-a"), "by_message"),
        (_listing(execution_id="exec", message_id="message-a"), "by_message"),
        (_totals(started_after=1.0), "by_time"),
        (_totals(execution_id="exec", started_after=1.0), "by_execution"),
        (_totals(execution_id="exec", status="processing"), "unfinished"),
        (_totals(stage="fetch", status="completed"), "by_stage"),
        (lambda repository: repository.failures(), "failed"),
        (lambda repository: repository.failures(LineageFilter(execution_id="exec")), "failed_in"),
        (lambda repository: repository.get("a"), "by_id"),
        (lambda repository: repository.get("message-a"), "by_message"),
        (lambda repository: repository.chain("root"), "by_parent"),
        (lambda repository: repository.children("root"), "by_parent"),
    ],
)
async def test_each_question_has_its_index(
    asked: tuple[PipelineLineageRepository, list[tuple[str, Any]]],
    path: Path,
    question: Question,
    index: str,
) -> None:
    """The index that fits is read, in its order; nowhere are all rows looked at."""
    repository, sent = asked
    await question(repository)
    plans = [_plan(path, *one) for one in sent if "lineage_rows" in one[0]]
    used = {name for plan in plans for name in re.findall(r"lineage_rows_(\w+)", " ".join(plan))}
    assert index in used, plans
    for plan in plans:
        unindexed = [step for step in plan if re.match(r"SCAN (lineage_rows|following)$", step)]
        assert not unindexed, plan


@on_sqlite
async def test_counting_by_stage_and_status_looks_at_no_row(
    asked: tuple[PipelineLineageRepository, list[tuple[str, Any]]],
) -> None:
    """A page without matches asks the counters only, and so do statistics by place."""
    repository, sent = asked
    for status in ("pending", "cancelled"):
        page = await repository.list(
            LineageFilter(execution_id="exec", stage="fetch", adapter="web_scraper", status=status)
        )
        assert page.total == 0
    for question in (_totals(), _totals(execution_id="exec"), _totals(route_id="r", adapter="a")):
        await question(repository)
    assert sent
    assert not [statement for statement, _ in sent if "lineage_rows" in statement]


@on_sqlite
async def test_a_step_of_a_deletion_takes_its_rows_from_an_index_in_order(
    service: LineageService,
    make_entry: Callable[..., PipelineLineageEntry],
    open_engine: Callable[[], AsyncEngine],
    path: Path,
) -> None:
    """A sort of all rows that are left, at each step, takes hours for ten million."""
    service.record(make_entry("a"))
    assert await service.flush()
    sent: list[tuple[str, Any]] = []
    engine = open_engine()

    @sa.event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        sent.append((statement, values))

    async with engine.connect() as connection:
        assert await delete_step(connection, "exec") == 1
        await connection.rollback()
    plans = [_plan(path, *one) for one in sent if "lineage_rows" in one[0]]
    assert plans
    for plan in plans:
        assert any("lineage_rows_by_execution (execution_number=?)" in step for step in plan), plan
        assert not [step for step in plan if "TEMP B-TREE" in step], plan
