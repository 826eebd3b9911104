"""Promises about scopes that several processes work on: one owns it, others have joined it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import pytest

from factflow_foundation.clock import Clock
from factflow_protocols.errors import QueueError
from factflow_protocols.queue import Consumer, Delivery, Progress, QueueProtocol
from factflow_testing.queue_rig import (
    OTHER,
    SCOPE,
    Advance,
    QueueFixtures,
    drained,
    ids,
    message,
    settle_all,
    take,
)
from factflow_testing.waiting import eventually

Another = Callable[[], Awaitable[QueueProtocol]]
"""Makes the queue of one more process, on the same broker and ledger."""
Kill = Callable[[QueueProtocol], Awaitable[None]]
"""Lets a queue go as a killed process would."""


async def joined(another: Another, prefetch: int = 4) -> tuple[QueueProtocol, Consumer]:
    """A member and its consumer of "in"."""
    member = await another()
    await member.join(SCOPE)
    return member, member.subscribe(SCOPE, "in", prefetch=prefetch)


async def work(queue: QueueProtocol, consumer: Consumer, got: list[str]) -> None:
    """Take and settle until the consumer ends."""
    while True:
        delivery = await consumer.take()
        await queue.claim(delivery)
        got.append(delivery.message_id)
        await queue.settle(delivery)


async def ended(tasks: Iterable[asyncio.Task[None]]) -> None:
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class MemberPromises(QueueFixtures):
    """Who settles does not matter, and nobody's end costs or doubles a message."""

    @pytest.fixture
    def another(self) -> Another:
        raise NotImplementedError("override: see Another")

    @pytest.fixture
    def kill(self) -> Kill:
        raise NotImplementedError("override: see Kill")

    async def test_owner_and_members_share_the_messages(
        self, queue: QueueProtocol, another: Another
    ) -> None:
        """Each is settled by one of them, each of them gets some, and the owner knows when all are."""
        await queue.open(SCOPE)
        parts = [(queue, queue.subscribe(SCOPE, "in", prefetch=4))]
        parts += [await joined(another) for _ in range(2)]
        shares: list[list[str]] = [[] for _ in parts]
        workers = [
            asyncio.create_task(work(*part, share))
            for part, share in zip(parts, shares, strict=True)
        ]
        names = [str(number) for number in range(300)]
        await queue.publish(SCOPE, [message(name) for name in names])
        assert await drained(queue) == Progress(300, 300, 0)
        await ended(workers)
        assert sorted(name for share in shares for name in share) == sorted(names)
        assert all(shares)

    async def test_what_follows_from_a_members_settle_is_counted_by_the_owner(
        self, queue: QueueProtocol, another: Another
    ) -> None:
        """Children into queues that nobody named before, and a failure; no moment in between is drained."""
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message("a"), message("b")])
        waiting = asyncio.create_task(queue.wait_drained(SCOPE))
        member, consumer = await joined(another)
        await member.settle(await take(consumer), children=[message("x", "out")])
        await member.settle(await take(consumer), failed=True)
        await queue.open(SCOPE)
        got = await settle_all(queue, queue.subscribe(SCOPE, "out"), 1)
        assert ids(got) == ["x"]
        async with asyncio.timeout(30):
            assert await waiting == Progress(3, 3, 1)

    async def test_what_a_member_publishes_is_announced_when_that_returns(
        self, queue: QueueProtocol, another: Another
    ) -> None:
        """Once, though it publishes it again, or what the owner has published."""
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message("a")])
        member, consumer = await joined(another)
        await member.publish(SCOPE, [message("b"), message("a")])
        assert (await queue.progress(SCOPE)).announced == 2
        await member.publish(SCOPE, [message("b"), message("c", "out")])
        got = await settle_all(member, consumer, 2)
        await settle_all(queue, queue.subscribe(SCOPE, "out"), 1)
        assert sorted(ids(got)) == ["a", "b"]
        assert await drained(queue) == Progress(3, 3, 0)
        with pytest.raises(QueueError, match="owned by another"):
            await member.publish(SCOPE, [message("d")], cursor=1)
        with pytest.raises(QueueError, match="owned by another"):
            await member.wait_drained(SCOPE)

    async def test_what_a_killed_member_had_in_hand_comes_again_to_the_others(
        self, queue: QueueProtocol, another: Another, kill: Kill
    ) -> None:
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message(name) for name in "abc"])
        killed, consumer = await joined(another)
        await killed.settle(await take(consumer))
        held = [await take(consumer) for _ in range(2)]
        await kill(killed)
        member, consumer = await joined(another)
        got = await settle_all(member, consumer, 2)
        assert [(one.message_id, one.repeat) for one in got] == [("b", True), ("c", True)]
        assert ids(held) == ["b", "c"]
        assert await drained(queue) == Progress(3, 3, 0)

    async def test_a_message_at_which_members_die_again_and_again_is_known_for_it(
        self, queue: QueueProtocol, another: Another, kill: Kill
    ) -> None:
        """The first time blames nobody; what only was in hand is never blamed."""
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message("deadly"), message("held")])
        for expected in (0, 0, 1, 2):
            member, consumer = await joined(another)
            got = {one.message_id: one for one in [await take(consumer) for _ in range(2)]}
            assert got["deadly"].crashes == expected
            assert got["held"].crashes == 0
            await member.claim(got["deadly"])
            await kill(member)
        delivery = await self._deadly(queue)
        assert (delivery.repeat, delivery.crashes) == (True, 3)

    async def _deadly(self, queue: QueueProtocol) -> Delivery:
        consumer = queue.subscribe(SCOPE, "in")
        return next(one for one in [await take(consumer) for _ in range(2)] if one.crashes)

    async def test_what_members_handle_is_no_crash_of_the_owner(
        self, queue: QueueProtocol, another: Another, kill: Kill
    ) -> None:
        """The one that comes after it finds claims of the living, and leaves them alone."""
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message("a"), message("b")])
        member, consumer = await joined(another)
        for _ in range(2):
            await member.release(await take(consumer))
        held = [await take(consumer) for _ in range(2)]
        for delivery in held:
            assert delivery.repeat
            await member.claim(delivery)
        await kill(queue)
        owner = await another()
        assert await owner.open(SCOPE) == Progress(2, 0, 0)
        place = await owner.find_message(SCOPE, "a")
        assert place is not None
        assert place.crashes == 0
        for delivery in held:
            await member.settle(delivery)
        assert await drained(owner) == Progress(2, 2, 0)

    async def test_who_leaves_gives_back_what_it_has(
        self, queue: QueueProtocol, another: Another
    ) -> None:
        """No crash for what was claimed; late acts change nothing, and joining again is possible."""
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message("a"), message("b")])
        member, consumer = await joined(another)
        await member.release(await take(consumer))
        held = {one.message_id: one for one in [await take(consumer), await take(consumer)]}
        assert held["a"].repeat
        await member.claim(held["a"])
        waiting = asyncio.create_task(consumer.take())
        await member.leave(SCOPE)
        await member.leave(SCOPE)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await member.settle(held["a"])
        await member.release(held["b"])
        assert await queue.progress(SCOPE) == Progress(2, 0, 0)
        await member.join(SCOPE)
        got = await settle_all(member, member.subscribe(SCOPE, "in"), 2)
        assert sorted((one.message_id, one.crashes) for one in got) == [("a", 0), ("b", 0)]
        assert await drained(queue) == Progress(2, 2, 0)

    async def test_members_go_on_while_owners_come_and_go(
        self, queue: QueueProtocol, another: Another, kill: Kill
    ) -> None:
        """One is killed, one is replaced while it lives: its late writes change nothing."""
        await queue.open(SCOPE)
        names = [str(number) for number in range(200)]
        await queue.publish(SCOPE, [message(name) for name in names])
        parts = [await joined(another) for _ in range(2)]
        got: list[str] = []
        workers = [asyncio.create_task(work(*part, got)) for part in parts]
        await eventually(lambda: len(got) > 20)
        await kill(queue)
        second, third = await another(), await another()
        await second.open(SCOPE)
        await second.publish(SCOPE, [message(f"second {name}") for name in names])
        await third.open(SCOPE)
        with pytest.raises(QueueError, match="taken over"):
            await second.publish(SCOPE, [message("late")])
        await third.publish(SCOPE, [message(f"third {name}") for name in names])
        assert await drained(third) == Progress(600, 600, 0)
        await ended(workers)
        assert len(set(got)) == len(got) == 600

    async def test_a_members_settle_may_come_before_its_announcement(
        self, queue: QueueProtocol, another: Another
    ) -> None:
        await queue.open(SCOPE)
        member = await another()
        await member.join(SCOPE)
        await member.settle(Delivery(SCOPE, "in", "early", b"", repeat=True))

        async def counted() -> bool:
            return (await queue.progress(SCOPE)).settled == 1

        await eventually(counted)
        await queue.publish(SCOPE, [message("early"), message("other")])
        assert ids(await settle_all(queue, queue.subscribe(SCOPE, "in"), 1)) == ["other"]
        assert await drained(queue) == Progress(2, 2, 0)

    async def test_what_a_member_puts_back_waits_for_whoever_comes(
        self, queue: QueueProtocol, another: Another, clock: Clock, advance: Advance
    ) -> None:
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message("a")])
        member, consumer = await joined(another)
        await member.put_back(await take(consumer), b"second attempt", clock.now() + 0.3)
        await member.leave(SCOPE)
        await advance(0.4)
        delivery = await take(queue.subscribe(SCOPE, "in"))
        assert (delivery.body, delivery.crashes) == (b"second attempt", 0)
        await queue.settle(delivery)
        assert queue.depths(SCOPE)["in"].delayed == 0
        assert await drained(queue) == Progress(1, 1, 0)

    async def test_only_what_is_there_can_be_joined(
        self, queue: QueueProtocol, another: Another
    ) -> None:
        """Deleted by others, a member's consumers end, and its late acts change nothing."""
        await queue.open(SCOPE)
        await queue.publish(SCOPE, [message("a"), message("b")])
        member, consumer = await joined(another)
        held = [await take(consumer) for _ in range(2)]
        waiting = asyncio.create_task(consumer.take())
        with pytest.raises(QueueError, match="no queues"):
            await member.join(OTHER)
        await queue.delete(SCOPE)
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(30):
                await waiting
        await member.settle(held[0], children=[message("stray", "out")])
        await member.put_back(held[1], b"", 0.0)
        with pytest.raises(QueueError, match="no queues"):
            await member.join(SCOPE)
        assert await queue.find(SCOPE) is None

    async def test_a_member_sees_what_stands_and_is_told_of_changes(
        self, queue: QueueProtocol, another: Another
    ) -> None:
        await queue.open(SCOPE)
        member, consumer = await joined(another)
        changed = asyncio.Event()
        end = member.watch(SCOPE, changed.set)
        await queue.publish(SCOPE, [message("a"), message("b")])
        await eventually(lambda: member.depths(SCOPE)["in"].ready == 2)
        assert changed.is_set()
        told = asyncio.Event()
        queue.watch(SCOPE, told.set)
        await settle_all(member, consumer, 2)
        async with asyncio.timeout(30):
            await told.wait()
        await eventually(lambda: member.depths(SCOPE)["in"].ready == 0)
        assert await member.progress(SCOPE) == await member.find(SCOPE) == Progress(2, 2, 0)
        end()
