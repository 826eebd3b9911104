"""What was cut off goes on by itself, whatever was lost with the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factflow_execution.models import PipelineExecution
from factflow_protocols.queue import QueueScope
from factflow_testing.platform import Platform, platform_in
from factflow_testing.waiting import eventually

PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start, concurrency: 2}
    adapters:
      - {type: fan, config: {count: 30}}
      - {type: fail, config: {numbers: [4]}}
      - {type: keep, config: {below: 20}, stage: keep}
    outbound: {queue: middle}
  second:
    inbound: {queue: middle, concurrency: 2}
    adapters:
      - {type: echo, stage: last, config: {fields: {seen: true}}}
init_message: {route: first, payload: {}}
"""

RUN_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from factflow_testing.platform import platform_in

async def main():
    async with platform_in(Path(sys.argv[1])) as platform:
        execution = await platform.start(sys.argv[2])
        print(execution.execution_id, flush=True)
        await platform.end(execution.execution_id)

asyncio.run(main())
"""

KEPT = [n for n in range(20) if n != 4]
OFTEN = [
    "storage.artefact.after:40",
    "storage.record.after:25",
    "queue.publish.before:1",
    "queue.settle.after:6",
]
RARELY = [
    "storage.artefact.before:12",
    "storage.record.before:3",
    "storage.record.after:2",
    "queue.publish.after:1",
    "queue.settle.before:1",
    "queue.settle.after:1",
    "queue.settle.before:4",
]


def run_and_kill(
    folder: Path, point: str, what: str = PIPELINE, script: str = RUN_UNTIL_KILLED
) -> None:
    """Run something in a process of its own that dies at a crash point."""
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder), what],
        env={**os.environ, "FACTFLOW_CRASH_POINT": point},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, f"{point} was never reached"


def lose(folder: Path, database: str) -> None:
    """Delete a database with what belongs to it."""
    for path in folder.glob(f"{database}*"):
        path.unlink()


async def only_execution(platform: Platform) -> PipelineExecution:
    page = await platform.executions.list()
    assert page.total == 1
    return await platform.executions.get(page.rows[0].execution_id)


async def settled(platform: Platform, execution_id: str) -> PipelineExecution:
    async def ended() -> PipelineExecution | None:
        execution = await platform.executions.get(execution_id)
        over = execution.status in {"completed", "failed", "cancelled"}
        return execution if over else None

    return await eventually(ended)


async def check_whole(platform: Platform, execution_id: str) -> None:
    """Every announced message has exactly one outcome, and lineage says what the records say."""
    outputs = await platform.engine.outputs(execution_id, "second", "last")
    assert sorted(output["n"] for output in outputs) == KEPT
    stages = [("first", "fan"), ("first", "fail"), ("first", "keep"), ("second", "last")]
    recorded: dict[str, Any] = {}
    for route, stage in stages:
        for record in await platform.engine.records(execution_id, route, stage):
            recorded[record.lineage_id] = record.outcome
    assert len(recorded) == 1 + 30 + 29 + 19

    async def rows_agree() -> bool:
        rows = await platform.engine.lineage_rows(execution_id)
        return {row.id: row.outcome for row in rows} == recorded

    assert await eventually(rows_agree)


@pytest.mark.parametrize(
    "point", [*OFTEN, *(pytest.param(point, marks=pytest.mark.long) for point in RARELY)]
)
async def test_a_killed_execution_ends_as_if_nothing_had_happened(
    tmp_path: Path, point: str
) -> None:
    run_and_kill(tmp_path, point)
    async with platform_in(tmp_path) as platform:
        found = await only_execution(platform)
        execution = await settled(platform, found.execution_id)
        assert (execution.status, execution.failed_count) == ("failed", 1)
        assert execution.recoveries == 1
        assert execution.last_recovery is not None
        assert execution.last_recovery["source"] == "queue"
        await check_whole(platform, execution.execution_id)


@pytest.mark.parametrize("point", ["storage.record.after:25", "queue.settle.after:4"])
async def test_a_lost_queue_is_made_up_from_the_records(tmp_path: Path, point: str) -> None:
    run_and_kill(tmp_path, point)
    lose(tmp_path, "queue.db")
    async with platform_in(tmp_path) as platform:
        found = await only_execution(platform)
        before = await platform.engine.records(found.execution_id, "first", "fan")
        execution = await settled(platform, found.execution_id)
        assert (execution.status, execution.failed_count) == ("failed", 1)
        await check_whole(platform, execution.execution_id)
        assert await platform.engine.records(found.execution_id, "first", "fan") == before


async def test_a_kill_behind_the_final_status_leaves_no_queues(tmp_path: Path) -> None:
    """The execution has ended, so nobody takes it up; its queues go all the same, and others keep theirs."""
    run_and_kill(tmp_path, "execution.status.after:1")
    async with platform_in(tmp_path) as platform:
        queue = platform.engine.queue
        found = await only_execution(platform)
        assert (found.status, found.recoveries) == ("failed", 0)
        other = await platform.start(PIPELINE)

        async def gone() -> bool:
            return QueueScope(found.execution_id) not in await queue.scopes()

        assert await eventually(gone)
        assert (await settled(platform, other.execution_id)).failed_count == 1


async def test_after_the_machine_went_down_the_records_decide(tmp_path: Path) -> None:
    """The queue says more than storage has: what is lacking runs again, and only that."""
    run_and_kill(tmp_path, "queue.settle.after:6")
    machine_went_down(tmp_path)
    written = sorted((tmp_path / "storage").rglob("first/keep/*.meta.json"))
    kept = {path: path.read_bytes() for path in written[1:]}
    assert kept
    for path in written[0].parent.glob(written[0].name.partition(".")[0] + "*"):
        path.unlink()
    async with platform_in(tmp_path) as platform:
        execution = await settled(platform, (await only_execution(platform)).execution_id)
        assert (execution.status, execution.failed_count) == ("failed", 1)
        assert execution.generation == 2
        assert execution.last_recovery is not None
        assert execution.last_recovery["source"] == "records"
        assert execution.message_count == 1 + 30 + 19
        await check_whole(platform, execution.execution_id)
        assert {path: path.read_bytes() for path in kept} == kept


def machine_went_down(folder: Path) -> None:
    """Have the queue's file look as if another run of the machine had left it."""
    file = sqlite3.connect(folder / "queue.db")
    with file:
        file.execute("UPDATE condition SET boot = 'an earlier run of the machine'")
    file.close()


async def test_a_lost_lineage_database_is_rebuilt(tmp_path: Path) -> None:
    run_and_kill(tmp_path, "queue.settle.after:4")
    lose(tmp_path, "lineage.db")
    async with platform_in(tmp_path) as platform:
        execution = await settled(platform, (await only_execution(platform)).execution_id)
        await check_whole(platform, execution.execution_id)

        async def gap_closed() -> bool:
            return (await platform.executions.get(execution.execution_id)).lineage_gap == 0

        assert await eventually(gap_closed)


async def test_an_execution_killed_while_it_is_cancelled_stays_cancelled_with_all_its_rows(
    tmp_path: Path,
) -> None:
    """Whatever the last lineage batch had not written comes back from the records here too."""
    script = RUN_UNTIL_KILLED.replace(
        "await platform.end(execution.execution_id)",
        "import factflow_testing.waiting as waiting\n"
        "        prefix = f'executions/{execution.execution_id}/second'\n"
        "        async def begun():\n"
        "            return [item async for item in platform.engine.storage.list(prefix)]\n"
        "        await waiting.eventually(begun)\n"
        "        await platform.executions.cancel(execution.execution_id)",
    )
    run_and_kill(tmp_path, "execution.cancel.after:1", script=script)
    lose(tmp_path, "lineage.db")
    async with platform_in(tmp_path) as platform:
        execution = await settled(platform, (await only_execution(platform)).execution_id)
        assert execution.status == "cancelled"
        stored = platform.engine.storage.list(f"executions/{execution.execution_id}", records=True)
        records = [item.key async for item in stored if not item.key.endswith("/_init")]
        assert records

        async def rows_are_back() -> bool:
            return len(await platform.engine.lineage_rows(execution.execution_id)) == len(records)

        assert await eventually(rows_are_back)


async def test_a_killed_replay_publishes_the_rest_of_its_plan_and_refetches_nothing(
    tmp_path: Path,
) -> None:
    async with platform_in(tmp_path) as platform:
        source = await platform.run(PIPELINE)
    script = RUN_UNTIL_KILLED.replace(
        "execution = await platform.start(sys.argv[2])",
        "from factflow_replay.replay.models import ReplayRequest\n"
        "        result = await platform.replays.replay(ReplayRequest(sys.argv[2], 'fan'))\n"
        "        execution = result.execution",
    )
    run_and_kill(tmp_path, "storage.record.after:10", source.execution_id, script)
    async with platform_in(tmp_path) as platform:
        replay = next(e for e in (await platform.executions.list()).rows if e.source == "replay")
        ended = await settled(platform, replay.execution_id)
        outputs = await platform.engine.outputs(ended.execution_id, "second", "last")
        assert sorted(output["n"] for output in outputs) == KEPT
        assert await platform.engine.records(ended.execution_id, "first", "fan") == []


async def test_a_graceful_stop_is_resumed_and_a_cancel_is_not(tmp_path: Path) -> None:
    hanging = PIPELINE.replace(
        "{type: echo, stage: last, config: {fields: {seen: true}}}", "{type: hang, stage: last}"
    )
    async with platform_in(tmp_path) as first:
        goes_on = await first.start(hanging)
        stays = await first.start(hanging)
    async with platform_in(tmp_path) as second:

        async def both_run() -> bool:
            return len(second.engine.manager.running()) == 2

        await eventually(both_run)
        await second.executions.cancel(stays.execution_id, 0.0)
    async with platform_in(tmp_path) as third:
        await eventually(third.engine.manager.running)
        assert third.engine.manager.running() == [goes_on.execution_id]
        assert (await third.executions.get(goes_on.execution_id)).recoveries == 2
        assert (await third.executions.get(stays.execution_id)).status == "cancelled"


async def test_an_execution_whose_adapters_are_gone_waits_with_the_reason(tmp_path: Path) -> None:
    async with platform_in(tmp_path) as first:
        started = await first.start(
            PIPELINE.replace("type: echo", "type: hang").replace(
                ", config: {fields: {seen: true}}", ""
            )
        )
    async with platform_in(tmp_path) as second:
        del second.engine.registry._loaded["hang"]

        async def told() -> bool:
            execution = await second.executions.get(started.execution_id)
            return "hang" in str(execution.error_info)

        assert await eventually(told)
        assert (await second.executions.get(started.execution_id)).status == "interrupted"
