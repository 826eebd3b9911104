"""The queues that an execution has at RabbitMQ: what they are called, which are there, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress

import aio_pika
import asyncpg
from aio_pika.exceptions import ChannelNotFoundEntity

from factflow_infra.queue.brokered.naming import RUNGS_MS, SETTLED, delay_queue
from factflow_protocols.queue import QueueScope

PATIENCE_SECONDS = 5.0


def is_rabbitmq(broker: str) -> bool:
    """Tell whether a broker is one that can be asked here."""
    return broker.startswith("amqp")


def left_of(broker: str, executions: Sequence[str], queues: Sequence[str]) -> list[str]:
    """Return which queues of executions are there. Raises what the broker says."""
    scopes = [QueueScope(execution) for execution in executions]
    return asyncio.run(
        _standing(broker, [name for scope in scopes for name in _names(scope, queues)])
    )


async def forget_unended(database: str, broker: str) -> None:
    """Delete the queues of executions that did not come to their end, which the ledger knows. Raises what
    database and broker say."""
    connection = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    try:
        if await connection.fetchval("SELECT to_regclass('queue_scope')") is None:
            return
        rows = await connection.fetch(
            "SELECT execution_id, generation, array_agg(name) AS queues FROM queue_scope"
            " JOIN queue_name ON queue_name.scope = queue_scope.id GROUP BY 1, 2"
        )
    finally:
        await connection.close()
    names = [
        name
        for row in rows
        for name in _names(QueueScope(row["execution_id"], row["generation"]), row["queues"])
    ]
    if names:
        async with await aio_pika.connect(broker, timeout=PATIENCE_SECONDS) as at_broker:
            channel = await at_broker.channel()
            for name in names:
                await channel.queue_delete(name)  # of one that is not there, too


async def _standing(broker: str, names: Sequence[str]) -> list[str]:
    left = []
    async with await aio_pika.connect(broker, timeout=PATIENCE_SECONDS) as connection:
        for name in names:
            channel = await connection.channel()  # one that asked in vain is closed
            with suppress(ChannelNotFoundEntity):
                await channel.get_queue(name, ensure=True)
                left.append(name)
    return left


def _names(scope: QueueScope, queues: Sequence[str]) -> Iterator[str]:
    """Yield all that may be there."""
    yield scope.name(SETTLED)
    for queue in queues:
        yield scope.name(queue)
        for milliseconds in RUNGS_MS:
            yield scope.name(delay_queue(queue, milliseconds))
