"""Words between processes over PostgreSQL's LISTEN and NOTIFY, on one session each.

Fulfils `factflow_execution.notifications.Notifications`. Each schema has a channel of its own, since names of
channels are the whole database's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import asyncpg

from factflow_foundation import logs
from factflow_infra.postgres import CONNECT_SECONDS

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
MOST_WORDS = 1_000
"""Waiting to be told; older ones are given up: once the database is back, everyone looks at everything."""
LOOK_SECONDS = 10.0
"""How often the session is asked whether it still works: a listener hears nothing of a dead one."""
_SEPARATOR = "\x1f"
_KEEPALIVE = {
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
_TELL = "SELECT pg_notify($1, word) FROM unnest($2::text[]) AS word"

_log = logs.logger(__name__)
_TROUBLE = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)


class PostgresNotifications:
    """Works from `start` to `close`, over any number of lost sessions."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._listening: dict[str, list[Callable[[str], None]]] = defaultdict(list)
        self._words: dict[str, None] = {}  # in order, each once
        self._some = asyncio.Event()
        self._lost = asyncio.Event()
        self._channel = ""
        self._task: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why nothing is heard at present."""

    async def start(self) -> None:
        """Begin to listen. Raises OSError when the database does not answer."""
        try:
            connection = await self._connect()
        except _TROUBLE as error:
            raise ConnectionError(str(error) or "no answer in time") from error
        self._task = asyncio.create_task(self._run(connection), name="notifications")

    async def close(self) -> None:
        """Tell what is still to be told, and stop."""
        if self._task is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                while self._words and self.trouble is None:
                    await asyncio.sleep(0.01)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def tell(self, topic: str, subject: str) -> None:
        """Have every process that listens look, this one included; words of one moment go together."""
        self._words[f"{topic}{_SEPARATOR}{subject}"] = None
        while len(self._words) > MOST_WORDS:
            del self._words[next(iter(self._words))]
        self._some.set()

    def listen(self, topic: str, told: Callable[[str], None]) -> Callable[[], None]:
        """Call back for each word of a topic; what is returned ends that."""
        self._listening[topic].append(told)
        return lambda: self._listening[topic].remove(told)

    # -- inside

    async def _run(self, connection: asyncpg.Connection | None) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                if connection is None:
                    connection = await self._connect()
                    self._look_at_everything()
                self.trouble, pause = None, FIRST_PAUSE
                await self._serve(connection)
            except _TROUBLE as error:
                if self.trouble is None:
                    _log.warning("notifications are lost for now", reason=str(error) or repr(error))
                self.trouble = str(error) or "no answer in time"
            finally:
                if connection is not None:
                    await _end(connection)
                    connection = None
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _serve(self, connection: asyncpg.Connection) -> None:
        """Tell what is to be told, until the session is lost."""
        while not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._some.wait()
            self._some.clear()
            words = list(self._words)
            await connection.execute(_TELL, self._channel, words)  # without words it asks for life
            for word in words:
                self._words.pop(word, None)
        raise ConnectionError("the session has ended")

    async def _connect(self) -> asyncpg.Connection:
        connection = await asyncpg.connect(
            self._url,
            timeout=CONNECT_SECONDS,
            command_timeout=CONNECT_SECONDS,
            server_settings={"application_name": "factflow notifications", **_KEEPALIVE},
        )
        try:
            self._channel = _channel(await connection.fetchval("SELECT current_schema()"))
            self._lost.clear()
            connection.add_termination_listener(self._ended)
            await connection.add_listener(self._channel, self._heard)
        except BaseException:
            await _end(connection)
            raise
        return connection

    def _ended(self, _: Any) -> None:
        self._lost.set()
        self._some.set()

    def _heard(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        topic, _, subject = str(payload).partition(_SEPARATOR)
        for told in list(self._listening[topic]):
            told(subject)

    def _look_at_everything(self) -> None:
        for several in list(self._listening.values()):
            for told in list(several):
                told("")


async def _end(connection: asyncpg.Connection) -> None:
    with contextlib.suppress(*_TROUBLE):
        await connection.close(timeout=1.0)


def _channel(schema: str | None) -> str:
    digest = hashlib.sha256(f"{schema}".encode()).hexdigest()
    return f"factflow_{digest[:16]}"
