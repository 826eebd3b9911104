"""Promises about publishing and taking."""

from __future__ import annotations

import asyncio

import pytest

from factflow_protocols.queue import (
    Consumer,
    Delivery,
    Progress,
    QueueDepth,
    QueueProtocol,
)
from factflow_testing.queue_rig import (
    SCOPE,
    QueueFixtures,
    Reopen,
    drained,
    ids,
    message,
    opened,
    settle_all,
    take,
)


class DeliveryPromises(QueueFixtures):
    """What is published arrives, once, in order."""

    async def test_message_arrives_as_it_was_published(self, queue: QueueProtocol) -> None:
        consumer = await opened(queue, ["a"])
        delivery = await take(consumer)
        assert delivery == Delivery(SCOPE, "in", "a", b"body of a", repeat=False)

    async def test_confirmed_publish_survives_a_kill(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        await opened(queue, ["a", "b"])
        again = await reopen(clean=False)
        assert await again.open(SCOPE) == Progress(2, 0, 0)
        assert ids(await settle_all(again, again.subscribe(SCOPE, "in"), 2)) == ["a", "b"]

    async def test_consumer_that_comes_late_gets_what_was_published_before(
        self, queue: QueueProtocol
    ) -> None:
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message("a")])
        assert queue.depths(SCOPE)["in"] == QueueDepth(ready=1, in_flight=0, delayed=0)
        assert (await take(queue.subscribe(SCOPE, "in"))).message_id == "a"

    async def test_waiting_consumer_is_woken(self, queue: QueueProtocol) -> None:
        consumer = await opened(queue)
        assert consumer.take_nowait() is None
        waiting = asyncio.create_task(take(consumer))
        await asyncio.sleep(0)
        await queue.publish(SCOPE, [message("a")])
        assert (await waiting).message_id == "a"

    async def test_parallel_consumers_share_the_messages(self, queue: QueueProtocol) -> None:
        first = await opened(queue)
        consumers = [first, queue.subscribe(SCOPE, "in"), queue.subscribe(SCOPE, "in")]
        got: list[str] = []

        async def work(consumer: Consumer) -> None:
            while True:
                delivery = await consumer.take()
                got.append(delivery.message_id)
                await queue.settle(delivery)

        workers = [asyncio.create_task(work(consumer)) for consumer in consumers]
        await queue.publish(SCOPE, [message(str(number)) for number in range(100)])
        assert await drained(queue) == Progress(100, 100, 0)
        for consumer in consumers:
            await consumer.close()
        await asyncio.gather(*workers, return_exceptions=True)
        assert sorted(got) == sorted(str(number) for number in range(100))

    async def test_cancelled_take_loses_nothing(self, queue: QueueProtocol) -> None:
        """Whether the cancel comes before, with or after the message."""
        consumer = await opened(queue)
        got: list[str] = []
        for number in range(50):
            waiting = asyncio.create_task(consumer.take())
            publishing = asyncio.create_task(queue.publish(SCOPE, [message(str(number))]))
            for _ in range(number % 5):
                await asyncio.sleep(0)
            if number % 2:
                await publishing
            waiting.cancel()
            await publishing
            try:
                delivery = await waiting
            except asyncio.CancelledError:
                delivery = await take(consumer)
            got.append(delivery.message_id)
        assert got == [str(number) for number in range(50)]

    async def test_cancelled_waiter_passes_its_wake_up_on(self, queue: QueueProtocol) -> None:
        """The message is there, the first in line is about to get it, and is cancelled."""
        consumer = await opened(queue)
        first, second = (asyncio.create_task(take(consumer)) for _ in range(2))
        await asyncio.sleep(0)
        publishing = asyncio.create_task(queue.publish(SCOPE, [message("a")]))
        while not queue.depths(SCOPE)["in"].ready and not first.done():  # noqa: ASYNC110 - the instant matters
            await asyncio.sleep(0)
        first.cancel()
        await publishing
        got = await asyncio.gather(first, return_exceptions=True)
        if isinstance(got[0], Delivery):
            await queue.release(got[0])
        assert (await second).message_id == "a"

    async def test_closing_a_consumer_ends_its_waiting_and_leaves_the_rest(
        self, queue: QueueProtocol
    ) -> None:
        consumer = await opened(queue, ["a"])
        delivery = await take(consumer)
        waiting = asyncio.create_task(consumer.take())
        await asyncio.sleep(0)
        await consumer.close()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await queue.publish(SCOPE, [message("b")])
        assert consumer.take_nowait() is None
        await queue.settle(delivery)
        assert (await take(queue.subscribe(SCOPE, "in"))).message_id == "b"

    async def test_publishing_the_same_id_again_changes_nothing(self, queue: QueueProtocol) -> None:
        """While it waits, while it runs, and after it settled; alone or among new ones."""
        consumer = await opened(queue, ["a", "a"])
        await queue.publish(SCOPE, [message("a")])
        delivery = await take(consumer)
        await queue.publish(SCOPE, [message("a"), message("b")])
        await queue.settle(delivery)
        await queue.publish(SCOPE, [message("a", queue="elsewhere"), message("c"), message("b")])
        assert ids(await settle_all(queue, consumer, 2)) == ["b", "c"]
        assert await drained(queue) == Progress(3, 3, 0)
        assert consumer.take_nowait() is None

    async def test_backlog_is_delivered_completely_and_in_order(self, queue: QueueProtocol) -> None:
        consumer = await opened(queue)
        names = [f"{number:06}" for number in range(self.backlog)]
        for first in range(0, len(names), 97):
            await queue.publish(SCOPE, [message(name) for name in names[first : first + 97]])
        assert queue.depths(SCOPE)["in"].ready == self.backlog
        assert ids(await settle_all(queue, consumer, self.backlog)) == names
        assert await drained(queue) == Progress(self.backlog, self.backlog, 0)

    async def test_backlog_left_by_a_kill_is_delivered_completely(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """Some of it had been handed out; what comes later comes behind it."""
        names = [f"{number:06}" for number in range(self.backlog)]
        consumer = await opened(queue, names)
        for _ in range(10):
            await take(consumer)
        again = await reopen(clean=False)
        got = await settle_all(again, await opened(again, ["late"]), self.backlog + 1)
        got_ids = ids(got) if self.keeps_order_over_a_kill else sorted(ids(got))
        assert got_ids == [*names, "late"]
        assert not next(one for one in got if one.message_id == "late").repeat
        assert await drained(again) == Progress(self.backlog + 1, self.backlog + 1, 0)
