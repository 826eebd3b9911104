"""What every queue has to keep, one promise per test.

A provider's test subclasses `QueueContract` and overrides the fixtures `queue` and `reopen`; one whose
clock is moved by hand overrides `clock` and `advance` too. `backlog` should exceed what the provider
holds in memory or prefetches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import pytest

from factflow_foundation.clock import Clock, SystemClock
from factflow_protocols.errors import FactflowError
from factflow_protocols.queue import (
    Consumer,
    Delivery,
    OutgoingMessage,
    Progress,
    QueueDepth,
    QueueProtocol,
    QueueScope,
)

SCOPE = QueueScope("01890000-0000-7000-8000-000000000001")
OTHER = QueueScope("01890000-0000-7000-8000-000000000002")
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


class QueueContract:
    """The suite. Not collected by itself: its name has no `Test` in front."""

    backlog = 1_000
    volume = 20_000
    volume_seconds = 60.0

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

    # -- publishing and taking

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

    async def test_backlog_left_by_a_kill_is_delivered_completely_and_in_order(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        names = [f"{number:06}" for number in range(self.backlog)]
        await opened(queue, names)
        again = await reopen(clean=False)
        got = await settle_all(again, await opened(again, ["late"]), self.backlog + 1)
        assert ids(got) == [*names, "late"]
        assert [delivery.repeat for delivery in got] == [True] * self.backlog + [False]

    # -- settling

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

    async def test_unsettled_message_survives_as_a_repeat(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """After an orderly end too, when it was in hand; what only waited is no repeat then."""
        consumer = await opened(queue, ["a", "b"])
        await take(consumer)
        again = await reopen(clean=True)
        await again.open(SCOPE)
        got = await settle_all(again, again.subscribe(SCOPE, "in"), 2)
        assert [(delivery.message_id, delivery.repeat) for delivery in got] == [
            ("a", True),
            ("b", False),
        ]

    async def test_all_that_stood_at_a_kill_are_repeats(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """Settled ones stay settled, later ones are no repeats."""
        consumer = await opened(queue, ["settled", "held", "waiting"])
        await settle_all(queue, consumer, 1)
        await take(consumer)
        again = await reopen(clean=False)
        consumer = await opened(again, ["settled", "new"])
        got = await settle_all(again, consumer, 3)
        assert [(delivery.message_id, delivery.repeat) for delivery in got] == [
            ("held", True),
            ("waiting", True),
            ("new", False),
        ]
        assert await drained(again) == Progress(4, 4, 0)

    async def test_failed_flags_survive(self, queue: QueueProtocol, reopen: Reopen) -> None:
        consumer = await opened(queue, ["a", "b"])
        await queue.settle(await take(consumer), failed=True)
        await queue.settle(await take(consumer))
        assert await queue.progress(SCOPE) == Progress(2, 2, 1)
        again = await reopen(clean=False)
        assert await again.open(SCOPE) == Progress(2, 2, 1)

    # -- putting back and releasing

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

    async def test_put_back_survives_a_kill(
        self, queue: QueueProtocol, reopen: Reopen, clock: Clock, advance: Advance
    ) -> None:
        consumer = await opened(queue, ["a"])
        await queue.put_back(await take(consumer), b"second attempt", clock.now() + 0.3)
        again = await reopen(clean=False)
        consumer = await opened(again)
        await advance(0.4)
        delivery = await take(consumer)
        assert (delivery.body, delivery.repeat) == (b"second attempt", True)

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

    # -- scopes, draining, the publisher

    async def test_two_scopes_never_meet(self, queue: QueueProtocol) -> None:
        """Same queue names, same message ids: other executions, and other generations."""
        scopes = [SCOPE, OTHER, QueueScope(SCOPE.execution_id, 2)]
        for scope in scopes:
            await queue.open(scope)
            await queue.publish(scope, [message("a")])
        for scope in scopes:
            consumer = queue.subscribe(scope, "in")
            delivery = await take(consumer)
            assert delivery.scope == scope
            assert consumer.take_nowait() is None
            assert await queue.progress(scope) == Progress(1, 0, 0)
            await queue.settle(delivery)
            assert await drained(queue, scope) == Progress(1, 1, 0)

    async def test_scope_without_messages_is_drained(self, queue: QueueProtocol) -> None:
        assert await queue.open(SCOPE) == Progress(0, 0, 0)
        assert await drained(queue) == Progress(0, 0, 0)

    async def test_publisher_is_one_outstanding_item(self, queue: QueueProtocol) -> None:
        await queue.open(SCOPE, publisher=True)
        assert await queue.open(SCOPE, publisher=True) == Progress(1, 0, 0)
        consumer = await opened(queue, ["a"])
        waiting = asyncio.create_task(queue.wait_drained(SCOPE))
        await settle_all(queue, consumer, 1)
        assert not waiting.done()
        await queue.end_publishing(SCOPE)
        await queue.end_publishing(SCOPE)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await waiting == Progress(2, 2, 0)
        assert await queue.open(SCOPE, publisher=True) == Progress(2, 2, 0)

    async def test_publisher_and_its_cursor_survive(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        await queue.open(SCOPE, publisher=True)
        assert await queue.publisher_cursor(SCOPE) == 0
        await queue.publish(SCOPE, [message("a"), message("b")], cursor=2)
        again = await reopen(clean=False)
        assert await again.open(SCOPE, publisher=True) == Progress(3, 0, 0)
        assert await again.publisher_cursor(SCOPE) == 2
        await again.end_publishing(SCOPE)
        once_more = await reopen(clean=False)
        assert await once_more.open(SCOPE, publisher=True) == Progress(3, 1, 0)

    async def test_deleted_scope_leaves_nothing_behind(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """Late acts of its handlers do not bring it back; the same name can start afresh."""
        consumer = await opened(queue, ["a", "b", "c"])
        delivery = await take(consumer)
        waiting = asyncio.create_task(queue.subscribe(SCOPE, "empty").take())
        await asyncio.sleep(0)
        await queue.delete(SCOPE)
        await queue.delete(SCOPE)
        await queue.settle(delivery, children=[message("stray")])
        await queue.put_back(delivery, b"", 0.0)
        await queue.release(delivery)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not queue.depths(SCOPE)
        assert await queue.progress(SCOPE) == Progress(0, 0, 0)
        again = await reopen(clean=False)
        assert await again.open(SCOPE) == Progress(0, 0, 0)
        assert (await take(await opened(again, ["a"]))).repeat is False

    # -- giving up, volume, closing

    async def test_cancelled_caller_leaves_the_act_done_or_not_done(
        self, queue: QueueProtocol
    ) -> None:
        """Publish or settle again afterwards, and the counts come out right."""
        consumer = await opened(queue)
        for number in range(40):
            name = str(number)
            publishing = asyncio.create_task(queue.publish(SCOPE, [message(name)]))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await queue.publish(SCOPE, [message(name)])
            delivery = await take(consumer)
            children = [message(f"{name}-child", "out")]
            settling = asyncio.create_task(queue.settle(delivery, children=children))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
            await queue.settle(delivery, children=children)
        assert await queue.progress(SCOPE) == Progress(80, 40, 0)
        await settle_all(queue, queue.subscribe(SCOPE, "out"), 40)
        assert await drained(queue) == Progress(80, 80, 0)

    async def test_large_volume_passes_in_bounded_time(self, queue: QueueProtocol) -> None:
        """A bound that only a queue with a commit, a wait or a search per message would miss."""
        consumer = await opened(queue)
        unpublished = iter(range(self.volume))
        taken = 0

        async def publish() -> None:
            for number in unpublished:
                await queue.publish(SCOPE, [message(str(number))])

        async def work() -> None:
            nonlocal taken
            while taken < self.volume:
                taken += 1
                await queue.settle(await consumer.take())

        async with asyncio.timeout(self.volume_seconds):
            await asyncio.gather(*(publish() for _ in range(100)), *(work() for _ in range(100)))
            assert await queue.wait_drained(SCOPE) == Progress(self.volume, self.volume, 0)

    async def test_closed_queue_refuses_in_words(self, queue: QueueProtocol) -> None:
        await opened(queue)
        await queue.close()
        await queue.close()
        with pytest.raises(FactflowError, match="closed"):
            await queue.publish(SCOPE, [message("a")])
