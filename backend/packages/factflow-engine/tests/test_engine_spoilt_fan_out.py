"""A fan-out that fails leaves nothing of itself behind, and its next attempt finds its place clean."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine.outcome_store import OutcomeStore
from factflow_foundation import keys
from factflow_testing.engine import EngineUnderTest, engine_in

CHILDREN = 330
PIPELINE = """
version: "1.0"
routes:
  r:
    inbound: {queue: q}
    adapters: [{type: spoilt_fan, config: {count: COUNT, how: HOW, until_attempt: UNTIL}}, {type: echo}]
    error_handling: {max_retries: 2, retry_delay_seconds: 0}
init_message: {route: r}
"""


def pipeline(how: str, until: int = 9) -> str:
    return PIPELINE.replace("COUNT", str(CHILDREN)).replace("HOW", how).replace("UNTIL", str(until))


@pytest.fixture(params=[False, True], ids=["plain", "packed"])
async def engine(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[EngineUnderTest]:
    monkeypatch.setattr("factflow_engine.fan_out.CHILDREN_PER_OBJECT", 128)
    async with engine_in(
        tmp_path, packed=request.param, max_artefact_bytes=50_000, max_metadata_bytes=50_000
    ) as opened:
        yield opened


async def objects(engine: EngineUnderTest, execution: str) -> set[str]:
    prefix = keys.execution_prefix(execution)
    found = [item.key async for item in engine.storage.list(prefix)]
    return {key for key in found if keys.is_stage_key(execution, key)}


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("raise", "ValueError"),
        ("large", "ArtefactTooLargeError"),
        ("metadata", "MetadataTooLargeError"),
    ],
)
async def test_what_was_stored_of_it_goes_when_it_fails(
    engine: EngineUnderTest, how: str, error: str
) -> None:
    """Children in lists of their own, those listed nowhere yet, and those being written."""
    execution, final = await engine.run(pipeline(how))
    assert (final.status, final.progress.announced) == ("failed", 1)
    [record] = await engine.records(execution, "r", "spoilt_fan")
    assert record.error is not None
    assert (record.outcome, record.error.type, record.children) == ("failed", error, [])
    assert await objects(engine, execution) == set()


async def test_the_next_attempt_is_what_counts(engine: EngineUnderTest) -> None:
    """Its children have the names that those of the last attempt had, and none of their payloads."""
    execution, final = await engine.run(pipeline("raise", until=3))
    assert (final.status, final.progress.announced) == ("completed", 1 + CHILDREN)
    outputs = await engine.outputs(execution, "r", "echo")
    assert sorted((each["n"], each["attempt"]) for each in outputs) == [
        (number, 3) for number in range(CHILDREN)
    ]
    [record] = await engine.records(execution, "r", "spoilt_fan")
    named = set(record.children_keys)
    async for part in OutcomeStore(engine.storage).children(record):
        named |= {child.input_key for child in part}
    named |= {str(each.output_key) for each in await engine.records(execution, "r", "echo")}
    assert await objects(engine, execution) == named
