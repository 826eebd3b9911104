"""The queue: the embedded one in the data folder, or a broker with a ledger beside it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import ClassVar

from factflow_foundation.clock import Clock
from factflow_infra.boot import boot_id
from factflow_infra.database import sqlite_engine
from factflow_infra.queue.brokers import transport_for
from factflow_infra.queue.embedded import EmbeddedQueue
from factflow_protocols.errors import QueueError
from factflow_protocols.queue import QueueProtocol
from factflow_server.embedded import DataDir
from factflow_server.settings import ServerSettings, ServerStartError


class BrokerUnreachableError(ServerStartError):
    """The broker that the settings name does not answer, or refuses."""

    code: ClassVar[str] = "broker_unreachable"

    def __init__(self, error: QueueError) -> None:
        super().__init__(
            error.message,
            hint="is the broker running there? FACTFLOW_QUEUE_URL has its address, user and password",
        )


async def open_queue(
    settings: ServerSettings, data_dir: DataDir, clock: Clock, stack: contextlib.AsyncExitStack
) -> QueueProtocol:
    """Open the queue; it is closed with the stack.

    Raises `QueueUnavailableError` for the embedded one's file, `BrokerUnreachableError` for a broker.
    """
    boot = await asyncio.to_thread(boot_id)
    if settings.queue_url is None:
        embedded = EmbeddedQueue(data_dir.queue, clock, durability=settings.durability, boot=boot)
        stack.push_async_callback(embedded.close)
        await embedded.start()
        return embedded
    from factflow_infra.queue.brokered import BrokeredQueue  # a start without a broker is quicker

    # The broker forgets what the ledger says is settled, so the ledger survives the machine in any case.
    if settings.database_url is None:
        ledger = sqlite_engine(data_dir.queue_ledger, durability="fsync")
    else:
        from factflow_infra.postgres import postgres_engine

        url = settings.database_url.get_secret_value()
        ledger = postgres_engine(url, application_name="factflow queue ledger")
    stack.push_async_callback(ledger.dispose)
    # What a bucket has taken survives any machine of ours.
    in_bucket = (settings.storage_uri or "").startswith("s3://")
    lasting = settings.durability == "fsync" or in_bucket
    try:
        transport = transport_for(settings.queue_url.get_secret_value())
        queue = BrokeredQueue(transport, ledger, clock, boot=None if lasting else boot)
        stack.push_async_callback(queue.close)
        await queue.start()
    except QueueError as error:
        raise BrokerUnreachableError(error) from error
    return queue
