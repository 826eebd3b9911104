"""Trouble: an adapter's own, and ours. One message may suffer from the first, none from the second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_foundation import ids, keys
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.storage import StorageProtocol
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.faulty_storage import FaultyStorage
from factflow_testing.waiting import eventually

STAGE = """
version: "1.0"
routes:
  r:
    inbound: {queue: q}
    adapters:
      - {type: misbehave, config: {how: HOW}}
init_message: {route: r, payload: {n: 1}}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


async def misbehave(engine: EngineUnderTest, how: str) -> OutcomeRecord:
    execution, _ = await engine.run(STAGE.replace("HOW", how), {"n": 1})
    (record,) = await engine.records(execution, "r", "misbehave")
    return record


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("exit", "3"),
        ("cancel", "cancelled from within"),
        ("rubbish", "returned dict; an adapter returns an AdapterResult or None"),
        ("unjsonable", "payload that JSON cannot hold"),
        ("metadata", "metadata that JSON cannot hold"),
    ],
)
async def test_what_an_adapter_does_wrong_fails_its_message_only(
    engine: EngineUnderTest, how: str, said: str
) -> None:
    record = await misbehave(engine, how)
    assert record.outcome == "failed"
    assert record.error is not None
    assert said in record.error.message
    _, final = await engine.run(STAGE.replace("HOW", "nothing"), {"n": 1})
    assert final.status == "completed"


TWO_ROUTES = """
version: "1.0"
routes:
  first:
    inbound: {queue: a}
    adapters: [{type: echo, stage: one}]
    outbound: b
  second:
    inbound: {queue: b}
    adapters: [{type: echo, stage: two}]
init_message: {route: first, payload: {}}
"""


async def test_what_a_try_left_that_died_before_its_record_is_nobody_s_input(
    engine: EngineUnderTest,
) -> None:
    """The artefact that counts lies beside it, and that is what the next route starts from."""
    execution = ids.execution_id()
    message = ids.message_id(execution, ids.init_origin("first"))
    left = f"{keys.stage_key(execution, 'first', 'one', message)}.json"
    await engine.storage.write(left, b'{"text": "of the try that died"}')
    payload = {"text": "longer than what rides along " * 500}
    await engine.start(TWO_ROUTES, payload, execution_id=execution)
    assert (await engine.end(execution)).status == "completed"
    assert await engine.outputs(execution, "second", "two") == [payload]
    (record,) = await engine.records(execution, "first", "one")
    assert record.output_key == f"{left.removesuffix('.json')}~2.json"
    assert record.children[0].input_key == record.output_key


def everything_stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_a_secret_from_the_environment_reaches_no_record(
    engine: EngineUnderTest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "hunter2-very-secret")
    record = await misbehave(engine, 'leak, token: "${SOME_TOKEN}"')
    assert record.error is not None
    assert "refused with token ${SOME_TOKEN}" in record.error.message
    assert "factflow_engine" not in record.error.traceback  # the adapter's frames, not ours
    assert "in process" in record.error.traceback
    await engine.lineage.flush()
    assert b"hunter2" not in everything_stored(tmp_path)


async def test_an_adapter_that_holds_the_loop_is_named(engine: EngineUnderTest) -> None:
    await misbehave(engine, "stall")
    stall = engine.manager.last_stall
    assert stall is not None
    assert stall.stage == "r/misbehave"


FAN = """
version: "1.0"
routes:
  r:
    inbound: {queue: q}
    adapters:
      - {type: fan, config: {count: 8}}
      - {type: echo}
init_message: {route: r}
"""


async def test_a_full_disk_holds_the_route_and_costs_no_message(tmp_path: Path) -> None:
    stores: list[FaultyStorage] = []

    def wrap(store: StorageProtocol) -> StorageProtocol:
        stores.append(FaultyStorage(store))
        return stores[0]

    async with engine_in(tmp_path, wrap_storage=wrap) as engine:
        stores[0].full = True
        execution = await engine.start(FAN)
        holding = await eventually(engine.manager.holding)
        assert "no space left" in holding[execution]["r"]
        stores[0].full = False
        final = await engine.end(execution)
        assert (final.status, final.progress.failed) == ("completed", 0)
        assert {r.attempts for r in await engine.records(execution, "r", "echo")} == {1}
        assert stores[0].refused > 0


MANY = FAN.replace("count: 8", "count: 201")
"""So many that the record names them in a list of its own."""


async def test_a_store_away_while_children_are_announced_costs_no_message(tmp_path: Path) -> None:
    stores: list[FaultyStorage] = []

    def wrap(store: StorageProtocol) -> StorageProtocol:
        stores.append(FaultyStorage(store, at="~children-"))
        return stores[0]

    async with engine_in(tmp_path, wrap_storage=wrap) as engine:
        stores[0].away = True
        execution = await engine.start(MANY)
        holding = await eventually(engine.manager.holding)
        assert "does not answer" in holding[execution]["r"]
        stores[0].away = False
        final = await engine.end(execution)
        assert (final.status, final.progress.announced) == ("completed", 202)


class RottenLists(FaultyStorage):
    """A store whose lists of children have lost bytes."""

    async def read(self, key: str) -> bytes:
        data = await super().read(key)
        return data[:-9] if "~children-" in key else data


async def test_a_list_of_children_that_cannot_be_read_fails_its_message(tmp_path: Path) -> None:
    async with engine_in(tmp_path, wrap_storage=RottenLists) as engine:
        execution, final = await engine.run(MANY)
        assert (final.status, final.error) == ("failed", None)
        assert (final.progress.announced, final.progress.failed) == (1, 1)
        (row,) = await engine.lineage_rows(execution)
        assert row.status == "failed"
        assert row.error is not None
        assert f"executions/{execution}/r/fan/" in row.error.message


async def test_a_lost_lineage_database_stops_nothing(tmp_path: Path) -> None:
    async with engine_in(tmp_path) as engine:
        for name in ("lineage.db", "lineage.db-wal", "lineage.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
            (tmp_path / name).mkdir()
        execution, final = await engine.run(FAN)
        assert final.status == "completed"
        assert len(await engine.records(execution, "r", "echo")) == 8
