"""Brings a scope's settle events from the broker into its ledger: in batches, and acknowledged only then.

Should the process die between the two, the events come again and change nothing.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import msgspec

from factflow_foundation import logs
from factflow_foundation.crash_points import reach
from factflow_infra.queue.brokered import settle_event
from factflow_infra.queue.brokered.inbound import Inbound
from factflow_infra.queue.brokered.naming import SETTLED, delayed_for
from factflow_infra.queue.brokered.transport import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Intake,
    Outbound,
    Transport,
)
from factflow_infra.queue.ledger import ScopeOwner, Settled
from factflow_infra.queue.ledger.batch import Announced
from factflow_protocols.errors import QueueError, QueueUnavailableError

LOOK_SECONDS = 0.05
PREFETCH = 500
"""Events in memory; each may name a thousand children."""
MOST_ROWS = 5_000
"""Of one transaction, so that none is long."""
BYTES_PER_ROW = 64
"""About what an event has for each message that it names."""

log = logs.logger(__name__)


class SettleConsumer:
    """Runs in the process that owns the scope, and in no other one.

    It stops for good when another process has taken the scope over. While the ledger is in trouble events
    stay with the broker, and are tried again. `named` is awaited with each delay queue that a member made.
    """

    def __init__(
        self,
        transport: Transport,
        owner: ScopeOwner,
        prepare: Callable[[], Awaitable[None]],
        named: Callable[[str], Awaitable[None]],
    ) -> None:
        self._named = named
        self._transport = transport
        self._owner = owner
        self._name = transport.name(owner.scope, SETTLED)
        self._arrived: list[Inbound] = []
        self._some = asyncio.Event()
        self._runs = 0
        self._marks: dict[str, asyncio.Event] = {}
        self._task = asyncio.create_task(self._run(), name="settle events")
        self._subscription = transport.subscribe(
            Intake(self._name, PREFETCH, prepare, self._take_in, self._lost)
        )

    async def caught_up(self, seconds: float) -> bool:
        """Wait until what the broker has of events by now is in the ledger; False when it takes longer."""
        try:
            async with asyncio.timeout(seconds):
                await self._pass_through()
                if self._subscription.awaited:
                    while self._subscription.awaited:  # noqa: ASYNC110 - rare, and over soon
                        await asyncio.sleep(LOOK_SECONDS)
                    await self._pass_through()
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Stop; events that are not in the ledger go back to the broker."""
        self._task.cancel()
        await asyncio.gather(self._task, self._subscription.close(), return_exceptions=True)

    # -- inside

    async def _pass_through(self) -> None:
        """Wait for an event of one's own to come out behind all others."""
        token = uuid.uuid4().hex
        mark = self._marks[token] = asyncio.Event()
        try:
            body = settle_event.encode(Settled("", token))
            await self._transport.publish([Outbound(self._name, body)])
            await mark.wait()
        finally:
            del self._marks[token]

    def _take_in(self, message: Inbound) -> None:
        self._arrived.append(message)
        self._some.set()

    def _lost(self) -> None:
        self._runs += 1
        self._arrived.clear()

    async def _run(self) -> None:
        while True:
            self._some.clear()
            if not self._arrived:
                await self._some.wait()
            part, run = self._next_part(), self._runs
            if part:
                try:
                    await self._settle(part, run)
                except QueueError as error:
                    log.error("settle events are left to others", reason=error.message)
                    await self._subscription.close()
                    return

    def _next_part(self) -> list[Inbound]:
        """Take the oldest events, as many as one transaction takes in, by what they weigh."""
        rows, count = 0, 0
        for message in self._arrived:
            rows += 1 + len(message.body) // BYTES_PER_ROW
            if count and rows > MOST_ROWS:
                break
            count += 1
        part, self._arrived = self._arrived[:count], self._arrived[count:]
        return part

    async def _settle(self, part: list[Inbound], run: int) -> None:
        settled: list[Settled] = []
        announced: list[Announced] = []
        marks: list[str] = []
        for message in part:
            try:
                event = settle_event.decode(message.body)
            except msgspec.DecodeError as error:
                log.error("not a settle event", queue=self._name, reason=str(error))
                continue
            if event.message_id:
                settled.append(event)
            elif event.children:
                announced += event.children
            else:
                marks.append(event.queue)
        pause = FIRST_PAUSE
        # Marks alone are written too: they may be for a newer owner.
        while (settled or announced or marks) and run == self._runs:
            try:
                await self._owner.settle(settled, announced)
                break
            except QueueUnavailableError as error:
                log.warning("settles wait for the ledger", reason=error.message)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
        if run != self._runs:
            return  # they come again
        reach("queue.broker.settled")
        try:
            await self._transport.acknowledge_all(part)
        except Exception as error:  # noqa: BLE001 - then they come again, and change nothing
            log.info("not acknowledged", reason=str(error) or repr(error))
        for token in marks:
            if token in self._marks:
                self._marks[token].set()
            elif delayed_for(token) is not None:
                await self._named(token)
