"""A replay streams: what it holds in memory does not grow with the number of messages."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from factflow_engine.config.loader import config_hash
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.models import PipelineExecution
from factflow_foundation import ids
from factflow_foundation.records import OutcomeRecord
from factflow_testing.execution_database import execution_database
from factflow_testing.platform import platform_in

SOURCE = "source"
COUNT = 100_000
SLACK = 6 * 1024
"""Kilobytes by which the second peak may exceed the first. 100,000 ids alone would take 9 MB more."""
PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {queue: start, concurrency: 1}
    adapters:
      - {type: fan, config: {count: 1}}
      - {type: echo}
      - {type: hang}
init_message: {route: first}
"""
REPLAY = """
import asyncio, sys
from pathlib import Path
from factflow_protocols.queue import QueueScope
from factflow_replay.replay.models import ReplayRequest
from factflow_testing.platform import platform_in
from factflow_testing.waiting import eventually

def peak():
    status = Path("/proc/self/status").read_text()
    return next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))

async def main():
    async with platform_in(Path(sys.argv[1])) as platform:
        result = await platform.replays.replay(ReplayRequest("source", "echo"))
        execution = result.execution.execution_id
        print(result.plan.messages, peak(), flush=True)

        async def all_published():
            at = await platform.engine.queue.publisher_cursor(QueueScope(execution))
            return at == result.plan.messages

        await eventually(all_published, seconds=300)
        print(result.plan.messages, peak(), flush=True)
        await platform.executions.cancel(execution, 0.0)

asyncio.run(main())
"""


async def enter_source(folder: Path) -> None:
    """Enter an execution that has ended, as a server would have left it.

    Another one that did run has left rows: an empty lineage would be taken for a lost one, and be made
    anew from the records beside what is measured here.
    """
    async with platform_in(folder) as platform:
        await platform.run(PIPELINE.replace("      - {type: hang}\n", ""))
    database = await execution_database(folder)
    await ExecutionRepository(database).insert(
        PipelineExecution(
            execution_id=SOURCE,
            config_id=None,
            config_name="test",
            config_version=None,
            config_hash=config_hash(PIPELINE),
            config_snapshot=PIPELINE,
            status="completed",
            started_at=1.0,
            completed_at=2.0,
        )
    )
    await database.dispose()


def write_records(folder: Path, numbers: range) -> None:
    """Write records of `echo` straight into the store. All name one artefact, which spares files."""
    stage = folder / "storage" / "executions" / SOURCE / "first" / "echo"
    stage.mkdir(parents=True, exist_ok=True)
    data = b'{"n": 1}'
    artefact = f"executions/{SOURCE}/first/echo/one.json"
    (stage / "one.json").write_bytes(data)
    sha256 = hashlib.sha256(data).hexdigest()
    for record in records(numbers, artefact, sha256):
        path = f"{stage}/{record.message_id}.meta.json"
        target = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(target, msgspec.json.encode(record.to_metadata()))
        os.close(target)


def records(numbers: range, artefact: str, sha256: str) -> Iterator[OutcomeRecord]:
    for number in numbers:
        origin = ids.child_origin(ids.init_origin("first"), "first", "fan", "start", f"@{number}")
        yield OutcomeRecord(
            execution_id=SOURCE,
            route="first",
            stage="echo",
            adapter="echo",
            adapter_version="1",
            message_id=ids.message_id(SOURCE, origin),
            origin_id=origin,
            outcome="stored",
            input_key=artefact,
            input_hash=sha256,
            output_key=artefact,
            output_hash=sha256,
            content_type="application/json",
            size=8,
            metadata={"url": f"https://example.com/{number}"},
        )


def peaks(folder: Path, count: int) -> list[int]:
    """Replay in a process of its own; return its peak memory in KB, planned and published."""
    done = subprocess.run(
        [sys.executable, "-c", REPLAY, str(folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=True,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [int(messages) for messages, _ in lines] == [count, count]
    return [int(peak) for _, peak in lines]


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
async def test_memory_does_not_grow_with_the_number_of_messages(tmp_path: Path) -> None:
    """Planned, checked and published twice as many messages take as much memory as the first half."""
    await enter_source(tmp_path)
    write_records(tmp_path, range(COUNT))
    first = peaks(tmp_path, COUNT)
    write_records(tmp_path, range(COUNT, 2 * COUNT))
    second = peaks(tmp_path, 2 * COUNT)
    for before, after in zip(first, second, strict=True):
        assert after - before < SLACK
