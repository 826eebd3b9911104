"""A status that cannot be written now is written later, whoever asked for it meanwhile."""

from __future__ import annotations

import sqlite3
import sys
from pathlib import Path

import pytest

from factflow_execution.errors import LaunchFailedError
from factflow_testing.platform import platform_in
from factflow_testing.postgres_schemas import needs_file
from factflow_testing.waiting import eventually

ADAPTERS = """\
import sqlite3

from factflow_protocols.pipeline import AdapterResult, register_adapter_type

HELD = []


@register_adapter_type("locks_and_fails")
class LocksAndFails:
    def __init__(self, config):
        pass

    async def open(self, environment):
        other = sqlite3.connect("DATABASE", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        HELD.append(other)
        raise RuntimeError("does not open")

    async def close(self):
        pass

    async def process(self, context):
        return AdapterResult(context.payload)
"""
PIPELINE = """
version: "1.0"
routes: {r: {inbound: {queue: q}, adapters: [{type: locks_and_fails}]}}
init_message: {route: r, payload: {n: 1}}
"""


@needs_file
@pytest.mark.long
async def test_a_failed_start_is_refused_at_once_and_noted_when_the_database_takes_it(
    tmp_path: Path,
) -> None:
    adapters = tmp_path / "locking_adapters.py"
    adapters.write_text(ADAPTERS.replace("DATABASE", str(tmp_path / "factflow.db")))
    async with platform_in(tmp_path, modules=(str(adapters),)) as platform:
        with pytest.raises(LaunchFailedError):
            await platform.start(PIPELINE)
        reason = await eventually(lambda: dict(platform.executions.late_ends.unwritten))
        [execution_id] = reason
        assert reason == {execution_id: "database is locked"}
        lock = next(
            module
            for module in list(sys.modules.values())
            if getattr(module, "__file__", None) == str(adapters)
        )
        held: sqlite3.Connection = lock.HELD[0]
        held.execute("ROLLBACK")
        held.close()
        ended = await platform.end(execution_id)
        assert ended.status == "failed"
        assert ended.error_info is not None
        assert platform.executions.late_ends.unwritten == {}
