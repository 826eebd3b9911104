"""No question reads many more rows than it shows, in a PostgreSQL database of two hundred thousand."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from factflow_lineage import LineageFilter, PipelineLineageRepository, create_schema
from factflow_lineage.cursor import Position, encode
from factflow_lineage.listing import COUNT_LIMIT

Ask = Callable[[PipelineLineageRepository], Awaitable[Any]]

ROWS = 200_000
MIDDLE = 1_000.0 + ROWS / 2

_FILL = f"""
INSERT INTO lineage_executions SELECT n, CASE n WHEN 1 THEN 'exec' ELSE 'exec' || n END, n / 7
    FROM generate_series(1, 11) AS n;
INSERT INTO lineage_stages
    (number, execution_number, route_id, stage, adapter, completed, failed, waiting)
    SELECT 4 * (execution - 1) + stage, execution, 'crawl', 'stage' || stage, 'adapter' || stage,
        1000, 1000, 500
    FROM generate_series(1, 11) AS execution, generate_series(1, 4) AS stage;
INSERT INTO lineage_rows (number, block, execution_number, stage_number, id, message_id, parent_id,
    parent_number, enters, origin_id, adapter_version, status, unfinished, outcome, attempts, generation,
    output_count, pending_children, error, started_at, completed_at, duration_ms, batch_id, metadata)
SELECT n, execution / 7, execution, 4 * (execution - 1) + n % 4 + 1, decode(md5('row' || n), 'hex'),
    decode(md5('message' || (n - 1) / 4), 'hex'), decode(md5('row' || parent), 'hex'), parent,
    CASE WHEN parent = n - 1 THEN NULL ELSE 1 END,
    decode(md5('origin' || n), 'hex'), '1', CASE WHEN failed THEN 'failed' ELSE 'completed' END,
    CASE WHEN n % 5000 = 7 THEN 1 END, CASE WHEN failed THEN 'failed' ELSE 'stored' END, 1, 1, 1,
    CASE WHEN n % 5000 = 7 THEN 1 ELSE 0 END,
    CASE WHEN failed THEN '{{"type":"TimeoutError","message":"slow","traceback":""}}'::json END,
    1000 + n, 1000 + n, 1.0, CASE WHEN n % 1000 = 1 THEN 'batch' || n / 10000 END,
    json_build_object('url', 'https://example.org/' || n, 'title', 'Page ' || n)
FROM (SELECT n, CASE WHEN n % 2 = 0 THEN 1 ELSE 2 + n / 2 % 10 END AS execution, n % 500 = 3 AS failed,
        CASE n % 4 WHEN 1 THEN CASE WHEN n > 1 AND n % 1000 <> 1 THEN n - n % 1000 + 1 END ELSE n - 1 END
        AS parent
    FROM generate_series(1, {ROWS}) AS n) AS numbered;
"""
"""One large execution and ten smaller ones; messages of four rows, fan-outs of 249, and now and then a
failure, a row that waits and a batch. What is counted is not what there is, as no question looks."""


@pytest.fixture(scope="module")
def filled(postgres_url: str) -> Iterator[str]:
    """The URL of a database whose schema `plans` holds that many rows."""

    async def work(*steps: Callable[[AsyncConnection], Awaitable[Any]]) -> None:
        engine = create_async_engine(postgres_url, connect_args=_in_schema())
        for step in steps:
            async with engine.begin() as connection:
                await step(connection)
        await engine.dispose()

    asyncio.run(work(_make_schema, create_schema, _fill))
    yield postgres_url
    asyncio.run(work(_drop_schema))


async def _make_schema(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("CREATE SCHEMA plans")


async def _drop_schema(connection: AsyncConnection) -> None:
    await connection.exec_driver_sql("DROP SCHEMA plans CASCADE")


async def _fill(connection: AsyncConnection) -> None:
    """Make the rows, and the indexes over them anew, which takes less than filling them does."""
    indexes = await connection.exec_driver_sql(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'plans' "
        "AND tablename = 'lineage_rows' AND indexname <> 'lineage_rows_pkey'"
    )
    names, definitions = zip(*indexes, strict=True)
    await connection.exec_driver_sql("ALTER TABLE lineage_rows SET UNLOGGED")
    await connection.exec_driver_sql(f"DROP INDEX {', '.join(names)}")
    for statement in filter(str.strip, _FILL.split(";\n")):
        await connection.exec_driver_sql(statement)
    for definition in definitions:
        await connection.exec_driver_sql(definition)
    # Of large tables it is mistaken like this.
    await connection.exec_driver_sql(
        "ALTER TABLE lineage_rows ALTER message_id SET (n_distinct = 50), "
        "ALTER parent_number SET (n_distinct = 50)"
    )
    await connection.exec_driver_sql("ANALYZE lineage_rows")


def _in_schema() -> dict[str, Any]:
    return {"server_settings": {"search_path": "plans"}}


@pytest.fixture
async def engine(filled: str) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(filled, connect_args=_in_schema())
    yield engine
    await engine.dispose()


def _listing(**conditions: Any) -> Ask:
    return lambda repository: repository.list(LineageFilter(**conditions))


def _hex(name: str) -> str:
    return hashlib.md5(name.encode()).hexdigest()


_QUESTIONS: list[tuple[str, Ask]] = [
    ("by_time", _listing()),
    ("by_time", _listing(sort_order="desc")),
    ("by_time", _listing(started_after=MIDDLE, started_before=MIDDLE + 5000)),
    ("by_execution", _listing(execution_id="exec")),
    ("by_execution", _listing(execution_id="exec", sort_order="desc")),
    ("by_execution", _listing(execution_id="exec", started_after=MIDDLE)),
    ("by_execution", _listing(execution_id="exec", status="completed")),
    ("failed_by_start", _listing(execution_id="exec3", status="failed")),
    ("unfinished", _listing(execution_id="exec5", status="processing")),
    ("with_error", _listing(execution_id="exec3", error_type="TimeoutError")),
    ("roots", _listing(execution_id="exec3", is_root=True)),
    ("all_roots", _listing(is_root=True)),
    ("by_execution", _listing(execution_id="exec", is_root=False)),
    ("by_stage", _listing(stage="stage2")),
    ("by_stage", _listing(execution_id="exec", stage="stage3")),
    ("by_stage", _listing(execution_id="exec", route_id="crawl")),
    ("by_time", _listing(url="example")),
    ("by_time", _listing(outcome="stored", started_after=MIDDLE)),
    ("by_execution", _listing(execution_id="exec", title="nothing")),
    ("failed_by_start", _listing(execution_id="exec3", stage="stage4", status="failed")),
    ("by_stage", _listing(execution_id="exec", stage="stage3", started_after=MIDDLE)),
    ("by_time", _listing(cursor=encode("start asc", Position(MIDDLE, 1)))),
    (
        "by_execution",
        _listing(execution_id="exec", cursor=encode("start asc", Position(MIDDLE, 1))),
    ),
    ("by_batch", _listing(batch_id="batch7")),
    ("by_message", _listing(message_id=_hex("message12345"))),
    ("by_message", _listing(execution_id="exec", message_id=_hex("message12345"))),
    ("failed", lambda repository: repository.failures()),
    ("failed_in", lambda repository: repository.failures(LineageFilter(execution_id="exec3"))),
    ("failed_in", lambda repository: repository.failure_groups("exec3")),
    ("failed_in", lambda repository: repository.failure_groups("exec3", below=_hex("row1001"))),
    ("unfinished", lambda repository: repository.under_way("exec5", "processing")),
    ("by_id", lambda repository: repository.get(_hex("row150001"))),
    ("by_message", lambda repository: repository.get(_hex("message4711"))),
    ("by_id", lambda repository: repository.of_execution("exec", [_hex("row8"), _hex("row88")])),
    ("by_parent", lambda repository: repository.chain(_hex("row1001"))),
    ("by_parent", lambda repository: repository.children(_hex("row1001"))),
    ("pkey", lambda repository: repository.outcomes("exec", 100_000)),
]


async def test_each_question_has_its_index(engine: AsyncEngine) -> None:
    """The index that fits is read, in its order, and what is read is in proportion to a page."""
    sent: list[tuple[str, Any]] = []

    @sa.event.listens_for(engine.sync_engine, "before_cursor_execute")
    def note(_connection: Any, _cursor: Any, statement: str, values: Any, *_more: Any) -> None:
        sent.append((statement, values))

    repository = PipelineLineageRepository(engine)
    for number, (index, ask) in enumerate(_QUESTIONS):
        sent.clear()
        await ask(repository)
        used: set[str] = set()
        for statement, values in [one for one in sent if "lineage_rows" in one[0]]:
            read = 0
            for scan in await _scans(engine, statement, values):
                used.add(scan.get("Index Name", "").removeprefix("lineage_rows_"))
                looked_at = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
                read += looked_at * scan["Actual Loops"]
            # What is counted, and then the rows of a page.
            assert read <= COUNT_LIMIT + 1 + LineageFilter().limit, (number, index, read, statement)
        assert index in used, (number, index, used)


async def _scans(engine: AsyncEngine, statement: str, values: Any) -> list[dict[str, Any]]:
    """Run a statement, and return the parts of its plan that read the table of rows or its indexes."""
    async with engine.connect() as connection:
        asked = f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {statement}"
        told = (await connection.exec_driver_sql(asked, values)).scalar_one()
    found: list[dict[str, Any]] = []
    (explained,) = json.loads(told) if isinstance(told, str) else told
    assert "JIT" not in explained, "compiling takes longer than all the rest"
    plans = [explained["Plan"]]
    while plans:
        plan = plans.pop()
        assert plan["Node Type"] not in {"Materialize", "Gather", "Gather Merge"}, statement
        plans += plan.get("Plans", [])
        if "lineage_rows" in (plan.get("Relation Name"), plan.get("Index Name", "")[:12]):
            found.append(plan)
    return found
