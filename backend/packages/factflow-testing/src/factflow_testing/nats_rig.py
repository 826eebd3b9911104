"""NATS queues under test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import nats
from nats.aio.client import Client

from factflow_infra.queue.brokered import Transport
from factflow_infra.queue.nats import NatsTransport
from factflow_infra.queue.nats.naming import CONSUMER, stream_name
from factflow_testing.broker_rig import BrokerRig
from factflow_testing.broker_service import nats_url

ACK_WAIT = 1.5
"""A killed process is waited for no longer."""


def quick_url(url: str, ack_wait: float = ACK_WAIT) -> str:
    """Return a URL that has others wait no longer for what a killed process had in hand."""
    return urlunsplit(urlsplit(url)._replace(query=f"ack_wait={ack_wait}"))


class NatsRig(BrokerRig):
    """Looks at the server through connections of its own. Streams are made with its `ack_wait`."""

    ack_wait = ACK_WAIT

    @staticmethod
    def found() -> str:
        """Return the URL of the tests' NATS."""
        return nats_url()

    @property
    def client_url(self) -> str:
        """Return the URL with a short `ack_wait`."""
        return quick_url(self.url, self.ack_wait)

    def transport(self, url: str) -> Transport:
        """Return a connection to NATS."""
        return NatsTransport(quick_url(url, self.ack_wait))

    async def at_broker(self, names: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
        """Return waiting requests and undelivered messages of the streams that are there."""
        found = {}
        async with self._connection() as client:
            for scope in self.scopes:
                for name in names or self.all_names:
                    answer = await _ask(
                        client, f"CONSUMER.INFO.{stream_name(scope, name)}.{CONSUMER}"
                    )
                    if "error" not in answer:
                        found[name] = (answer["num_waiting"], answer["num_pending"])
        return found

    async def unconsumed(self) -> None:
        """A killed process stops consuming with its connection; what it had in hand comes by itself."""

    async def drop(self, stream: str) -> None:
        """Delete a stream behind the queues' back."""
        async with self._connection() as client:
            await _ask(client, f"STREAM.DELETE.{stream}")

    async def sweep(self) -> None:
        """Delete the scopes' streams."""
        async with self._connection() as client:
            for scope in self.scopes:
                for name in self.all_names:
                    await _ask(client, f"STREAM.DELETE.{stream_name(scope, name)}")

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Client]:
        client = await nats.connect(urlunsplit(urlsplit(self.url)._replace(query="")))
        try:
            yield client
        finally:
            await client.close()


async def _ask(client: Client, request: str) -> dict[str, Any]:
    answer = await client.request(f"$JS.API.{request}", b"", timeout=10)
    found: dict[str, Any] = json.loads(answer.data)
    return found
