"""Broker queues under test, each behind a proxy whose cut plays the death of its process."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_infra.queue.brokered import BrokeredQueue, Transport
from factflow_infra.queue.brokered.naming import RUNGS_MS, SETTLED, delay_queue
from factflow_protocols.queue import QueueProtocol, QueueScope
from factflow_testing.tcp_proxy import TcpProxy
from factflow_testing.waiting import eventually


def fresh_scope(generation: int = 1) -> QueueScope:
    """Return a scope that no other test of the shared broker has."""
    return QueueScope(str(uuid.uuid4()), generation)


@dataclass
class BrokerRig(ABC):
    """The queue under test and its successors, all with one broker and one ledger."""

    url: str
    ledger: AsyncEngine
    scopes: list[QueueScope] = field(default_factory=list)
    names: tuple[str, ...] = ("in", "out", "empty", "elsewhere")
    queues: list[BrokeredQueue] = field(default_factory=list)
    ledgers: list[AsyncEngine] = field(default_factory=list)
    proxies: list[TcpProxy] = field(default_factory=list)

    async def make(self) -> BrokeredQueue:
        """Return another queue, which knows nothing of the ones before it."""
        proxy = TcpProxy.in_front_of(self.url)
        await proxy.start()
        self.proxies.append(proxy)
        ledger = self.ledger.execution_options()  # the same connections, with events of its own
        queue = BrokeredQueue(self.transport(proxy.url(self.url)), ledger)
        self.queues.append(queue)
        self.ledgers.append(ledger)
        return queue

    @property
    def queue(self) -> BrokeredQueue:
        """Return the newest one."""
        return self.queues[-1]

    @property
    def proxy(self) -> TcpProxy:
        """Return what stands between the newest one and the broker."""
        return self.proxies[-1]

    async def reopen(self, *, clean: bool) -> BrokeredQueue:
        """A kill is played by cutting the queue off from broker and ledger, for good."""
        if clean:
            await self.queue.close()
        else:
            await self.kill(self.queue)
            await self.unconsumed()
        return await self.make()

    async def kill(self, queue: QueueProtocol) -> None:
        """Cut one of the queues off from broker and ledger, for good."""
        (number,) = (n for n, one in enumerate(self.queues) if one is queue)
        self.proxies[number].cut()
        event.listen(self.ledgers[number].sync_engine, "begin", _refuse)
        await queue.close()

    async def unconsumed(self) -> None:
        """Wait until the broker has noticed that nobody consumes any more."""

        async def nobody() -> bool:
            found = await self.at_broker([*self.names, SETTLED])
            return not any(consumers for consumers, _ in found.values())

        await eventually(nobody)

    async def made(self, name: str) -> None:
        """Wait until the broker has a queue of this name, and somebody who consumes it."""

        async def consumed() -> bool:
            return (await self.at_broker([name])).get(name, (0, 0))[0] > 0

        await eventually(consumed)

    @staticmethod
    @abstractmethod
    def found() -> str:
        """Return the URL of the broker that tests use, or skip the test."""

    @property
    def client_url(self) -> str:
        """Return the URL for processes of their own."""
        return self.url

    @abstractmethod
    def transport(self, url: str) -> Transport:
        """Return a connection to the broker, not made yet."""

    @abstractmethod
    async def at_broker(self, names: Sequence[str] = ()) -> dict[str, tuple[int, int]]:
        """Return consumers and ready messages of those of the scopes' queues that the broker has."""

    @abstractmethod
    async def sweep(self) -> None:
        """Delete what the scopes have at the broker."""

    async def close(self) -> None:
        """End every queue, and leave nothing at the broker."""
        for queue in self.queues:
            await queue.close()
        for proxy in self.proxies:
            await proxy.close()
        await self.sweep()

    @property
    def all_names(self) -> list[str]:
        """Return every queue that a scope of a test may have."""
        delays = [delay_queue(name, rung) for name in self.names for rung in RUNGS_MS]
        return [*self.names, SETTLED, *delays]


def _refuse(_: Connection) -> None:
    raise SQLAlchemyError("cut off from the ledger")
