"""One scope at the broker: its queues, what is published into them, and how a delivery ends.

Every act is made so that a crash at any of its steps leaves a message in the queue rather than none: children
before the settle event, the event before the acknowledgement, the copy before the original goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

from factflow_foundation.crash_points import reach
from factflow_infra.queue.brokered import naming, settle_event
from factflow_infra.queue.brokered.inbound import LAP, LEAVES, NOT_BEFORE, REPEAT
from factflow_infra.queue.brokered.keeper import DelayKeeper
from factflow_infra.queue.brokered.lane import Arrived, BrokerLane, Hand
from factflow_infra.queue.brokered.settle_consumer import SettleConsumer
from factflow_infra.queue.brokered.transport import Intake, Outbound, Subscription, Transport
from factflow_infra.queue.brokered.waits import Waits
from factflow_infra.queue.consumer import QueueConsumer
from factflow_infra.queue.ledger import ScopeMember, ScopeOwner, ScopePart, Settled
from factflow_infra.queue.ledger.batch import Announced, LedgerEntry
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import Delivery, MessagePlace, OutgoingMessage, QueueDepth

CATCH_UP_SECONDS = 5.0


class BrokerScope:
    """`part` is what this process has to do with the scope. The methods raise `QueueUnavailableError` when
    broker or ledger do not answer; done again, what was done of them changes nothing."""

    def __init__(self, transport: Transport, part: ScopePart, now: Callable[[], float]) -> None:
        self.part = part
        self.on_gone: Callable[[], None] = _nothing
        """Called when a member finds that the scope was deleted."""
        self._transport = transport
        self._scope = part.scope
        self._now = now
        self._names = set(part.entry.made)
        self._naming = asyncio.Lock()
        self._lanes: dict[str, BrokerLane] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self._consumers: Counter[str] = Counter()
        self._waits = Waits(now)
        self._events: SettleConsumer | None = None
        self._kept: set[str] = set()
        self._keepers: dict[str, DelayKeeper] = {}

    @property
    def owner(self) -> ScopeOwner | None:
        """Return the part of an owner, None in a member."""
        return self.part if isinstance(self.part, ScopeOwner) else None

    @property
    def member(self) -> ScopeMember | None:
        """Return the part of a member, None in the owner."""
        return self.part if isinstance(self.part, ScopeMember) else None

    async def start(self, owner: ScopeOwner) -> None:
        """Find what waits for its time, and take in the settles that an earlier owner left."""
        left = naming.SETTLED in self._names
        self._events = SettleConsumer(
            self._transport,
            owner,
            prepare=lambda: self._ensure([naming.SETTLED]),
            named=lambda name: self._have_kept([name]),
        )
        await self._ensure([naming.SETTLED])
        if left:
            await self._count_delayed()
            await self._have_kept(list(self._names))
            await self._events.caught_up(CATCH_UP_SECONDS)

    async def leave(self) -> None:
        """Stop consuming, and have nothing to do with what was in hand."""
        claimed = [
            hand.arrived.message_id
            for lane in self._lanes.values()
            for hand in lane.hands.values()
            if hand.claimed
        ]
        if claimed:
            with contextlib.suppress(QueueUnavailableError):
                await self.part.unclaim(claimed)
        await self.end()

    async def end(self) -> None:
        """Stop consuming; who waits ends with `asyncio.CancelledError`."""
        self.part.end()
        await asyncio.gather(
            *([self._events.close()] if self._events is not None else []),
            *(keeper.close() for keeper in self._keepers.values()),
            *(lane.close() for lane in self._lanes.values()),
            *(subscription.close() for subscription in self._subscriptions.values()),
        )

    # -- in and out

    def subscribe(self, queue: str, prefetch: int) -> QueueConsumer:
        """Start consuming; the broker sends a little more than is asked for, to be ready for takers."""
        lane = self._lane(queue)
        self._consumers[queue] += 1
        some = prefetch + max(prefetch // 4, 1)
        if queue not in self._subscriptions:
            self._subscriptions[queue] = self._transport.subscribe(
                Intake(
                    self._transport.name(self._scope, queue),
                    some,
                    prepare=lambda: self._prepare(queue),
                    arrived=lane.arrived,
                    lost=lane.lost,
                    unwanted=lane.unwanted,
                )
            )
        self._subscriptions[queue].want(True, some)

        def closed() -> None:
            self._consumers[queue] -= 1
            if not self._consumers[queue]:
                self._subscriptions[queue].want(False)

        return QueueConsumer(lane, closed)

    async def publish(self, messages: Sequence[OutgoingMessage], cursor: int | None) -> None:
        """Announce in the ledger, then have the broker confirm; what was known and stands goes as a repeat
        to where it was announced."""
        wanted: dict[str, OutgoingMessage] = {}
        for message in messages:
            self._transport.check_size(message.body)
            wanted.setdefault(message.message_id, message)
        if wanted:
            known = await self._announce(_announced(wanted.values()))
            reach("queue.broker.announced")
            fresh = [one for one in wanted.values() if one.message_id not in known]
            again = [
                replace(one, queue=known[one.message_id].queue)
                for one in wanted.values()
                if one.message_id in known and not known[one.message_id].settled
            ]
            await self._send([*fresh, *again], {one.message_id for one in again})
            reach("queue.broker.published")
        if cursor is not None and self.owner is not None:
            await self.owner.keep_cursor(cursor)

    async def claim(self, delivery: Delivery) -> None:
        """Note that a message in hand is being handled."""
        async with self._in_hand(delivery) as hand:
            if hand is not None and not hand.claimed:
                await self.part.claim(delivery.message_id)
                hand.claimed = True

    async def settle(
        self, delivery: Delivery, children: Sequence[OutgoingMessage], *, failed: bool
    ) -> None:
        """Children confirmed, settle event confirmed, message acknowledged."""
        message_id, queue = delivery.message_id, delivery.queue
        async with self._in_hand(delivery) as hand:
            if hand is None and await self._is_settled(message_id):
                return
            again = delivery.repeat or hand is None or hand.tried
            if hand is not None:
                hand.tried = True
            await self._send(children, {one.message_id for one in children} if again else set())
            reach("queue.broker.children")
            event = Settled(message_id, queue, failed, tuple(_announced(children)))
            self.part.settling(message_id, queue)
            try:
                await self._tell_owner(event)
            except BaseException:
                self.part.not_settling(message_id)
                raise
            reach("queue.broker.event")
            lane = self._lane(queue)
            if hand is not None:
                await lane.finish(hand)
            lane.settled(message_id)

    async def put_back(self, delivery: Delivery, body: bytes, not_before: float) -> None:
        """The next attempt confirmed, this one acknowledged."""
        async with self._in_hand(delivery) as hand:
            if hand is None:
                return
            await self._take_claim_back(hand)
            attempt = OutgoingMessage(delivery.queue, delivery.message_id, body, not_before)
            again = {delivery.message_id} if delivery.repeat else set()
            lap = hand.arrived.lap + 1
            await self._send([attempt], again, waited=True, lap=lap)
            reach("queue.broker.copied")
            # Should this process die now, the attempt that gave way comes again, and is dropped.
            await self.part.note_lap(delivery.message_id, lap)
            await self._lane(delivery.queue).finish(hand)

    async def release(self, delivery: Delivery) -> None:
        """Have the broker deliver a message again."""
        async with self._in_hand(delivery) as hand:
            if hand is not None:
                await self._take_claim_back(hand)
                await self._lane(delivery.queue).finish(hand, requeue=True)

    # -- what it knows

    def depths(self) -> Mapping[str, QueueDepth]:
        """Return what stands in each queue, from what the ledger counts and this process holds."""
        names = [name for name in self.part.queues if not name.startswith("_")]
        return {
            name: self._depth(name)
            for name in dict.fromkeys([*names, *self._lanes, *self._waits.queues])
        }

    def place(self, message_id: str, queue: str, crashes: int) -> MessagePlace:
        """Return where a message that has not settled stands, as far as this process knows."""
        lane = self._lanes.get(queue)
        body = lane.found(message_id) if lane is not None else None
        if lane is not None and message_id in lane.hands:
            return MessagePlace(queue, "in_flight", body, crashes=crashes)
        waits = self._waits.find(message_id)
        if waits is not None:
            at = waits.not_before
            return MessagePlace(queue, "delayed", waits.body, not_before=at, crashes=crashes)
        return MessagePlace(queue, "ready", body, ahead=None, crashes=crashes)

    # -- inside

    def _depth(self, queue: str) -> QueueDepth:
        lane = self._lanes.get(queue)
        standing = self.part.standing(queue)
        in_flight = min(len(lane.hands) if lane is not None else 0, standing)
        delayed = min(self._waits.count(queue), standing - in_flight)
        return QueueDepth(standing - in_flight - delayed, in_flight, delayed)

    def _lane(self, queue: str) -> BrokerLane:
        lane = self._lanes.get(queue)
        if lane is None:
            lane = self._lanes[queue] = BrokerLane(
                self._scope,
                queue,
                self.part,
                now=self._now,
                not_due=lambda arrived: self._wait_on(queue, arrived),
                due=lambda message_id: self._waits.came(queue, message_id),
            )
        return lane

    async def _announce(self, announced: Sequence[Announced]) -> Mapping[str, LedgerEntry]:
        """Have messages announced; return those that were known before, as they stand."""
        member = self.member
        if self.owner is not None:
            return await self.owner.announce(announced)
        known = await self.part.entries([one.message_id for one in announced])
        unknown = tuple(one for one in announced if one.message_id not in known)
        if unknown and member is not None:
            await self._tell_owner(Settled("", "", children=unknown))
            reach("queue.member.told")
            await member.announced([one.message_id for one in unknown])
        return known

    async def _tell_owner(self, event: Settled) -> None:
        name = self._transport.name(self._scope, naming.SETTLED)
        await self._transport.publish([Outbound(name, settle_event.encode(event))])

    async def _prepare(self, queue: str) -> None:
        """See to it that a queue is there to be consumed. A member may have missed the end of the scope."""
        if self.member is not None and await self.member.find() is None:
            self.on_gone()
            raise QueueError(f"execution {self._scope.execution_id} has no queues any more")
        await self._ensure([queue])

    @asynccontextmanager
    async def _in_hand(self, delivery: Delivery) -> AsyncIterator[Hand | None]:
        """Give a message's place in a handler's hands once no other act is under way on it."""
        hands = self._lane(delivery.queue).hands
        while (hand := hands.get(delivery.message_id)) is not None:
            async with hand.turn:
                if hands.get(delivery.message_id) is hand:
                    yield hand
                    return
        yield None

    async def _is_settled(self, message_id: str) -> bool:
        if self.part.under_way(message_id):
            return True
        entry = (await self.part.entries([message_id])).get(message_id)
        return entry is not None and entry.settled

    async def _take_claim_back(self, hand: Hand) -> None:
        if hand.claimed:
            await self.part.unclaim([hand.arrived.message_id])
            hand.claimed = False

    async def _send(
        self,
        messages: Sequence[OutgoingMessage],
        repeats: set[str],
        *,
        waited: bool = False,
        lap: int = 0,
    ) -> None:
        """Publish; `waited`: the message may be there twice, so the ledger is asked when it arrives. `lap`
        attempts went before."""
        if not messages:
            return
        now = self._now()
        outbound, names = [], []
        for one in messages:
            headers = {REPEAT: 1} if one.message_id in repeats else {}
            if lap:
                headers[LAP] = lap
            name = one.queue
            if one.not_before > now:
                wait = naming.rung(one.not_before - now)
                name = naming.delay_queue(one.queue, wait)
                if not self._transport.hands_over:
                    headers[LEAVES] = math.ceil(now * 1_000) + wait
            if waited or one.not_before > now:
                headers[NOT_BEFORE] = max(math.ceil(one.not_before * 1_000), 1)
            names += [one.queue, name]
            scoped = self._transport.name(self._scope, name)
            outbound.append(Outbound(scoped, one.body, one.message_id, headers))
        await self._ensure(names)
        await self._have_kept(names)
        await self._transport.publish(outbound)
        for one in messages:
            if one.not_before > now:
                self._waits.sent(one)

    async def _wait_on(self, queue: str, arrived: Arrived) -> None:
        """Send a message that came from its delay queue too early to the next one."""
        repeats = {arrived.message_id} if arrived.repeat else set()
        message = OutgoingMessage(queue, arrived.message_id, arrived.body, arrived.not_before)
        self._waits.came(queue, arrived.message_id)
        await self._send([message], repeats, waited=True, lap=arrived.lap)

    async def _ensure(self, names: Sequence[str]) -> None:
        """Make queues on first mention. One that the broker lost is not made again: what stood in it is gone,
        and the execution goes on from its records, in queues of its next generation."""
        if self._names.issuperset(names):
            return
        async with self._naming:
            missing = [name for name in dict.fromkeys(names) if name not in self._names]
            if not missing:
                return
            unmade = await self.part.name_queues(missing)
            if unmade:
                await self._make(unmade)
            self._names.update(missing)

    async def _make(self, names: Sequence[str]) -> None:
        await self._transport.make(self._scope, names)
        if not await self.part.queues_made(names):  # its deletion may have come too early for them
            await self._transport.remove(self._scope, names)

    async def _have_kept(self, names: Sequence[str]) -> None:
        """See to it that the owner empties the delay queues among these, where the broker does not."""
        for name in names:
            if self._transport.hands_over or naming.delayed_for(name) is None or name in self._kept:
                continue
            if self.owner is None:
                await self._tell_owner(Settled("", name))
            else:
                self._keepers[name] = DelayKeeper(self._transport, self._scope, name, self._now)
            self._kept.add(name)

    async def _count_delayed(self) -> None:
        for name in self._names:
            queue = naming.delayed_for(name)
            if queue is not None:
                self._waits.found(queue, await self._transport.standing(self._scope, name))


def _nothing() -> None:
    pass


def _announced(messages: Iterable[OutgoingMessage]) -> list[Announced]:
    return [Announced(one.message_id, one.queue) for one in messages]
