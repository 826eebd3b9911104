"""Promises that only a queue which keeps every message's row in one place can hold to the letter.

A broker hands messages out to its clients' memory and cannot be asked for one of them. So it cannot tell,
after an orderly end, what only waited there; after a kill it knows what it had handed out, and nothing else
is a repeat; and where a message stands among the others it does not say.
"""

from __future__ import annotations

from factflow_foundation.clock import Clock
from factflow_protocols.queue import MessagePlace, Progress, QueueProtocol
from factflow_testing.queue_rig import (
    SCOPE,
    Advance,
    QueueFixtures,
    Reopen,
    drained,
    ids,
    opened,
    settle_all,
    take,
)


class ExactPromises(QueueFixtures):
    """What is a repeat, and where a message stands, to the letter."""

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

    async def test_backlog_left_by_a_kill_is_delivered_completely_and_in_order(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        names = [f"{number:06}" for number in range(self.backlog)]
        await opened(queue, names)
        again = await reopen(clean=False)
        got = await settle_all(again, await opened(again, ["late"]), self.backlog + 1)
        assert ids(got) == [*names, "late"]
        assert [delivery.repeat for delivery in got] == [True] * self.backlog + [False]

    async def test_a_message_is_found_wherever_it_stands(
        self, queue: QueueProtocol, clock: Clock
    ) -> None:
        consumer = await opened(queue, ["a", "b", "c", "d"])
        first, second = await take(consumer), await take(consumer)
        await queue.settle(first)
        assert await queue.find_message(SCOPE, "a") == MessagePlace("in", "settled")
        held = MessagePlace("in", "in_flight", b"body of b")
        assert await queue.find_message(SCOPE, "b") == held
        assert await queue.find_message(SCOPE, "c") == MessagePlace("in", "ready", b"body of c")
        last = await queue.find_message(SCOPE, "d")
        assert last == MessagePlace("in", "ready", b"body of d", ahead=1)
        later = clock.now() + 60
        await queue.put_back(second, b"again", later)
        waiting = await queue.find_message(SCOPE, "b")
        assert waiting == MessagePlace("in", "delayed", b"again", not_before=later)

    async def test_a_message_is_found_among_more_than_fit_into_memory(
        self, queue: QueueProtocol
    ) -> None:
        names = [f"{number:05d}" for number in range(self.backlog)]
        await opened(queue, names)
        place = await queue.find_message(SCOPE, names[-1])
        assert place is not None
        assert (place.state, place.ahead) == ("ready", self.backlog - 1)
