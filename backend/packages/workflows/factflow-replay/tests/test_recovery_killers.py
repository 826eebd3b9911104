"""Messages that end the process: after some restarts they are set aside, and all others complete."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from factflow_execution.models import PipelineExecution
from factflow_foundation.records import OutcomeRecord
from factflow_testing.journal_adapter import beside, lines_of
from factflow_testing.platform import Platform, platform_in

MODULE = "factflow_testing.journal_adapter"
COUNT = 50
MOST_RESTARTS = 12
PIPELINE = """
version: "1.0"
routes:
  first:
    inbound: {{queue: start, concurrency: 50}}
    adapters:
      - {{type: fan, config: {{count: 50}}}}
      - {{type: echo, stage: before}}
      - {{type: journal, stage: deadly, config: {{journal: {journal}, seconds: 0.04, kills: {kills}}}}}
    outbound: {{queue: middle}}
  second:
    inbound: {{queue: middle}}
    adapters:
      - {{type: echo, stage: last}}
init_message: {{route: first}}
"""

RUN = """
import asyncio, sys
from pathlib import Path
from factflow_testing.platform import platform_in
from factflow_testing.waiting import eventually

async def main():
    async with platform_in(Path(sys.argv[1]), modules=("factflow_testing.journal_adapter",)) as platform:
        if not (await platform.executions.list()).total:
            await platform.start(sys.argv[2])

        async def over():
            (execution,) = (await platform.executions.list()).rows
            return execution.status in {"completed", "failed"}

        await eventually(over, seconds=50)

asyncio.run(main())
"""


def run_until_it_ends(folder: Path, text: str) -> int:
    """Start the execution, and again after every death of its process; return how many died."""
    for deaths in range(MOST_RESTARTS + 1):
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(folder), text],
            env={**os.environ, "FACTFLOW_CRASH_POINT": ""},
            timeout=60,
            check=False,
        )
        if done.returncode == 0:
            return deaths
        assert done.returncode == -signal.SIGKILL
    raise AssertionError(f"still dying after {MOST_RESTARTS} restarts")


async def the_execution(platform: Platform) -> PipelineExecution:
    page = await platform.executions.list()
    return await platform.executions.get(page.rows[0].execution_id)


async def deadly_of(platform: Platform, execution_id: str) -> dict[int, OutcomeRecord]:
    """Return the outcomes of the stage that kills, by the number of the message."""
    (fan,) = await platform.engine.records(execution_id, "first", "fan")
    numbers = {child.message_id: number for number, child in enumerate(fan.children)}
    records = await platform.engine.records(execution_id, "first", "deadly")
    return {numbers[record.message_id]: record for record in records}


@pytest.mark.long
@pytest.mark.parametrize(
    ("kills", "deaths"), [([17], 4), pytest.param([3, 41], 5, marks=pytest.mark.long)]
)
async def test_killers_are_set_aside_and_the_innocent_complete(
    tmp_path: Path, kills: list[int], deaths: int
) -> None:
    """Three crashes make suspects of those that were always there, each further one proves a killer."""
    journal = tmp_path / "journal"
    text = PIPELINE.format(journal=journal, kills=kills)
    assert run_until_it_ends(tmp_path, text) == deaths
    async with platform_in(tmp_path, modules=(MODULE,)) as platform:
        execution = await the_execution(platform)
        assert (execution.status, execution.failed_count) == ("failed", len(kills))
        assert execution.recoveries == deaths
        outcomes = await deadly_of(platform, execution.execution_id)
        assert sorted(outcomes) == list(range(COUNT))
        for number, record in outcomes.items():
            assert record.outcome == ("failed" if number in kills else "stored")
        for number in kills:
            error = outcomes[number].error
            assert error is not None
            assert (error.type, error.traceback.count("File")) == ("ProcessKilledError", 0)
            assert "the process ended 3 times" in error.message
        last = await platform.engine.outputs(execution.execution_id, "second", "last")
        assert sorted(output["n"] for output in last) == [n for n in range(COUNT) if n not in kills]
    for number in kills:
        *together, alone = beside(journal, number)
        assert alone == set()
        assert all(together)
    starts = Counter(line.number for line in lines_of(journal) if line.what == "start")
    assert max(starts.values()) <= deaths  # nobody is invoked more than once per process
