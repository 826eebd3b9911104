"""Promises about claims: which messages were being handled when the process died."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from factflow_foundation.clock import Clock
from factflow_protocols.queue import Delivery, Progress, QueueProtocol
from factflow_testing.queue_rig import (
    OTHER,
    SCOPE,
    Advance,
    QueueFixtures,
    Reopen,
    drained,
    message,
    opened,
    settle_all,
    take,
)


async def crashed(queue: QueueProtocol, reopen: Reopen, names: Sequence[str]) -> QueueProtocol:
    """Publish these, and let the scope have its first crash."""
    await opened(queue, names)
    again = await reopen(clean=False)
    await again.open(SCOPE)
    return again


async def crashes_of(queue: QueueProtocol, count: int) -> dict[str, int]:
    """Settle this many messages and return at how many crashes each was claimed."""
    await queue.open(SCOPE)
    got = await settle_all(queue, queue.subscribe(SCOPE, "in"), count)
    return {delivery.message_id: delivery.crashes for delivery in got}


class ClaimPromises(QueueFixtures):
    """From a scope's first crash on, every later one is counted for what was claimed at it."""

    async def test_the_first_crash_blames_nobody(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        consumer = await opened(queue, ["a", "b"])
        await queue.claim(await take(consumer))
        again = await reopen(clean=False)
        assert await crashes_of(again, 2) == {"a": 0, "b": 0}

    async def test_later_crashes_are_counted_for_what_was_claimed(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """Not for what only was in hand, or waited."""
        again = await crashed(queue, reopen, ["claimed", "once", "held", "waiting"])
        for names in (["claimed", "once"], ["claimed"]):
            consumer = again.subscribe(SCOPE, "in")
            for _ in range(3):
                delivery = await take(consumer)
                if delivery.message_id in names:
                    await again.claim(delivery)
            again = await reopen(clean=False)
            await again.open(SCOPE)
        expected = {"claimed": 2, "once": 1, "held": 0, "waiting": 0}
        assert await crashes_of(again, 4) == expected

    async def test_many_claims_at_a_time_are_all_kept(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        names = [str(number) for number in range(200)]
        again = await crashed(queue, reopen, names)
        consumer = again.subscribe(SCOPE, "in")
        deliveries = [await take(consumer) for _ in names]
        await asyncio.gather(*(again.claim(delivery) for delivery in deliveries))
        assert await crashes_of(await reopen(clean=False), 200) == dict.fromkeys(names, 1)

    async def test_a_claim_ends_with_the_handling(
        self, queue: QueueProtocol, reopen: Reopen, clock: Clock, advance: Advance
    ) -> None:
        """Settled, put back or released; what was counted before stays."""
        again = await crashed(queue, reopen, ["settled", "back", "released"])
        consumer = again.subscribe(SCOPE, "in")
        for _ in range(3):
            await again.claim(await take(consumer))
        again = await reopen(clean=False)
        await again.open(SCOPE)
        consumer = again.subscribe(SCOPE, "in")
        for _ in range(3):
            delivery = await take(consumer)
            assert delivery.crashes == 1
            await again.claim(delivery)
            await self._end(again, delivery, clock)
        again = await reopen(clean=False)
        await again.open(SCOPE)
        await advance(0.4)
        assert await crashes_of(again, 2) == {"back": 1, "released": 1}
        assert await drained(again) == Progress(3, 3, 0)

    @staticmethod
    async def _end(queue: QueueProtocol, delivery: Delivery, clock: Clock) -> None:
        if delivery.message_id == "settled":
            await queue.settle(delivery)
        elif delivery.message_id == "back":
            await queue.put_back(delivery, b"next attempt", clock.now() + 0.3)
        else:
            await queue.release(delivery)

    async def test_an_orderly_end_is_no_crash(self, queue: QueueProtocol, reopen: Reopen) -> None:
        again = await crashed(queue, reopen, ["a"])
        await again.claim(await take(again.subscribe(SCOPE, "in")))
        again = await reopen(clean=True)
        await again.open(SCOPE)
        delivery = await take(again.subscribe(SCOPE, "in"))
        assert (delivery.repeat, delivery.crashes) == (True, 0)
        again = await reopen(clean=False)
        assert await crashes_of(again, 1) == {"a": 0}

    async def test_each_scope_has_a_first_crash_of_its_own(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        again = await crashed(queue, reopen, ["a"])
        await again.open(OTHER)
        await again.publish(OTHER, [message("a")])
        for scope in (SCOPE, OTHER):
            await again.claim(await take(again.subscribe(scope, "in")))
        again = await reopen(clean=False)
        for scope, expected in ((SCOPE, 1), (OTHER, 0)):
            await again.open(scope)
            assert (await take(again.subscribe(scope, "in"))).crashes == expected

    async def test_claims_that_come_late_change_nothing(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """Of messages put back, settled, or of a deleted scope; and claiming twice counts once."""
        again = await crashed(queue, reopen, ["released", "settled", "twice"])
        consumer = again.subscribe(SCOPE, "in")
        released, settled, twice = [await take(consumer) for _ in range(3)]
        await again.release(released)
        await again.settle(settled)
        for delivery in (released, settled, twice, twice):
            await again.claim(delivery)
        again = await reopen(clean=False)
        await again.open(SCOPE)
        got = await settle_all(again, again.subscribe(SCOPE, "in"), 2)
        assert {d.message_id: d.crashes for d in got} == {"released": 0, "twice": 1}
        await again.delete(SCOPE)
        await again.claim(twice)
        assert await again.progress(SCOPE) == Progress(0, 0, 0)
