"""RabbitMQ queues under test."""

from __future__ import annotations

from collections.abc import Sequence

import aio_pika

from factflow_infra.queue.brokered import Transport
from factflow_infra.queue.rabbitmq import RabbitTransport
from factflow_infra.queue.rabbitmq.naming import broker_name
from factflow_testing.broker_rig import BrokerRig
from factflow_testing.broker_service import amqp_url


class RabbitRig(BrokerRig):
    """Looks at the broker through a connection of its own."""

    @staticmethod
    def found() -> str:
        """Return the URL of the tests' RabbitMQ."""
        return amqp_url()

    def transport(self, url: str) -> Transport:
        """Return a connection to RabbitMQ."""
        return RabbitTransport(url)

    async def at_broker(self, names: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
        """Return consumers and ready messages of the queues that are there."""
        found = {}
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for scope in self.scopes:
                for name in names or self.all_names:
                    try:
                        queue = await channel.get_queue(broker_name(scope, name), ensure=True)
                    except aio_pika.exceptions.ChannelNotFoundEntity:
                        channel = await connection.channel()
                        continue
                    result = queue.declaration_result
                    found[name] = (result.consumer_count or 0, result.message_count or 0)
        return found

    async def sweep(self) -> None:
        """Delete the scopes' queues."""
        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            for scope in self.scopes:
                for name in self.all_names:
                    await channel.queue_delete(broker_name(scope, name))
