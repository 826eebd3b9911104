"""A server whose queues stand in RabbitMQ: killed, cut off from it, and started without it."""

import asyncio
from pathlib import Path

import aio_pika
import pytest

from factflow_protocols.queue import QueueScope
from factflow_selftest.pipeline import pipeline_yaml
from factflow_testing.broker_service import amqp_url
from factflow_testing.crash_matrix import BROKER_POINTS, Case, check, recovering
from factflow_testing.server_process import ServerDidNotStartError, ServerProcess
from factflow_testing.tcp_proxy import TcpProxy
from factflow_testing.waiting import eventually

PUBLISHING = ("queue.broker.announced", "queue.broker.published")
"""Passed once: the init message is all that is published by itself."""
CASES = [
    *(
        Case(f"{point}:{1 if point in PUBLISHING else 3}")
        for point in BROKER_POINTS
        if point != "queue.broker.copied"
    ),
    Case("queue.broker.event:2", recovering),
]
QUEUES = ("_settled", "split", "work", "again")
"""Of the self-test's pipeline."""
QUICK = {("queue.broker.event", False)}


async def left_at_broker(url: str, executions: list[str]) -> list[str]:
    """Return which of the executions' queues are still at the broker."""
    left = []
    async with await aio_pika.connect(url) as connection:
        for name in [QueueScope(one).name(queue) for one in executions for queue in QUEUES]:
            channel = await connection.channel()
            try:
                await channel.get_queue(name, ensure=True)
                left.append(name)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                pass
    return left


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            case,
            id=f"{case.point}-{case.leads_there.__name__}",
            marks=() if (case.name, case.leads_there is recovering) in QUICK else pytest.mark.long,
        )
        for case in CASES
    ],
)
async def test_a_killed_server_loses_and_doubles_nothing(tmp_path: Path, case: Case) -> None:
    """The next server finds the queues as they were, and deletes them at the end."""
    url = amqp_url()
    executions = await asyncio.to_thread(check, case, tmp_path, queue_lost=False, broker=url)
    assert executions
    assert await left_at_broker(url, executions) == []


async def test_a_broker_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    """Routes hold, health says so without the password, and all goes on by itself."""
    proxy = TcpProxy.in_front_of(amqp_url())
    await proxy.start()
    url = proxy.url(amqp_url())
    journal = tmp_path / "journal"
    pipeline = pipeline_yaml(journal, 60)
    try:
        server = await asyncio.to_thread(ServerProcess, tmp_path / "data", FACTFLOW_QUEUE_URL=url)
        with server:
            config = await asyncio.to_thread(server.create, pipeline)
            execution = await asyncio.to_thread(server.run, config)

            await eventually(
                lambda: journal.exists() and len(journal.read_bytes().splitlines()) > 20
            )
            proxy.cut()

            async def told() -> str | None:
                health = await asyncio.to_thread(server.api.get, "/system/health")
                text = health.text
                return text if "cannot be used now" in text else None

            health = await eventually(told)
            assert "guest" not in health
            proxy.mend()
            ended = await asyncio.to_thread(server.end_of, execution)
            assert ended["status"] in {"completed", "failed"}
            assert "guest:guest" not in server.said()

            async def nothing_left() -> bool:
                return not await left_at_broker(amqp_url(), [execution])

            await eventually(nothing_left)
    finally:
        await proxy.close()


def test_a_server_without_its_broker_does_not_start(tmp_path: Path) -> None:
    """It says what it misses, in words, and without the password."""
    url = "amqp://somebody:secret@127.0.0.1:1/"
    with pytest.raises(ServerDidNotStartError) as told:
        ServerProcess(tmp_path, FACTFLOW_QUEUE_URL=url)
    assert told.value.code == 2
    said = str(told.value)
    assert "127.0.0.1:1" in said
    assert "FACTFLOW_QUEUE_URL" in said
    assert "secret" not in said
    assert "Traceback" not in said


def test_a_queue_url_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServerDidNotStartError, match="amqp://") as told:
        ServerProcess(tmp_path, FACTFLOW_QUEUE_URL="redis://u:secret@127.0.0.1/")
    assert told.value.code == 2
    assert "secret" not in str(told.value)
