"""NATS JetStream as a transport: a stream for each queue, kept in files, which a message leaves when it is
acknowledged.

The client's own reconnecting is not used: it keeps callers waiting in its buffers, and does not always tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, quote, urlsplit, urlunsplit

from factflow_infra.queue.brokered.transport import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    Intake,
    Outbound,
    Subscription,
    Transport,
)
from factflow_infra.queue.nats.naming import CONSUMER, stream_name, subject
from factflow_infra.queue.nats.subscription import MESSAGE_ID, NatsSubscription
from factflow_protocols.errors import QueueError, QueueUnavailableError
from factflow_protocols.queue import QueueScope

if TYPE_CHECKING:
    from nats.aio.client import Client

MOST_BODY_BYTES = 1024 * 1024
HEADER_BYTES = 4_096
"""Of what a server takes at once, kept for headers."""
ACK_WAIT_SECONDS = 30.0
OWN_ACK_WAIT_SECONDS = 3.0
LOOK_SECONDS = 0.5
PING_SECONDS = 10

_NOT_FOUND = {10014, 10059}
_MISSING = {404}
T = TypeVar("T")


class NatsTransport(Transport):
    """One connection to `nats://user:password@host:port`, or `tls://…`.

    The URL may say `?ack_wait=SECONDS` (how soon others get what a process had in hand that died) and
    `&replicas=N` (on how many servers of a cluster each queue is kept).
    """

    kind: ClassVar[str] = "nats"
    size_hint: ClassVar[str] = "the server's max_payload"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query))
        super().__init__(urlunsplit(parts._replace(query="", path="")), MOST_BODY_BYTES)
        self.ack_wait = _number(given.pop("ack_wait", ACK_WAIT_SECONDS), "ack_wait", 0.5)
        self._replicas = int(_number(given.pop("replicas", 1), "replicas", 1))
        if given:
            raise QueueError(
                f"{', '.join(given)}: not known in a NATS URL",
                hint="it takes ack_wait and replicas",
            )
        self._client: Client | None = None
        self._ended: asyncio.Future[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    def name(self, scope: QueueScope, queue: str) -> str:
        """Return a queue's stream."""
        return stream_name(scope, queue)

    def client(self) -> Client:
        """Return the connection. Raises `QueueUnavailableError` when there is none."""
        self.check()
        if self._client is None:
            raise self.unavailable("not connected")
        return self._client

    async def publish(self, messages: Sequence[Outbound]) -> None:
        """Publish; return once the streams have confirmed all of them."""
        for message in messages:
            self.check_size(message.body)
        client = self.client()
        answers = asyncio.gather(
            *(self._publish_one(client, one) for one in messages), return_exceptions=True
        )
        for answer in await self._unless_ended(answers):
            if answer is not None:
                raise self.unavailable(answer) from answer

    def subscribe(self, intake: Intake) -> Subscription:
        """Start consuming a queue."""
        return NatsSubscription(self, intake)

    async def make(self, scope: QueueScope, names: Sequence[str]) -> None:
        """Make streams, and their consumers: before the first message, so that none is ever missed."""
        for name in names:
            stream = stream_name(scope, name)
            await self._ask(
                f"STREAM.CREATE.{stream}",
                {
                    "name": stream,
                    "subjects": [subject(stream)],
                    "retention": "workqueue",
                    "storage": "file",
                    "discard": "new",
                    "max_msgs": -1,
                    "max_bytes": -1,
                    "num_replicas": self._replicas,
                },
            )
            await self._ask(
                f"CONSUMER.DURABLE.CREATE.{stream}.{CONSUMER}",
                {
                    "stream_name": stream,
                    "config": {
                        "durable_name": CONSUMER,
                        "ack_policy": "explicit",
                        "ack_wait": int(self.ack_wait_of(stream) * 1e9),
                        "deliver_policy": "all",
                        "max_deliver": -1,
                        "max_ack_pending": -1,
                        "max_waiting": 4_096,
                    },
                },
            )

    async def remove(self, scope: QueueScope, names: Sequence[str]) -> None:
        """Delete streams."""
        for name in names:
            await self._ask(f"STREAM.DELETE.{stream_name(scope, name)}")

    async def all_there(self, scope: QueueScope, names: Sequence[str]) -> bool:
        """Tell whether the broker has every one of the streams, with its consumer."""
        for name in names:
            if await self._consumer(stream_name(scope, name)) is None:
                return False
        return True

    async def standing(self, scope: QueueScope, name: str) -> int:
        """Return how many messages a stream has."""
        found = await self._consumer(stream_name(scope, name)) or {}
        return int(found.get("num_pending", 0)) + int(found.get("num_ack_pending", 0))

    async def say(self, to: str, payload: bytes, reply: str = "") -> None:
        """Send something that is not confirmed."""
        await self.client().publish(to, payload, reply)
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError  # the client takes it for its own

    def ack_wait_of(self, stream: str) -> float:
        """Return how long a stream's messages may be in hand without a word. What is our own is quickly dealt
        with, and an owner's successor waits for what that had of it."""
        return min(self.ack_wait, OWN_ACK_WAIT_SECONDS) if ":_" in stream else self.ack_wait

    async def look(self, stream: str) -> tuple[int, int]:
        """Return the number of the stream's last message that anybody was given, and how many are in hand.
        Raises `QueueError` for a stream that is not there."""
        found = await self._consumer(stream)
        if found is None:
            raise QueueError("its queue is gone")
        return int(found["delivered"]["stream_seq"]), int(found["num_ack_pending"])

    # -- inside

    async def _dial(self) -> None:
        from nats.aio.client import Client

        # What is lost and found again is told by us, once and in words.
        logging.getLogger("nats").setLevel(logging.CRITICAL)
        client = Client()

        async def failed(error: Exception) -> None:
            if not client.is_connected:
                raise error  # else it would try on by itself

        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect(
                    self._url,
                    name="factflow",
                    allow_reconnect=False,
                    connect_timeout=int(CONNECT_SECONDS),
                    ping_interval=PING_SECONDS,
                    max_outstanding_pings=2,
                    error_cb=failed,
                )
            await self._check_jetstream(client)
        except BaseException:
            await _let_go(client)
            raise
        self._client = client
        self.most_body_bytes = max(client.max_payload - HEADER_BYTES, HEADER_BYTES)
        self._ended = asyncio.get_running_loop().create_future()
        self._watching = asyncio.create_task(self._watch(client, self._ended), name="watch NATS")

    async def _hang_up(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._client is not None:
            await _let_go(self._client)

    async def _watch(self, client: Client, ended: asyncio.Future[None]) -> None:
        """Notice the connection's end, which the client does not tell in every case."""
        while not client.is_closed:  # noqa: ASYNC110 - there is no event that always comes
            await asyncio.sleep(LOOK_SECONDS)
        if not ended.done():
            ended.set_result(None)
        await _let_go(client)
        self._lost(client.last_error)

    async def _check_jetstream(self, client: Client) -> None:
        from nats.errors import NoRespondersError

        try:
            answer = await client.request("$JS.API.INFO", b"", timeout=CONNECT_SECONDS)
        except NoRespondersError as error:
            raise self.unavailable("JetStream is not enabled there") from error
        problem = json.loads(answer.data).get("error")
        if problem:
            raise self.unavailable(str(problem.get("description", problem)))

    async def _unless_ended(self, act: Awaitable[T]) -> T:
        """Await an act for as long as the connection lasts; the client would wait on without one."""
        task = asyncio.ensure_future(act)
        ended = self._ended
        waiting: set[asyncio.Future[Any]] = {task} if ended is None else {task, ended}
        try:
            await asyncio.wait(waiting, timeout=ANSWER_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not task.done():
                task.cancel()
        if task.done() and not task.cancelled():
            return task.result()
        raise self.unavailable(
            "the connection ended" if ended is not None and ended.done() else "no answer in time"
        )

    async def _publish_one(self, client: Client, message: Outbound) -> Exception | None:
        """Return what kept a message from being confirmed."""
        headers = {name: str(value) for name, value in message.headers.items()}
        if message.message_id:
            headers[MESSAGE_ID] = quote(message.message_id, safe="/:")
        try:
            answer = await client.request(
                subject(message.name),
                message.body,
                timeout=ANSWER_SECONDS,
                headers=headers or None,
            )
        except Exception as error:  # noqa: BLE001 - all of them mean that nobody confirmed it
            return QueueUnavailableError(
                f"{message.name}: {str(error) or type(error).__name__}", hint="see to the broker"
            )
        problem = json.loads(answer.data).get("error")
        return None if problem is None else self.unavailable(str(problem.get("description")))

    async def _consumer(self, stream: str) -> dict[str, Any] | None:
        return await self._ask(f"CONSUMER.INFO.{stream}.{CONSUMER}")

    async def _ask(self, request: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the answer to a request; None when it says that what was asked for is not there."""
        payload = b"" if body is None else json.dumps(body).encode()
        try:
            answer = await self._unless_ended(
                self.client().request(f"$JS.API.{request}", payload, timeout=ANSWER_SECONDS)
            )
        except QueueUnavailableError:
            raise
        except Exception as error:
            raise self.unavailable(error) from error
        found: dict[str, Any] = json.loads(answer.data)
        problem = found.get("error")
        if problem is None:
            return found
        if problem.get("code") in _MISSING or problem.get("err_code") in _NOT_FOUND:
            return None
        raise self.unavailable(str(problem.get("description", problem)))


async def _let_go(client: Client) -> None:
    """Close a connection, and what the client leaves open of one that was lost while it was sending."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(CONNECT_SECONDS):
            await client.close()
    for inbox in list(getattr(client, "_subs", {}).values()):
        task = getattr(inbox, "_wait_for_msgs_task", None)
        if task is not None:
            task.cancel()
    transport = getattr(client, "_transport", None)
    if transport is not None:
        with contextlib.suppress(Exception):
            transport.close()


def _number(value: float | str, name: str, least: float) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if number < least:
        raise QueueError(f"{name}={value} in a NATS URL", hint=f"give a number from {least:g} on")
    return number
