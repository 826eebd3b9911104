"""A failed message whose dead-letter queue no route consumes is kept as a copy, and runs nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from factflow_foundation import keys
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.storage import StorageProtocol
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.faulty_storage import FaultyStorage
from factflow_testing.waiting import eventually


def pipeline(queue: str, retries: int = 0, more: str = "") -> str:
    return f"""
version: "1.0"
error_handling:
  dead_letter_queue: {queue}
  max_retries: {retries}
  retry_delay_seconds: 0
routes:
  r:
    inbound: {{queue: q}}
    adapters:
      - {{type: fan}}
      - {{type: fail, config: {{numbers: [1]}}}}
{more}
init_message: {{route: r}}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


async def failed_record(engine: EngineUnderTest, execution: str) -> OutcomeRecord:
    (failed,) = [r for r in await engine.records(execution, "r", "fail") if r.error]
    return failed


async def letters(engine: EngineUnderTest, execution: str) -> list[str]:
    return [item.key async for item in engine.storage.list(f"executions/{execution}/_dead")]


async def test_the_copy_is_the_input_and_its_sidecar_tells_what_went_wrong_where(
    engine: EngineUnderTest,
) -> None:
    execution, final = await engine.run(pipeline("/queue/dead", retries=1))
    assert (final.status, final.progress.failed, final.progress.announced) == ("failed", 1, 4)
    failed = await failed_record(engine, execution)
    assert failed.children == []
    key = f"executions/{execution}/_dead/%2Fqueue%2Fdead/{failed.message_id}.json"
    assert await letters(engine, execution) == [key]
    copy = await engine.storage.read(key)
    assert copy == await engine.storage.read(failed.input_key or "")
    told: dict[str, Any] = await engine.storage.metadata(key)
    assert told["error"]["type"] == "ValueError"
    assert told["error"]["message"] == "made to fail"
    assert (told["failed_route"], told["failed_stage"], told["attempts"]) == ("r", "fail", 2)
    assert (told["input_key"], told["input_hash"]) == (failed.input_key, failed.input_hash)
    assert told["output_hash"] == hashlib.sha256(copy).hexdigest()
    assert told["dead_letter_queue"] == "/queue/dead"


async def test_lineage_made_from_records_does_not_take_a_copy_for_an_outcome(
    engine: EngineUnderTest,
) -> None:
    from factflow_engine.config.graph import PipelineGraph
    from factflow_engine.config.loader import PipelineConfigLoader
    from factflow_engine.lineage_rows import rebuild_rows
    from factflow_engine.outcome_store import OutcomeStore

    text = pipeline("dead")
    execution, _ = await engine.run(text)
    graph = PipelineGraph(PipelineConfigLoader(engine.registry).load(text, "test.yaml"))
    rebuilt = await rebuild_rows(execution, graph, OutcomeStore(engine.storage), engine.lineage)
    assert (rebuilt.rows, rebuilt.damaged) == (4, ())


async def test_no_copy_where_a_route_consumes_the_queue_or_nothing_failed(
    engine: EngineUnderTest,
) -> None:
    reader = "  l:\n    inbound: {queue: dead}\n    adapters: [{type: echo}]"
    execution, _ = await engine.run(pipeline("dead", more=reader))
    assert await letters(engine, execution) == []
    assert len(await engine.records(execution, "l", "echo")) == 1


async def test_a_copy_that_stands_already_is_left_alone(tmp_path: Path) -> None:
    """What a handling that died before its settle left: the repeat finds it and goes on."""
    store: list[StorageProtocol] = []

    def note(real: StorageProtocol) -> StorageProtocol:
        store.append(real)
        return real

    async with engine_in(tmp_path, wrap_storage=note) as engine:
        from factflow_foundation import ids

        execution = ids.execution_id()
        origin = ids.child_origin(ids.init_origin("r"), "r", "fan", "q", "=item-1")
        message = ids.message_id(execution, origin)
        key = keys.dead_letter_key(execution, "dead", message)
        await store[0].write(key, b"first", {"kept": "first"}, extension=".json")
        await engine.start(pipeline("dead"), execution_id=execution)
        assert (await engine.end(execution)).status == "failed"
        assert (await failed_record(engine, execution)).message_id == message
        assert await letters(engine, execution) == [f"{key}.json"]
        assert (await store[0].metadata(key))["kept"] == "first"


async def test_a_full_disk_holds_the_message_until_its_copy_is_kept(tmp_path: Path) -> None:
    stores: list[FaultyStorage] = []

    def wrap(store: StorageProtocol) -> StorageProtocol:
        stores.append(FaultyStorage(store, at="/_dead/"))
        return stores[0]

    async with engine_in(tmp_path, wrap_storage=wrap) as engine:
        stores[0].full = True
        execution = await engine.start(pipeline("dead"))
        holding = await eventually(engine.manager.holding)
        assert "no space left" in holding[execution]["r"]
        assert await letters(engine, execution) == []
        stores[0].full = False
        assert (await engine.end(execution)).status == "failed"
        assert len(await letters(engine, execution)) == 1
