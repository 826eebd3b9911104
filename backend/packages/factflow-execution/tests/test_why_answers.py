"""The causes of states that the engine really gets into, and what is told of each message in them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_execution.errors import LaunchFailedError
from factflow_execution.why.causes import Answer, Cause
from factflow_execution.why.service import SubjectNotFoundError
from factflow_protocols.storage import StorageProtocol
from factflow_testing.faulty_storage import FaultyStorage
from factflow_testing.platform import Platform, platform_in
from factflow_testing.waiting import eventually

ODD = """\
import asyncio
from factflow_protocols.pipeline import AdapterResult, register_adapter_type


@register_adapter_type("sealed")
class Sealed:
    def __init__(self, config):
        pass

    async def open(self, environment):
        raise RuntimeError("the token is hunter2")

    async def close(self):
        pass

    async def process(self, context):
        return AdapterResult(context.payload)


@register_adapter_type("stuck")
class Stuck:
    def __init__(self, config):
        pass

    async def process(self, context):
        await asyncio.Event().wait()
"""


def two_routes(stages: str, more: str = "") -> str:
    return f"""\
version: "1.0"
name: two
init_message: {{route: up, payload: {{}}}}
{more}
routes:
  up:
    inbound: {{queue: up_in}}
    adapters: [{{type: fan, config: {{count: 3}}}}]
    outbound: down_in
  down:
    inbound: {{queue: down_in, concurrency: 2}}
    adapters: [{stages}]
"""


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform_in(tmp_path) as platform:
        yield platform


def chain(answer: Answer) -> list[str]:
    """The codes of the first cause, and of what it comes from."""
    codes: list[str] = []
    causes = answer.causes
    while causes:
        codes.append(causes[0].code)
        causes = causes[0].because
    return codes


async def comes_to(platform: Platform, subject: str, *codes: str, of: str | None = None) -> Answer:
    """Ask until the causes are these."""

    async def asked() -> Answer | None:
        answer = await platform.why.resolve(subject, of)
        return answer if chain(answer)[: len(codes)] == list(codes) else None

    return await eventually(asked)


async def children(platform: Platform, execution_id: str) -> list[str]:
    """The messages that `up` sent to `down`, in their order."""
    [record] = await platform.engine.records(execution_id, "up", "fan")
    return [child.message_id for child in record.children]


async def test_a_pause_is_why_everything_before_it_waits(platform: Platform) -> None:
    await platform.pauses.pause("down", reason="upstream is away", paused_by="ann")
    everywhere = await platform.why.resolve("down")
    assert (everywhere.kind, everywhere.status, chain(everywhere)) == (
        "route",
        "paused",
        ["paused"],
    )
    tag = (await platform.start(two_routes("{type: echo}"))).execution_id
    answer = await comes_to(platform, tag, "waiting", "paused")
    assert answer.summary.endswith("is running: 1 of 4 messages have ended")
    [waiting] = answer.causes
    assert (waiting.route, waiting.count) == ("down", 3)
    [pause] = waiting.because
    assert "by ann since" in pause.sentence
    assert "(upstream is away)" in pause.sentence
    assert pause.next == "factflow pipeline resume down"
    first, _, third = await children(platform, tag)
    queued = await platform.why.message(third)
    assert (queued.kind, chain(queued)) == ("message", ["in_queue", "paused"])
    assert "behind 2 others" in queued.causes[0].sentence
    assert "is next" in (await platform.why.resolve(first)).causes[0].sentence
    [record] = await platform.engine.records(tag, "up", "fan")
    await platform.engine.lineage.flush()
    parent = await platform.why.message(record.lineage_id)
    assert chain(parent) == ["waits_for_children", "waiting", "paused"]
    assert chain(await platform.why.route("up", tag)) == ["idle"]


async def test_an_attempt_to_come_is_told_with_the_error(platform: Platform) -> None:
    retries = "error_handling: {max_retries: 3, retry_delay_seconds: 3000}"
    run = await platform.start(two_routes("{type: fail}", retries))

    async def all_wait() -> Cause | None:
        cause = (await platform.why.route("down", run.execution_id)).causes[0]
        return cause if cause.code == "retry" and cause.count == 3 and cause.until else None

    cause = await eventually(all_wait)
    assert "attempt 2 of 4 at down/fail at 2" in cause.sentence
    assert cause.sentence.endswith("after ValueError: made to fail")
    assert cause.message_id is not None
    [message] = (await platform.why.resolve(cause.message_id)).causes
    assert (message.code, message.until) == ("retry", cause.until)
    assert "attempt 2 of 4" in message.sentence
    assert "made to fail" in message.sentence


async def test_what_is_in_work_is_told_with_the_oldest_message_and_cancelling_too(
    platform: Platform, tmp_path: Path
) -> None:
    gate = f"{{type: wait_for, stage: gate, config: {{path: '{tmp_path / 'open'}'}}}}"
    run = (await platform.start(two_routes(gate))).execution_id

    async def begun() -> Cause | None:
        cause = (await platform.why.route("down", run)).causes[0]
        return cause if cause.stage == "gate" else None

    cause = await eventually(begun)
    assert cause.sentence.startswith("2 of 2 places of route down are in work: the oldest message")
    [message] = (await platform.why.message(str(cause.message_id))).causes
    assert (message.code, message.stage, message.since) == ("in_work", "gate", cause.since)
    cancelling = asyncio.create_task(platform.executions.cancel(run, 30.0))
    answer = await comes_to(platform, run, "cancel_requested")
    assert "3 messages in hand" in answer.causes[0].sentence
    (tmp_path / "open").touch()
    await cancelling
    assert chain(await platform.why.execution(run))[0] == "cancelled"


async def test_a_batch_that_fills_is_a_cause(platform: Platform) -> None:
    batch = "{type: batch_double, batch: {size: 10, wait_ms: 60000}}"
    run = (await platform.start(two_routes(batch))).execution_id
    answer = await comes_to(platform, "down", "gathering", of=run)
    assert "batch_double" in answer.causes[0].sentence
    first = (await children(platform, run))[0]
    assert chain(await comes_to(platform, first, "gathering")) == ["gathering"]


async def test_how_each_message_ended_is_told(platform: Platform) -> None:
    """Filtered, failed, with a stage passed by, its artefact deleted, its row lost."""
    ends = (
        "{type: echo, condition: {field: n, operator: gt, value: 1}}, "
        "{type: keep, config: {below: 2}}, {type: fail, config: {numbers: [1]}}"
    )
    run = (await platform.run(two_routes(ends))).execution_id
    answer = await platform.why.execution(run)
    assert chain(answer) == ["messages_failed", "failed"]
    assert answer.causes[0].next.endswith("--only failed")
    [group] = answer.causes[0].because
    assert "1 message failed at down/fail, last with ValueError: made to fail" in group.sentence
    zero, one, two = await children(platform, run)
    failed = await platform.why.message(one)
    assert [cause.code for cause in failed.causes] == ["failed", "skipped"]
    assert "condition `n gt 1` did not hold" in failed.causes[1].sentence
    assert chain(await platform.why.message(two)) == ["filtered"]
    [record] = await platform.engine.records(run, "up", "fan")
    parent = await platform.why.message(record.message_id)
    assert chain(parent) == ["done", "failed"], "what failed below it is named"
    done = await platform.why.message(zero)
    assert [cause.code for cause in done.causes] == ["done", "skipped"]
    records = await platform.engine.records(run, "down", "fail")
    [stored] = [each for each in records if each.output_key]
    await platform.engine.storage.delete(str(stored.output_key))
    gone = await platform.why.message(zero)
    assert [cause.code for cause in gone.causes] == ["done", "skipped", "artefact_missing"]
    assert chain(await platform.why.route("down", run)) == ["failed"]
    await platform.engine.lineage.delete_execution(run)
    lost = await platform.why.resolve(one, run)
    assert "lineage_incomplete" in [cause.code for cause in lost.causes]
    assert lost.causes[0].code == "failed"


async def test_trouble_with_storage_is_why_a_route_holds(tmp_path: Path) -> None:
    stores: list[FaultyStorage] = []

    def wrap(store: StorageProtocol) -> FaultyStorage:
        stores.append(FaultyStorage(store))
        return stores[0]

    async with platform_in(tmp_path, wrap_storage=wrap) as platform:
        await platform.pauses.pause("down")
        run = (await platform.start(two_routes("{type: echo}"))).execution_id
        await comes_to(platform, run, "waiting", "paused")
        stores[0].full = True
        await platform.pauses.resume("down")
        answer = await comes_to(platform, run, "waiting", "holding")
        assert answer.causes[0].because[0].next == "factflow system health"


async def test_what_was_cut_off_tells_why_it_does_not_go_on(tmp_path: Path) -> None:
    """First since its adapter is not loaded, then since there is no place for it."""
    odd = tmp_path / "odd_adapters.py"
    odd.write_text(ODD)
    async with platform_in(tmp_path, modules=(str(odd),)) as platform:
        run = (await platform.start(two_routes("{type: stuck}"))).execution_id
        await comes_to(platform, "down", "in_work", of=run)
        with pytest.raises(LaunchFailedError):
            await platform.start(two_routes("{type: sealed}"))
        [failed] = (await platform.executions.list("failed")).rows
        told = await platform.why.execution(failed.execution_id)
        assert chain(told) == ["launch_failed"]
        assert "hunter2" not in told.causes[0].sentence
    async with platform_in(tmp_path) as platform:
        answer = await comes_to(platform, run, "interrupted", "recovery_refused")
        assert "stuck" in answer.causes[0].because[0].sentence
        first = (await children(platform, run))[0]
        assert chain(await platform.why.message(first))[0] in {"in_queue", "in_work"}
    async with platform_in(tmp_path, modules=(str(odd),), limit=0) as platform:
        await comes_to(platform, run, "interrupted", "waits_for_slot")


async def test_what_nobody_knows_is_not_found(platform: Platform) -> None:
    run = (await platform.run(two_routes("{type: echo}"))).execution_id
    assert chain(await platform.why.resolve(run)) == ["done"]
    for subject, of in (("nothing", None), ("nothing", run), ("down", None)):
        with pytest.raises(SubjectNotFoundError):
            await platform.why.resolve(subject, of)


def bounded(door: Path) -> str:
    """`seed` feeds `up`, which feeds `down`: more than four there hold the others back."""
    return f"""\
version: "1.0"
init_message: {{route: seed, payload: {{}}}}
routes:
  seed:
    inbound: {{queue: seed_in}}
    adapters: [{{type: fan, config: {{count: 20}}}}]
    outbound: up_in
  up:
    inbound: {{queue: up_in, concurrency: 1, prefetch: 1}}
    adapters: [{{type: echo}}]
    outbound: down_in
  down:
    inbound: {{queue: down_in, concurrency: 1, prefetch: 1}}
    adapters: [{{type: wait_for, stage: gate, config: {{path: '{door}'}}}}]
    backpressure: {{max_queued: 4}}
"""


async def test_what_is_crowded_downstream_is_why_a_route_is_held_back(
    platform: Platform, tmp_path: Path
) -> None:
    run = (await platform.start(bounded(tmp_path / "door"))).execution_id

    async def at_rest() -> Answer | None:
        answer = await platform.why.route("up", run)
        oldest = [below.stage for cause in answer.causes for below in cause.because]
        busy = next(r for r in platform.engine.manager.runtime(run) if r.route_id == "up").in_flight
        return None if busy or oldest != ["gate"] else answer

    answer = await eventually(at_rest)
    assert chain(answer) == ["held_back", "in_work"]
    [held] = answer.causes
    assert "route down" in held.sentence
    assert "over its max_queued of 4" in held.sentence
    assert chain(await platform.why.execution(run))[:2] == ["waiting", "held_back"]
    depths = {each.route_id: each.ready for each in platform.engine.manager.runtime(run)}
    assert f"{depths['down']} messages waiting" in held.sentence
    (tmp_path / "door").touch()
    assert chain(await platform.why.execution((await platform.end(run)).execution_id)) == ["done"]


async def test_an_open_breaker_is_why_messages_wait(platform: Platform, tmp_path: Path) -> None:
    service = f"{{type: service, stage: ask, config: {{path: '{tmp_path / 'service'}'}}}}"
    breaker = "circuit_breaker: {failures: 2, probe_after_seconds: 3600}"
    run = (await platform.start(two_routes(service, breaker))).execution_id
    answer = await comes_to(platform, "down", "breaker_open", of=run)
    [cause] = answer.causes
    assert (cause.stage, cause.until is not None) == ("ask", True)
    assert "after 2 failures" in cause.sentence
    assert "the service is down" in cause.sentence
    await comes_to(platform, run, "waiting", "breaker_open")

    async def one_waits() -> bool:
        answers = [await platform.why.message(each) for each in await children(platform, run)]
        return any(chain(each) == ["in_queue", "breaker_open"] for each in answers)

    await eventually(one_waits)


async def test_a_damaged_or_missing_object_is_why_its_message_failed(tmp_path: Path) -> None:
    """What was stored of three messages is damaged, deleted and left alone while no server runs."""
    pipeline = two_routes("{type: echo}").replace(
        "{type: fan, config: {count: 3}}",
        "{type: spoilt_fan, stage: fan, config: {until_attempt: 0}}",
    )
    async with platform_in(tmp_path) as platform:
        await platform.pauses.pause("down")
        run = (await platform.start(pipeline)).execution_id
        await comes_to(platform, run, "waiting", "paused")
        [record] = await platform.engine.records(run, "up", "fan")
    files = [tmp_path / "storage" / child.input_key for child in record.children]
    damaged, missing, whole = [child.message_id for child in record.children]
    files[0].write_bytes(files[0].read_bytes().replace(b"xxx", b"yyy"))
    files[1].unlink()
    async with platform_in(tmp_path) as platform:
        await comes_to(platform, run, "waiting", "paused")
        await platform.pauses.resume("down")
        assert (await platform.end(run)).failed_count == 2
        answer = await platform.why.execution(run)
        assert answer.causes[0].code == "messages_failed"
        below = {cause.code: cause.sentence for cause in answer.causes[0].because}
        assert below.keys() == {"object_damaged", "artefact_missing"}
        assert "ObjectDamagedError" in below["object_damaged"]
        assert chain(await platform.why.message(damaged)) == ["object_damaged"]
        assert chain(await platform.why.message(missing)) == ["artefact_missing"]
        assert chain(await platform.why.message(whole)) == ["done"]
        [echoed] = [r for r in await platform.engine.records(run, "down", "echo") if r.output_key]
        await platform.engine.lineage.flush()
        await platform.engine.lineage.delete_execution(run)
        (tmp_path / "storage" / f"{echoed.key}.meta.json").write_bytes(b"{half a rec")
        told = await platform.why.resolve(whole, run)
        assert told.causes[0].code == "object_damaged"
        assert echoed.key in told.causes[0].sentence
