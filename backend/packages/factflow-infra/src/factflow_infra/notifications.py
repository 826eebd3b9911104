"""Notifications between the servers of one database on PostgreSQL, by its LISTEN and NOTIFY.

One session does both. What is told while another notification is on its way goes with the next: NOTIFY takes
a lock that the whole server shares, so it is kept out of the transactions that write. While the session is
lost, what is told is kept for the next one, and that one begins by having all listeners look at everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

import asyncpg
import msgspec

from factflow_foundation import logs
from factflow_foundation.notifications import Callback, LocalNotifications, Told, Topic
from factflow_infra.postgres import CONNECT_SECONDS

ANSWER_SECONDS = 5.0
CHECK_SECONDS = 10.0
"""How long a session is idle before it is asked for an answer: one whose other end vanished stays silent."""
GATHER_SECONDS = 0.01
"""Between two notifications; the first after a silence goes at once."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
LAST_SECONDS = 2.0
"""How long closing waits for what was told to be sent."""
MOST_BYTES = 7_900
"""Of one notification; PostgreSQL takes less than 8,000."""

_SETTINGS = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "idle_session_timeout": "0",
}
_decoder = msgspec.json.Decoder(list[tuple[str, str | None]])
_log = logs.logger(__name__)


class PostgresNotifications:
    """`Notifications` to and from every process on the same database and schema.

    Listeners in this process are told at once, whether or not the database answers. Between `start` and
    `close` the session is made again whenever it is lost, with growing pauses between the tries.
    """

    def __init__(self, url: str, where: str) -> None:
        self._url = url
        self._where = where
        self._local = LocalNotifications()
        self._outgoing = Told()
        self._wake = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._closing = False
        self._pause = FIRST_PAUSE
        self.connected = False
        """Whether what other processes tell arrives now."""

    async def start(self) -> None:
        """Begin to connect; a database that does not answer yet is no error. Once connected, all who listen
        are told to look at everything."""
        self._keeper = asyncio.create_task(self._keep(), name="notifications")

    def tell(self, topic: Topic, subject: str) -> None:
        """Tell everyone who listens to the topic, here and in the other processes."""
        if self._closing:
            return
        self._local.tell(topic, subject)
        self._outgoing.add(topic, subject)
        self._wake.set()

    def listen(self, topic: Topic, callback: Callback) -> Callable[[], None]:
        """Have `callback` called for what is told from now on; return what ends that."""
        return self._local.listen(topic, callback)

    async def close(self) -> None:
        """Call nobody any more; what was told is still sent, if the database answers soon."""
        self._closing = True
        await self._local.close()
        self._wake.set()
        if self._keeper is not None:
            await asyncio.wait({self._keeper}, timeout=LAST_SECONDS if self.connected else 0)
            self._keeper.cancel()
            await asyncio.wait({self._keeper})
        self.connected = False

    async def _keep(self) -> None:
        told = False  # of this outage
        while not self._closing:
            try:
                await self._session(was_lost=told)
            except Exception as error:  # noqa: BLE001 - whatever keeps it away, it is tried again
                if self.connected or not told:
                    reason = str(error) or "no answer"
                    _log.warning("notifications do not arrive", url=self._where, reason=reason)
                told = True
                self.connected = False
                await asyncio.sleep(self._pause)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _session(self, *, was_lost: bool) -> None:
        """Listen and tell until we close; raises whatever ends the session before."""
        name = f"factflow notifications of process {os.getpid()} on {socket.gethostname()}"
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_SECONDS,
            command_timeout=ANSWER_SECONDS,
            server_settings={"application_name": name[:63], **_SETTINGS},
        )
        try:
            channel = _channel(await connection.fetchval("SELECT current_schema()"))
            connection.add_termination_listener(lambda _: self._wake.set())
            await connection.add_listener(channel, self._heard)
            self.connected = True
            if was_lost:
                _log.warning("notifications arrive again", url=self._where)
            self._local.look_again()
            while True:
                await self._send(connection, channel)
                if self._closing:
                    break
                await asyncio.sleep(GATHER_SECONDS)
                await self._something(connection)
                self._pause = FIRST_PAUSE  # it lasted
            with contextlib.suppress(Exception):
                await connection.close(timeout=ANSWER_SECONDS)
        finally:
            connection.terminate()

    async def _something(self, connection: asyncpg.Connection) -> None:
        """Wait until there is something to tell, or we close. Raises what ended the session meanwhile."""
        while not self._wake.is_set():
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                await connection.fetchval("SELECT 1")
        self._wake.clear()
        if connection.is_closed():
            raise ConnectionError("the session has ended")

    async def _send(self, connection: asyncpg.Connection, channel: str) -> None:
        pairs = self._outgoing.take()
        if not pairs:
            return
        try:
            await connection.execute(
                "SELECT pg_notify($1, told) FROM unnest($2::text[]) AS told",
                channel,
                list(_payloads(pairs)),
            )
        except BaseException:
            for topic, subject in pairs:
                self._outgoing.add(topic, subject)
            raise

    def _heard(self, connection: Any, sender: int, _channel: str, payload: object) -> None:
        if sender == connection.get_server_pid():
            return  # those who listen here were told already
        try:
            pairs = _decoder.decode(str(payload))
        except (msgspec.DecodeError, UnicodeError):
            self._local.look_again()  # of another version, which may mean anything
            return
        for topic, subject in pairs:
            self._local.pass_on(topic, subject)


def _payloads(pairs: Iterable[tuple[str, str | None]]) -> Iterable[str]:
    """Put as much into each notification as one takes. A subject too long for any stands for its topic."""
    parts: list[str] = []
    size = 2
    for topic, subject in pairs:
        part = json.dumps([topic, subject], separators=(",", ":"))  # all ASCII: as many bytes
        if len(part) + 2 > MOST_BYTES:
            part = json.dumps([topic, None], separators=(",", ":"))
        if size + len(part) + 1 > MOST_BYTES:
            yield f"[{','.join(parts)}]"
            parts, size = [], 2
        parts.append(part)
        size += len(part) + 1
    yield f"[{','.join(parts)}]"


def _channel(schema: str | None) -> str:
    """Return a name of one schema's own: a notification reaches the whole database."""
    digest = hashlib.sha256(f"factflow notifications in {schema}".encode()).hexdigest()
    return f"factflow_{digest[:32]}"
