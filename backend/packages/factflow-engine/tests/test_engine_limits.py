"""Limits of a stage fail the message that passes them, each with an error of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine.message_metadata import MetadataLimit, MetadataTooLargeError
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


METADATA = """
version: "1.0"
routes:
  r:
    inbound: {queue: q}
    adapters: [{type: tag, config: {own: OWN}}, {type: tagged_fan, config: {sizes: SIZES}}, {type: echo}]
    error_handling: {max_retries: 3, retry_delay_seconds: 0}
init_message: {route: r}
"""


@pytest.mark.parametrize(
    ("own", "sizes", "at"),
    [(100, [100, 10], ""), (301, [], "tag"), (100, [10, 250], "tagged_fan")],
    ids=["within", "of the message", "of a child with what it inherits"],
)
async def test_metadata_over_the_limit_fails_its_message_at_once(
    tmp_path: Path, own: int, sizes: list[int], at: str
) -> None:
    async with engine_in(tmp_path, max_metadata_bytes=300) as engine:
        text = METADATA.replace("OWN", str(own)).replace("SIZES", str(sizes))
        execution, final = await engine.run(text)
        assert final.progress.failed == bool(at)
        if not at:
            assert len(await engine.records(execution, "r", "echo")) == len(sizes)
            return
        [record] = await engine.records(execution, "r", at)
        assert record.error is not None
        assert (record.error.type, record.attempts) == ("MetadataTooLargeError", 1)
        assert "a message may carry up to 300" in record.error.message
        assert await engine.records(execution, "r", "echo") == []


def test_what_is_laid_over_metadata_takes_its_place_in_the_count() -> None:
    limit = MetadataLimit(20)
    own = {"name": "x" * 9}
    assert limit.added(own, {"name": "y" * 9}) == {"name": "y" * 9}  # 20 bytes of JSON
    with pytest.raises(
        MetadataTooLargeError, match="of 21 bytes; a message may carry up to 20"
    ) as e:
        limit.added(own, {"name": "y" * 10})
    assert (e.value.code, isinstance(e.value, PermanentError)) == ("metadata_too_large", True)
    assert limit.added({"name": "x" * 99}, {}) == {}, (
        "what came with the message is not judged again"
    )
