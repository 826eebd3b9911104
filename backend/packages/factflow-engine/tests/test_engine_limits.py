"""Limits of a stage fail the message that passes them, each with an error of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine.outcome_store import ArtefactTooLargeError, OutcomeStore
from factflow_engine.stage import StageTimeoutError
from factflow_foundation import keys
from factflow_protocols.errors import PermanentError, TransientError
from factflow_testing.engine import EngineUnderTest, engine_in

PIPELINE = """
version: "1.0"
routes:
  r:
    inbound: {queue: q}
    adapters: [{type: fan, config: {count: 2}}, {type: STAGE}]
    error_handling: {max_retries: RETRIES, retry_delay_seconds: 0}
init_message: {route: r}
"""


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path, max_artefact_bytes=200) as opened:
        yield opened


async def test_a_stage_that_takes_too_long_names_its_time_limit(engine: EngineUnderTest) -> None:
    text = PIPELINE.replace("STAGE", "hang, timeout_seconds: 0.01").replace("RETRIES", "1")
    execution, final = await engine.run(text)
    assert final.progress.failed == 2
    for record in await engine.records(execution, "r", "hang"):
        assert record.error is not None
        assert (record.error.type, record.attempts) == ("StageTimeoutError", 2)
        assert "'hang' did not answer within 0.01 s" in record.error.message
    assert issubclass(StageTimeoutError, TransientError)


async def test_an_artefact_over_the_limit_fails_its_message_and_is_not_written(
    engine: EngineUnderTest,
) -> None:
    stage = f"echo, config: {{fields: {{long: {'x' * 250}}}}}"
    execution, final = await engine.run(PIPELINE.replace("STAGE", stage).replace("RETRIES", "3"))
    assert final.progress.failed == 2
    records = await engine.records(execution, "r", "echo")
    assert [(r.error.type if r.error else "", r.attempts) for r in records] == [
        ("ArtefactTooLargeError", 1)
    ] * 2
    prefix = keys.stage_prefix(execution, "r", "echo")
    assert [item async for item in engine.storage.list(prefix)] == []


async def test_the_limit_itself_is_allowed_and_one_byte_more_is_not(
    engine: EngineUnderTest,
) -> None:
    store = OutcomeStore(engine.storage, 10)
    with pytest.raises(ArtefactTooLargeError, match="of 11 bytes; the server stores up to 10") as e:
        store.encode("x" * 11, None)
    assert (e.value.code, isinstance(e.value, PermanentError)) == ("artefact_too_large", True)
    assert store.encode("x" * 10, None).data == b"x" * 10
