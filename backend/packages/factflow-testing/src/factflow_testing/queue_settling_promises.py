"""Promises about settling, putting back and releasing."""

from __future__ import annotations

import asyncio

from factflow_foundation.clock import Clock
from factflow_protocols.queue import (
    Delivery,
    Progress,
    QueueDepth,
    QueueProtocol,
)
from factflow_testing.queue_rig import (
    SCOPE,
    Advance,
    QueueFixtures,
    Reopen,
    drained,
    ids,
    message,
    opened,
    settle_all,
    take,
)


class SettlingPromises(QueueFixtures):
    """A delivery ends in exactly one way, and it lasts."""

    async def test_messages_settle_in_any_order(self, queue: QueueProtocol) -> None:
        consumer = await opened(queue, ["a", "b", "c"])
        deliveries = [await take(consumer) for _ in range(3)]
        for delivery in reversed(deliveries):
            await queue.settle(delivery)
        assert await drained(queue) == Progress(3, 3, 0)

    async def test_children_come_in_with_the_settle(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """At no moment is the scope drained between parent and children; both survive together."""
        consumer = await opened(queue, ["parent"])
        waiting = asyncio.create_task(queue.wait_drained(SCOPE))
        children = [message("x", "out"), message("y", "out")]
        await queue.settle(await take(consumer), children=children)
        assert not waiting.done()
        again = await reopen(clean=False)
        await asyncio.gather(waiting, return_exceptions=True)
        assert await again.open(SCOPE) == Progress(3, 1, 0)
        got = await settle_all(again, again.subscribe(SCOPE, "out"), 2)
        assert ids(got) == ["x", "y"]
        assert await drained(again) == Progress(3, 3, 0)

    async def test_repeated_settle_changes_nothing(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """Not the counts, not the failed flag; children of a repeat are not announced."""
        consumer = await opened(queue, ["a", "b"])
        delivery = await take(consumer)
        await asyncio.gather(queue.settle(delivery), queue.settle(delivery))
        await queue.settle(delivery, failed=True, children=[message("stray")])
        assert await queue.progress(SCOPE) == Progress(2, 1, 0)
        again = await reopen(clean=False)
        consumer = await opened(again)
        await again.settle(delivery, failed=True, children=[message("stray")])
        assert await again.progress(SCOPE) == Progress(2, 1, 0)
        assert ids(await settle_all(again, consumer, 1)) == ["b"]
        assert await drained(again) == Progress(2, 2, 0)

    async def test_settle_that_comes_before_its_message_counts(self, queue: QueueProtocol) -> None:
        consumer = await opened(queue)
        await queue.settle(Delivery(SCOPE, "in", "early", b"", repeat=True))
        assert (await queue.progress(SCOPE)).outstanding == 0
        await queue.publish(SCOPE, [message("early"), message("other")])
        assert ids(await settle_all(queue, consumer, 1)) == ["other"]
        assert await drained(queue) == Progress(2, 2, 0)

    async def test_settle_of_a_message_not_in_hand_takes_it_from_the_queue(
        self, queue: QueueProtocol
    ) -> None:
        consumer = await opened(queue, ["a", "b"])
        delivery = await take(consumer)
        await queue.release(delivery)
        await queue.settle(delivery)
        assert ids(await settle_all(queue, consumer, 1)) == ["b"]
        assert await drained(queue) == Progress(2, 2, 0)

    async def test_a_message_in_hand_survives_any_end_as_a_repeat(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """What settled before does not come again, what is published later is no repeat."""
        consumer = await opened(queue, ["settled", "held", "waiting"])
        await settle_all(queue, consumer, 1)
        await take(consumer)
        for clean in (True, False):
            queue = await reopen(clean=clean)
            consumer = await opened(queue)
            first, second = await take(consumer), await take(consumer)
            assert (first.message_id, first.repeat) == ("held", True)
            assert second.message_id == "waiting"
        await queue.publish(SCOPE, [message("settled"), message("new")])
        for delivery in (first, second, *await settle_all(queue, consumer, 1)):
            await queue.settle(delivery)
        assert (delivery.message_id, delivery.repeat) == ("new", False)
        assert await drained(queue) == Progress(4, 4, 0)

    async def test_a_message_put_back_survives_a_kill(
        self, queue: QueueProtocol, reopen: Reopen, clock: Clock, advance: Advance
    ) -> None:
        """As its next attempt; or as the one before, if the end came before the queue let go of that."""
        consumer = await opened(queue, ["a"])
        await queue.put_back(await take(consumer), b"second attempt", clock.now() + 0.3)
        again = await reopen(clean=False)
        consumer = await opened(again)
        await advance(0.4)
        delivery = await take(consumer)
        assert delivery.body == b"second attempt" or delivery.repeat
        await again.settle(delivery)
        assert await drained(again) == Progress(1, 1, 0)
        assert consumer.take_nowait() is None

    async def test_failed_flags_survive(self, queue: QueueProtocol, reopen: Reopen) -> None:
        consumer = await opened(queue, ["a", "b"])
        await queue.settle(await take(consumer), failed=True)
        await queue.settle(await take(consumer))
        assert await queue.progress(SCOPE) == Progress(2, 2, 1)
        again = await reopen(clean=False)
        assert await again.open(SCOPE) == Progress(2, 2, 1)

    async def test_put_back_waits_for_its_time_and_stays_outstanding(
        self, queue: QueueProtocol, clock: Clock, advance: Advance
    ) -> None:
        consumer = await opened(queue, ["a"])
        await queue.put_back(await take(consumer), b"second attempt", clock.now() + 0.3)
        assert queue.depths(SCOPE)["in"] == QueueDepth(ready=0, in_flight=0, delayed=1)
        assert consumer.take_nowait() is None
        assert (await queue.progress(SCOPE)).outstanding == 1
        await advance(0.4)
        delivery = await take(consumer)
        assert (delivery.message_id, delivery.body) == ("a", b"second attempt")
        await queue.settle(delivery)
        assert await drained(queue) == Progress(1, 1, 0)

    async def test_message_may_be_published_for_later(
        self, queue: QueueProtocol, clock: Clock, advance: Advance
    ) -> None:
        consumer = await opened(queue)
        await queue.publish(SCOPE, [message("later", not_before=clock.now() + 0.3), message("now")])
        assert (await take(consumer)).message_id == "now"
        assert consumer.take_nowait() is None
        await advance(0.4)
        assert (await take(consumer)).message_id == "later"

    async def test_put_back_of_a_settled_message_changes_nothing(
        self, queue: QueueProtocol
    ) -> None:
        consumer = await opened(queue, ["a"])
        delivery = await take(consumer)
        await asyncio.gather(queue.settle(delivery), queue.put_back(delivery, b"again", 0.0))
        await queue.put_back(delivery, b"again", 0.0)
        await queue.release(delivery)
        assert await drained(queue) == Progress(1, 1, 0)
        assert consumer.take_nowait() is None

    async def test_released_message_comes_again_as_a_repeat(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        consumer = await opened(queue, ["a"])
        await queue.release(await take(consumer))
        delivery = await take(consumer)
        assert (delivery.message_id, delivery.repeat) == ("a", True)
        await queue.release(delivery)
        again = await reopen(clean=True)
        assert (await take(await opened(again))).repeat

    async def test_first_of_two_acts_on_a_delivery_stands(
        self, queue: QueueProtocol, reopen: Reopen, clock: Clock
    ) -> None:
        """In the queue that saw them, and in the one that is opened after a kill."""
        consumer = await opened(queue, ["a"])
        delivery = await take(consumer)
        await asyncio.gather(
            queue.release(delivery), queue.put_back(delivery, b"again", clock.now() + 3600)
        )
        assert queue.depths(SCOPE)["in"] == QueueDepth(ready=1, in_flight=0, delayed=0)
        again = await reopen(clean=False)
        assert (await take(await opened(again))).body == delivery.body
