"""What the promises of `queue_contract` are written with."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import pytest

from factflow_foundation.clock import Clock, SystemClock
from factflow_protocols.queue import (
    Consumer,
    Delivery,
    OutgoingMessage,
    Progress,
    QueueProtocol,
    QueueScope,
)

SCOPE = QueueScope(str(uuid.uuid4()))
"""Drawn, as a broker may be shared with others who test."""
OTHER = QueueScope(str(uuid.uuid4()))
PATIENCE_SECONDS = 30.0

Advance = Callable[[float], Awaitable[None]]


class Reopen(Protocol):
    """Lets the queue go, in order (`clean`) or as a killed process would, and opens it again."""

    async def __call__(self, *, clean: bool) -> QueueProtocol: ...


def message(name: str, queue: str = "in", not_before: float = 0.0) -> OutgoingMessage:
    """A message whose body tells its name."""
    return OutgoingMessage(queue, name, f"body of {name}".encode(), not_before)


async def take(consumer: Consumer) -> Delivery:
    """The next message, or a failure when none comes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await consumer.take()


async def drained(queue: QueueProtocol, scope: QueueScope = SCOPE) -> Progress:
    """The progress once nothing is outstanding, or a failure when that does not happen."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await queue.wait_drained(scope)


async def opened(queue: QueueProtocol, names: Sequence[str] = ()) -> Consumer:
    """Open the scope, publish these into "in", and consume it."""
    await queue.open(SCOPE)
    await queue.publish(SCOPE, [message(name) for name in names])
    return queue.subscribe(SCOPE, "in")


async def settle_all(queue: QueueProtocol, consumer: Consumer, count: int) -> list[Delivery]:
    """Take and settle this many."""
    deliveries = []
    for _ in range(count):
        delivery = await take(consumer)
        await queue.settle(delivery)
        deliveries.append(delivery)
    return deliveries


def ids(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.message_id for delivery in deliveries]


class QueueFixtures:
    """What a provider's test overrides, and how much it is given to do."""

    backlog = 1_000
    volume = 20_000
    volume_seconds = 60.0
    keeps_order_over_a_kill = True

    @pytest.fixture
    async def queue(self) -> QueueProtocol:
        raise NotImplementedError("override: an empty, usable queue, closed at the end")

    @pytest.fixture
    def reopen(self) -> Reopen:
        raise NotImplementedError("override: see Reopen")

    @pytest.fixture
    def clock(self) -> Clock:
        return SystemClock()

    @pytest.fixture
    def advance(self) -> Advance:
        return asyncio.sleep
