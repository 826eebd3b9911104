"""Executions on the real engine, queue, store and databases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_engine.adapter_version import CodeChangedError
from factflow_engine.config.issues import ConfigurationError
from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.execution_spec import (
    MessageSource,
    PlannedMessage,
    TooManyConcurrentExecutionsError,
)
from factflow_engine.manager import OrchestratorManager
from factflow_engine.registry import AdapterRegistry
from factflow_execution.errors import (
    LaunchFailedError,
    LaunchRefusedError,
    ServerStoppingError,
    TagTakenError,
)
from factflow_execution.execution_deletions import ExecutionDeletions
from factflow_execution.execution_holds import ExecutionHolds
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.execution_service import ExecutionService
from factflow_execution.models import ExecutionDraft, PipelineExecution
from factflow_execution.progress import ProgressService
from factflow_execution.runtimes import Runtimes
from factflow_foundation import ids, keys
from factflow_infra.database import sqlite_engine
from factflow_infra.queue.embedded import EmbeddedQueue
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.tables import create_schema
from factflow_lineage.writer import LineageService
from factflow_protocols.errors import ObjectNotFoundError

ADAPTERS = """\
import asyncio

from factflow_protocols.pipeline import AdapterResult, register_adapter_type


@register_adapter_type("echo")
class Echo:
    def __init__(self, config):
        pass

    async def process(self, context):
        return AdapterResult(context.payload)


@register_adapter_type("stuck")
class Stuck(Echo):
    async def process(self, context):
        await asyncio.Event().wait()


@register_adapter_type("sealed")
class Sealed(Echo):
    async def open(self, environment):
        raise RuntimeError("the token is hunter2")

    async def close(self):
        pass
"""


def pipeline(adapter: str = "echo", init: str = "init_message: {route: r, payload: {n: 1}}") -> str:
    return (
        f'version: "1.0"\nroutes: {{r: {{inbound: {{queue: q}}, adapters: [{{type: {adapter}}}]}}}}\n'
        f"{init}\n"
    )


def draft(config_yaml: str, **changes: Any) -> ExecutionDraft:
    return replace(ExecutionDraft("config", "name", 1, config_yaml), **changes)


class House:
    """Everything an execution service needs, open."""

    def __init__(self, engine: AsyncEngine, folder: Path, lineage: LineageService) -> None:
        self.adapters = folder / f"adapters_{folder.name}.py"
        self.adapters.write_text(ADAPTERS)
        registry = AdapterRegistry.discover([str(self.adapters)])
        self.queue = EmbeddedQueue(folder / "queue.db")
        self.storage = FilesystemStorageProvider(folder / "storage")
        self.manager = OrchestratorManager(
            queue=self.queue,
            storage=self.storage,
            lineage=lineage,
            registry=registry,
            on_finished=self._finished,
            max_concurrent_executions=2,
        )
        self.repository = ExecutionRepository(engine)
        self.service = ExecutionService(
            repository=self.repository,
            loader=PipelineConfigLoader(registry),
            registry=registry,
            manager=self.manager,
            storage=self.storage,
            holds=ExecutionHolds(engine),
            deletions=ExecutionDeletions(engine),
        )

    async def _finished(self, execution_id: str, final: Any) -> bool:
        return await self.service.finished(execution_id, final)

    async def ended(self, execution_id: str) -> PipelineExecution:
        return await self.service.waiter.wait(execution_id, 30)

    async def stored(self) -> list[str]:
        return [found.key async for found in self.storage.list(keys.ROOT)]

    async def left_nothing(self) -> bool:
        """Tell whether no row, object or slot is left: the slots are tried by taking them all."""
        for slot in ("one", "two"):
            self.manager.reserve(slot)
        return not await self.stored() and (await self.repository.list(None, 10, 0)).total == 0


@pytest.fixture
async def lineage_engine(tmp_path: Path) -> AsyncIterator[AsyncEngine]:
    engine = sqlite_engine(tmp_path / "lineage.db")
    await create_schema(engine)
    yield engine
    await engine.dispose()


@pytest.fixture
async def house(
    engine: AsyncEngine, lineage_engine: AsyncEngine, tmp_path: Path
) -> AsyncIterator[House]:
    lineage = LineageService(lineage_engine)
    await lineage.start()
    house = House(engine, tmp_path, lineage)
    yield house
    await house.manager.stop(0)
    await house.queue.close()
    await lineage.close()
    await house.storage.close()


async def test_an_execution_runs_and_its_end_is_written(house: House) -> None:
    started = await house.service.launch(draft(pipeline(), tag="t", metadata={"a": 1}))
    assert started.status == "running"
    ended = await house.ended(started.execution_id)
    assert (ended.status, ended.message_count, ended.failed_count) == ("completed", 1, 0)
    assert ended.completed_at is not None
    assert await house.service.get("t") == ended


async def test_the_init_payload_is_stored_with_its_record(house: House) -> None:
    started = await house.service.launch(draft(pipeline(), init={"m": {"x": 2}}))
    key = keys.init_key(started.execution_id)
    assert await house.storage.read(f"{key}.json") == b'{"n":1,"m":{"x":2}}'
    record = await house.storage.metadata(key)
    assert record["content_type"] == "application/json"
    assert (record["output_key"], record["size"]) == (f"{key}.json", 19)


async def test_without_an_init_an_empty_one_is_stored_and_the_end_says_so(house: House) -> None:
    started = await house.service.launch(draft(pipeline(init="")))
    ended = await house.ended(started.execution_id)
    assert (ended.status, ended.message_count) == ("completed", 0)
    assert ended.warning is not None
    assert await house.storage.read(f"{keys.init_key(started.execution_id)}.json") == b"{}"


async def test_a_config_that_is_invalid_today_does_not_start(house: House) -> None:
    with pytest.raises(ConfigurationError) as refused:
        await house.service.launch(draft(pipeline("nobody")))
    assert [issue.code for issue in refused.value.report.errors] == ["E103"]
    assert await house.left_nothing()


async def test_code_that_changed_since_it_was_loaded_is_run_on_demand_only(house: House) -> None:
    house.adapters.write_text(ADAPTERS + "\n# mended\n")
    with pytest.raises(CodeChangedError):
        await house.service.launch(draft(pipeline()))
    started = await house.service.launch(draft(pipeline(), loaded_code=True))
    assert (await house.ended(started.execution_id)).status == "completed"


@pytest.mark.parametrize(
    "changes",
    [
        {"tag": "a b"},
        {"tag": ids.execution_id()},
        {"init": {"text": "\ud800"}},
    ],
)
async def test_what_no_execution_can_have_is_refused(house: House, changes: Any) -> None:
    with pytest.raises(LaunchRefusedError):
        await house.service.launch(draft(pipeline(), **changes))
    assert await house.left_nothing()


async def test_of_two_launches_under_one_tag_at_once_one_stands(house: House) -> None:
    launches = [house.service.launch(draft(pipeline(), tag="t")) for _ in range(2)]
    done = await asyncio.gather(*launches, return_exceptions=True)
    started = [one for one in done if isinstance(one, PipelineExecution)]
    assert len(started) == 1
    assert sum(isinstance(one, TagTakenError) for one in done) == 1
    await house.ended(started[0].execution_id)
    assert {key.split("/")[1] for key in await house.stored()} == {started[0].execution_id}


async def test_an_adapter_that_does_not_open_leaves_a_failed_execution(house: House) -> None:
    with pytest.raises(LaunchFailedError) as refused:
        await house.service.launch(draft(pipeline("sealed"), tag="t"))
    assert "hunter2" not in refused.value.message
    execution = await house.service.get("t")
    assert execution.status == "failed"
    assert "hunter2" not in str(execution.error_info)
    for slot in ("one", "two"):
        house.manager.reserve(slot)


async def test_a_replay_whose_plan_fails_leaves_nothing(house: House) -> None:
    async def prepare(execution_id: str) -> MessageSource:
        await house.storage.write(keys.plan_key(execution_id), b"half a plan")
        raise ObjectNotFoundError("executions/source/r/echo/gone")

    with pytest.raises(ObjectNotFoundError):
        await house.service.launch(draft(pipeline(), source="replay", prepare=prepare))
    assert await house.left_nothing()


async def test_a_replay_publishes_its_plan_instead_of_an_init(house: House) -> None:
    source = await house.service.launch(draft(pipeline()))
    await house.ended(source.execution_id)
    init = keys.init_key(source.execution_id)

    class Plan:
        async def items(self, start: int) -> AsyncIterator[PlannedMessage]:
            for number in range(start, 3):
                yield PlannedMessage(
                    origin_id=ids.derive(str(number)),
                    route="r",
                    entry_stage="echo",
                    input_key=f"{init}.json",
                    input_hash="",
                    content_type="application/json",
                )

    async def prepare(execution_id: str) -> MessageSource:
        return Plan()

    replay = await house.service.launch(
        draft(
            pipeline(),
            source="replay",
            prepare=prepare,
            parent_execution_id=source.execution_id,
            replay_source={"from_stage": "echo"},
        )
    )
    ended = await house.ended(replay.execution_id)
    assert (ended.status, ended.message_count, ended.source) == ("completed", 3, "replay")
    assert ended.parent_execution_id == source.execution_id
    assert ended.replay_source == {"from_stage": "echo"}


async def test_a_launch_that_is_cut_off_leaves_nothing(house: House) -> None:
    preparing = asyncio.Event()

    async def prepare(execution_id: str) -> MessageSource:
        await house.storage.write(keys.plan_key(execution_id), b"a plan")
        preparing.set()
        await asyncio.Event().wait()
        raise AssertionError

    launch = asyncio.create_task(
        house.service.launch(draft(pipeline(), source="replay", prepare=prepare))
    )
    await preparing.wait()
    launch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launch
    assert await house.left_nothing()


async def test_cancelling_ends_a_running_execution_and_no_other(house: House) -> None:
    started = await house.service.launch(draft(pipeline("stuck")))
    done = await house.service.cancel(started.execution_id, 0)
    assert (done.previous_status, done.current_status) == ("running", "cancelled")
    again = await house.service.cancel(started.execution_id, 0)
    assert (again.previous_status, again.current_status) == ("cancelled", "cancelled")


async def test_the_limit_holds_and_a_cancelled_execution_gives_its_slot_back(house: House) -> None:
    started = [await house.service.launch(draft(pipeline("stuck"))) for _ in range(2)]
    with pytest.raises(TooManyConcurrentExecutionsError):
        await house.service.launch(draft(pipeline()))
    assert {key.split("/")[1] for key in await house.stored()} == {
        one.execution_id for one in started
    }
    await house.service.cancel(started[0].execution_id, 0)
    await house.ended((await house.service.launch(draft(pipeline()))).execution_id)


async def test_what_runs_without_an_owner_is_interrupted(house: House) -> None:
    owned = await house.service.launch(draft(pipeline("stuck")))
    orphan = replace(owned, execution_id=ids.execution_id())
    await house.repository.insert(orphan)
    assert await house.service.mark_orphans() == [orphan.execution_id]
    marked = await house.service.get(orphan.execution_id)
    assert marked.status == "interrupted"
    assert marked.error_info is not None
    assert (await house.service.get(owned.execution_id)).status == "running"


async def test_an_orphan_can_be_cancelled(house: House) -> None:
    owned = await house.service.launch(draft(pipeline()))
    await house.ended(owned.execution_id)
    orphan = replace(owned, execution_id=ids.execution_id())
    await house.repository.insert(orphan)
    done = await house.service.cancel(orphan.execution_id, 0)
    assert done.current_status == "cancelled"


async def test_a_closed_service_starts_nothing(house: House) -> None:
    await house.service.close()
    with pytest.raises(ServerStoppingError):
        await house.service.launch(draft(pipeline()))
    assert await house.left_nothing()


@pytest.fixture
async def progress(house: House, tmp_path: Path) -> AsyncIterator[ProgressService]:
    reading = sqlite_engine(tmp_path / "lineage.db", read_only=True)
    yield ProgressService(PipelineLineageRepository(reading), Runtimes(house.manager))
    await reading.dispose()


async def test_progress_follows_a_route(house: House, progress: ProgressService) -> None:
    started = await house.service.launch(draft(pipeline("stuck")))
    while (now := (await progress.routes(started))[0]).in_progress == 0:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    assert (now.route_id, now.queue, now.state, now.total_messages) == ("r", "q", "running", 1)
    await house.service.cancel(started.execution_id, 0)
    done = await house.service.launch(draft(pipeline()))
    ended = await house.ended(done.execution_id)
    route = (await progress.routes(ended))[0]
    assert (route.state, route.completed, route.failed, route.in_progress) == ("stopped", 1, 0, 0)
    stats = await progress.stats(ended)
    assert (stats.total_messages, stats.completed_messages, stats.success_rate) == (1, 1, 1.0)


UNSORTED = """\
version: "1.0"
routes:
  second:
    inbound: {queue: b}
    adapters: [{type: echo, stage: zeta}, {type: echo, stage: alpha}]
    outbound: a
  first:
    inbound: {queue: a}
    adapters: [{type: echo, stage: omega}, {type: echo, stage: beta}]
init_message: {route: second, payload: {n: 1}}
"""


async def test_stages_are_counted_in_the_order_of_the_yaml(
    house: House, progress: ProgressService
) -> None:
    """Not by their names; a stage that the snapshot does not name comes last."""
    started = await house.service.launch(draft(UNSORTED))
    ended = await house.ended(started.execution_id)
    order = ["second/zeta", "second/alpha", "first/omega", "first/beta"]
    stages = (await progress.stats(ended)).stages
    assert [f"{stage.route_id}/{stage.stage}" for stage in stages] == order
    without_zeta = replace(ended, config_snapshot=UNSORTED.replace("zeta", "eta"))
    stages = await progress.stages(without_zeta)
    assert [f"{stage.route_id}/{stage.stage}" for stage in stages] == [*order[1:], order[0]]
    unreadable = replace(ended, config_snapshot="version: '0.1'")
    assert len(await progress.stages(unreadable)) == len(order)
