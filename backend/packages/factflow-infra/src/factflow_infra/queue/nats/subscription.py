"""Consuming one stream of NATS: asking for as many messages as may be in hand, and keeping those alive.

The broker takes a message that it hears nothing of for one that is lost, and delivers it again after its
`ack_wait`. So as long as this process lives and is connected it says of every message here that it is being
worked on, however long that takes. At the same time it asks how the stream is: that also makes the broker
forget requests of processes that are gone. When it finds one only as it wants to deliver a message again, it
(2.9 does) forgets that the message was delivered before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from factflow_infra.queue.brokered.inbound import Inbound
from factflow_infra.queue.brokered.transport import Intake, Subscription
from factflow_infra.queue.nats.naming import CONSUMER
from factflow_protocols.errors import QueueError

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription as Inbox

    from factflow_infra.queue.nats.transport import NatsTransport

MESSAGE_ID = "factflow-id"
EXPIRES_SECONDS = 10.0
"""How long a request for messages stands; then it is told, and made again."""
SILENCE_SECONDS = 2.0
"""How long after that the broker may stay silent about it."""
CLOSE_SECONDS = 5.0
DONE, AGAIN, WORKING = b"+ACK", b"-NAK", b"+WPI"


class NatsInbound(Inbound):
    """A delivery. It can be answered on any connection, until the broker delivers the message again."""

    __slots__ = ("_subscription", "body", "headers", "message_id", "number", "redelivered", "reply")

    def __init__(self, subscription: NatsSubscription, message: Msg, handed_out: int) -> None:
        self._subscription = subscription
        headers: Mapping[str, str] = message.headers or {}
        self.reply = message.reply
        self.message_id = unquote(headers.get(MESSAGE_ID, ""))
        self.body = message.data
        facts = message.metadata
        self.number = int(facts.sequence.stream)
        self.redelivered = (facts.num_delivered or 1) > 1 or self.number <= handed_out
        self.headers = {
            name: int(value)
            for name, value in headers.items()
            if name.startswith("factflow-") and name != MESSAGE_ID
        }

    async def acknowledge(self) -> None:
        """Have the stream drop it."""
        await self._subscription.answer(self, DONE)

    async def give_back(self) -> None:
        """Have it delivered again at once."""
        await self._subscription.answer(self, AGAIN)


class NatsSubscription(Subscription):
    """After a lost connection what was here is given back, so that it comes again at once and not only after
    the `ack_wait`."""

    def __init__(self, transport: NatsTransport, intake: Intake) -> None:
        self._nats = transport
        self._held: dict[int, NatsInbound] = {}
        self._inbox: Inbox | None = None
        self._requests = 0
        self._asked = 0
        """How many messages the broker was asked for and has not sent."""
        self._silent_until = 0.0
        self._gone: str | None = None
        self._handed_out = 0
        """The last message that anybody had when consuming began here."""
        self._awaited = 0
        super().__init__(transport, intake)

    @property
    def awaited(self) -> int:
        """Return how many messages wait for the end of somebody else's `ack_wait`."""
        return self._awaited

    async def answer(self, message: NatsInbound, word: bytes) -> None:
        """Answer a delivery; one that was given back needs no answer any more."""
        if self._held.pop(id(message), None) is None:
            return
        try:
            await self._nats.say(message.reply, word)
        except BaseException:
            self._held[id(message)] = message
            raise
        self._changed.set()

    async def close(self) -> None:
        """Stop; what was not acknowledged goes back to the broker."""
        await super().close()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._stop_asking()
                await self._give_all_back()

    # -- inside

    async def _consume(self) -> str:
        """Consume on one connection until it ends."""
        client = self._nats.client()
        self._inbox, self._asked, self._gone = None, 0, None
        self._handed_out, self._awaited = await self._nats.look(self._name)
        await self._give_all_back()
        self._transport.unconsumed.pop(self._name, None)
        clock = asyncio.get_running_loop().time
        period = self._nats.ack_wait_of(self._name) / 3
        beat = clock() + period
        while not client.is_closed and not self._closed:
            self._changed.clear()
            if self._gone is not None:
                self._held.clear()
                raise QueueError(self._gone)
            if self._wanted:
                await self._ask(client)
            elif self._inbox is not None:
                await self._stop_asking()
                self._intake.unwanted()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(beat):
                    await self._changed.wait()
            if clock() >= beat:
                beat = clock() + period
                for message in list(self._held.values()):
                    await self._nats.say(message.reply, WORKING)
                await self._nats.look(self._name)
                if clock() > self._silent_until:
                    self._asked = 0
        return self._nats.trouble or "the connection ended"

    async def _ask(self, client: Client) -> None:
        """Ask for what may come, once it is worth a request."""
        credit = self._prefetch - len(self._held) - self._asked
        if credit <= 0 or (self._asked and credit < max(self._prefetch // 3, 1)):
            return
        if self._inbox is None:
            # No limits: no more comes than was asked for.
            self._inbox = await client.subscribe(
                f"{client.new_inbox()}.*",
                cb=self._take_in,
                pending_msgs_limit=-1,
                pending_bytes_limit=-1,
            )
        self._requests += 1
        self._asked += credit
        self._silent_until = asyncio.get_running_loop().time() + EXPIRES_SECONDS + SILENCE_SECONDS
        wanted = {"batch": credit, "expires": int(EXPIRES_SECONDS * 1e9)}
        await self._nats.say(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._name}.{CONSUMER}",
            json.dumps(wanted).encode(),
            reply=f"{self._inbox.subject[:-1]}{credit}",
        )

    async def _stop_asking(self) -> None:
        """Have nothing more sent; what the broker has sent already is taken in."""
        inbox, self._inbox, self._asked = self._inbox, None, 0
        if inbox is not None:
            await inbox.drain()  # type: ignore[no-untyped-call]
            await self._nats.look(self._name)

    async def _give_all_back(self) -> None:
        for message in list(self._held.values()):
            await message.give_back()

    async def _take_in(self, message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        if status is None:
            self._asked = max(self._asked - 1, 0)
            inbound = NatsInbound(self, message, self._handed_out)
            self._held[id(inbound)] = inbound
            if inbound.number <= self._handed_out:
                self._awaited = max(self._awaited - 1, 0)
            self._intake.arrived(inbound)
            return
        headers = message.headers or {}
        if status == "503" or "deleted" in headers.get("Description", "").lower():
            self._gone = "its queue is gone"
        # A request that ended: what it has not brought is not on its way.
        unsent = headers.get("Nats-Pending-Messages") or message.subject.rpartition(".")[2]
        self._asked = max(self._asked - int(unsent), 0)
        self._changed.set()
