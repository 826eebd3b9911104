"""`--only failed` finds what failed by names in storage where it can, and takes nothing else for it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from factflow_foundation.records import OutcomeRecord
from factflow_protocols.errors import RecordDamagedError
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import Platform, platform_in

PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start}
    adapters:
      - {type: fan, config: {count: 300}}
      - {type: fail, config: {numbers: [2, 5, 7, 8]}}
      - {type: keep, config: {below: 290}}
      - {type: echo, stage: odd, condition: {field: n, operator: lt, value: 200}}
init_message: {route: first}
"""
SPREAD = """
from factflow_protocols.pipeline import AdapterResult, Emitted, register_adapter_type


@register_adapter_type("spread")
class Spread:
    ends_messages = True

    def __init__(self, config):
        pass

    async def process(self, context):
        n = context.payload["n"]
        if n in (4, 5) and not context.is_replay:
            raise ValueError("made to fail")
        return AdapterResult(emitted=[Emitted({"n": 2 * n + i}) for i in (0, 1) if n < 4])
"""
CYCLE = """
version: "1.0"
routes:
  loop:
    inbound: {queue: again}
    adapters:
      - {type: spread}
    outbound: {queue: again}
init_message: {route: loop, payload: {n: 1}}
"""


class Source:
    """A source that has ended, and what may be done to its files."""

    def __init__(self, platform: Platform, folder: Path, execution: str) -> None:
        self.platform = platform
        self.execution = execution
        self._folder = folder
        self._stage = folder / "storage" / "executions" / execution / "first" / "fail"

    async def load(self) -> None:
        found = await self.platform.engine.records(self.execution, "first", "fail")
        self.by_number = {int(r.metadata["url"].rpartition("/")[2]): r for r in found}

    def path(self, number: int, rest: str) -> Path:
        return self._stage / f"{self.by_number[number].message_id}{rest}"

    def damage(self, number: int) -> None:
        self.path(number, ".meta.json").write_text("{")

    def was_recovered(self) -> None:
        with sqlite3.connect(self._folder / "factflow.db") as database:
            database.execute("update pipeline_execution set recoveries = 1")

    def write_record(self, number: int, rest: str, **changes: Any) -> None:
        record: OutcomeRecord = msgspec.structs.replace(self.by_number[number], **changes)
        self.path(number, rest).write_bytes(msgspec.json.encode(record.to_metadata()))


@pytest.fixture
async def source(platform: Platform, tmp_path: Path) -> Source:
    """300 messages: 4 failed, 10 were filtered, 90 passed the last stage by."""
    execution = (await platform.run(PIPELINE)).execution_id
    made = Source(platform, tmp_path, execution)
    await made.load()
    return made


@pytest.fixture
def run_again(platform: Platform) -> Callable[[ReplayRequest], Any]:
    """Replay with nothing failing any more, and tell which numbers each stage was called for."""

    async def replayed(request: ReplayRequest) -> dict[str, list[int]]:
        result = await platform.replays.replay(request)
        execution = await platform.end(result.execution.execution_id)
        assert execution.status == "completed"
        called = {}
        for stage in ("fan", "fail", "keep", "odd"):
            records = await platform.engine.records(execution.execution_id, "first", stage)
            called[stage] = sorted(int(r.metadata["url"].rpartition("/")[2]) for r in records)
        return called

    return replayed


def only_failed(source: Source, stage: str | None) -> ReplayRequest:
    return ReplayRequest(
        source.execution, stage, only="failed", overrides={"first.fail.numbers": [999]}
    )


@pytest.mark.parametrize("stage", [None, "fail"])
async def test_what_failed_is_found_among_all_that_may_lie_in_a_stage(
    source: Source, run_again: Any, stage: str | None
) -> None:
    # 3 was stored beside what a try left that was killed; 5 failed for want of its record, which is damaged.
    stored = source.path(3, ".json")
    source.path(3, "~2.json").write_bytes(stored.read_bytes())
    name = (source.by_number[3].output_key or "").replace(".json", "~2.json")
    source.write_record(3, ".meta.json", output_key=name)
    source.write_record(5, "~damaged.meta.json")
    source.damage(5)
    # 9 and 10 are two sides of a kill: an artefact without its record, and nothing but an empty record.
    source.path(9, ".meta.json").unlink()
    source.path(10, ".json").unlink()
    source.path(10, ".meta.json").write_bytes(b"")
    # Nobody needs to read what 11 says.
    source.damage(11)
    plan = await source.platform.replays.plan(only_failed(source, stage))
    assert plan.counts.at_stage_failed == plan.messages == 4
    assert await run_again(only_failed(source, stage)) == {
        "fan": [],
        "fail": [2, 5, 7, 8],
        "keep": [2, 5, 7, 8],
        "odd": [2, 5, 7, 8],
    }


@pytest.mark.parametrize("stage", [None, "fail"])
async def test_a_failure_beside_what_an_earlier_try_left_is_found_after_a_recovery(
    source: Source, run_again: Any, stage: str | None
) -> None:
    """The process died between artefact and record; the message was taken up, and failed."""
    source.was_recovered()
    source.path(7, ".json").write_bytes(b'{"n": 7}')
    called = await run_again(only_failed(source, stage))
    assert called["fail"] == [2, 5, 7, 8]
    source.damage(11)
    with pytest.raises(RecordDamagedError):
        await source.platform.replays.plan(only_failed(source, stage))


async def test_those_left_out_are_counted_as_if_they_had_been_read(source: Source) -> None:
    request = only_failed(source, "fail")
    by_name = await source.platform.replays.plan(request)
    assert (by_name.counts.at_stage_failed, by_name.counts.not_failed) == (4, 296)
    source.was_recovered()
    assert await source.platform.replays.plan(request) == by_name
    later = await source.platform.replays.plan(ReplayRequest(source.execution, "keep"))
    assert (later.counts.after_stage, later.counts.filtered) == (286, 10)


async def test_on_a_cycle_a_failure_beside_the_artefact_it_was_sent_with_is_found(
    tmp_path: Path,
) -> None:
    """A stage that sends to itself writes what it sends where the records of those messages will stand."""
    module = tmp_path / "spread.py"
    module.write_text(SPREAD)
    data = tmp_path / "data"
    data.mkdir()
    async with platform_in(data, modules=(str(module),)) as platform:
        source = (await platform.run(CYCLE)).execution_id
        for stage in (None, "spread"):
            request = ReplayRequest(source, stage, only="failed")
            result = await platform.replays.replay(request)
            execution = await platform.end(result.execution.execution_id)
            assert result.plan.messages == 2
            records = await platform.engine.records(execution.execution_id, "loop", "spread")
            assert len(records) == 2
