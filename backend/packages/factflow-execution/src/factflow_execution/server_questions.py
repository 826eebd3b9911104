"""What a server asks another one: what only the server that runs an execution knows of it.

A question is a row, and so is its answer; notifications tell of both, so that nobody asks again and again.
Whoever asks waits for a moment only: a server that does not answer must not keep others from answering.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.database_clock import database_now
from factflow_execution.database_trouble import DATABASE_TROUBLE, reason_of
from factflow_execution.tables import server_questions as questions
from factflow_foundation import logs
from factflow_foundation.clock import Clock, SystemClock
from factflow_foundation.notifications import Notifications
from factflow_foundation.whole import whole

PATIENCE_SECONDS = 2.0
"""How long an answer is waited for."""
LEFT_SECONDS = 60.0
"""Age of a question that nobody waits for any more: its server ended before it could forget it."""
RETRY_SECONDS = 1.0

Answerer = Callable[[str, Mapping[str, Any]], Awaitable[str]]
"""Returns the answer, given the execution and what else was asked for."""

_NOTHING = ""
"""The answer of a server that cannot say."""
_log = logs.logger(__name__)


class ServerQuestions:
    """Asks, and answers from `start` to `close`. `server_id` is how others know this server; `answerers` has
    what it can be asked, by kind, and may be filled until `start`."""

    def __init__(
        self,
        engine: AsyncEngine,
        server_id: str,
        notifications: Notifications,
        clock: Clock | None = None,
    ) -> None:
        self.server_id = server_id
        self.answerers: dict[str, Answerer] = {}
        self._engine = engine
        self._notifications = notifications
        self._clock = clock or SystemClock()
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._answering: dict[str, asyncio.Task[None]] = {}
        self._asked = asyncio.Event()
        self._answered = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._listening = contextlib.ExitStack()

    def start(self) -> None:
        """Begin to answer, and to hear answers."""
        listen = self._notifications.listen
        self._listening.callback(listen("question", self._waker(self._asked)))
        self._listening.callback(listen("answer", self._waker(self._answered)))
        self._asked.set()
        for event, act in ((self._asked, self._answer_all), (self._answered, self._read_answers)):
            self._tasks.append(asyncio.create_task(self._whenever(event, act), name=act.__name__))

        self._tasks.append(asyncio.create_task(self._look_after(), name="questions left"))

    async def close(self) -> None:
        """Answer nothing more."""
        self._listening.close()
        tasks = [*self._tasks, *self._answering.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def ask(
        self, server: str, kind: str, execution_id: str, parameters: Mapping[str, Any] | None = None
    ) -> str | None:
        """Return what a server answers; None when it cannot say, or does not within `PATIENCE_SECONDS`.

        Never raises: a database in trouble is no answer, either.
        """
        question_id = secrets.token_hex(16)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting[question_id] = answer
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await whole(self._insert(question_id, server, kind, execution_id, parameters or {}))
                self._notifications.tell("question", server)
                return await answer or None
        except (TimeoutError, *DATABASE_TROUBLE) as error:
            reason = reason_of(error) or "no answer"
            _log.warning("a server does not answer", server=server, kind=kind, reason=reason)
            return None
        finally:
            del self._waiting[question_id]
            with contextlib.suppress(*DATABASE_TROUBLE):
                await whole(self._write(delete(questions).where(questions.c.id == question_id)))

    async def forget_left(self) -> None:
        """Forget questions that nobody waits for any more."""
        left = questions.c.asked_at < self._now() - LEFT_SECONDS
        await whole(self._write(delete(questions).where(left)))

    # -- inside

    async def _look_after(self) -> None:
        while True:
            try:
                await self.forget_left()
            except DATABASE_TROUBLE as error:
                _log.warning("questions cannot be looked after", reason=reason_of(error))
            await asyncio.sleep(LEFT_SECONDS)

    def _waker(self, event: asyncio.Event) -> Callable[[str | None], None]:
        def told(server: str | None) -> None:
            if server in {None, self.server_id}:
                event.set()

        return told

    async def _whenever(self, event: asyncio.Event, act: Callable[[], Awaitable[None]]) -> None:
        while True:
            await event.wait()
            event.clear()
            try:
                await act()
            except DATABASE_TROUBLE as error:
                _log.warning("questions cannot be looked for", reason=reason_of(error))
                await asyncio.sleep(RETRY_SECONDS)
                event.set()

    async def _answer_all(self) -> None:
        query = select(questions).where(
            questions.c.server == self.server_id, questions.c.answer.is_(None)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        for row in rows:
            if row["id"] not in self._answering:
                task = asyncio.create_task(self._answer(dict(row)), name=f"answer {row['kind']}")
                self._answering[row["id"]] = task

    async def _answer(self, row: Mapping[str, Any]) -> None:
        answerer = self.answerers.get(row["kind"])
        answer = _NOTHING
        try:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    if answerer is not None:
                        answer = await answerer(row["execution_id"], row["parameters"])
            except Exception as error:  # noqa: BLE001 - whoever asks goes on without
                reason = str(error) or type(error).__name__
                _log.warning("a question is not answered", kind=row["kind"], reason=reason)
            query = update(questions).where(questions.c.id == row["id"]).values(answer=answer)
            with contextlib.suppress(*DATABASE_TROUBLE):
                await whole(self._write(query))
                self._notifications.tell("answer", row["asker"])
        finally:
            del self._answering[row["id"]]

    async def _read_answers(self) -> None:
        if not self._waiting:
            return
        query = select(questions.c.id, questions.c.answer).where(
            questions.c.id.in_(list(self._waiting)), questions.c.answer.is_not(None)
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).all()
        for row in rows:
            waiting = self._waiting.get(row.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(row.answer)

    async def _insert(
        self,
        question_id: str,
        server: str,
        kind: str,
        execution_id: str,
        parameters: Mapping[str, Any],
    ) -> None:
        values = {
            "id": question_id,
            "server": server,
            "asker": self.server_id,
            "kind": kind,
            "execution_id": execution_id,
            "parameters": dict(parameters),
            "asked_at": self._now(),
        }
        await self._write(questions.insert().values(values))

    async def _write(self, query: Any) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(query)

    def _now(self) -> ColumnElement[float]:
        return database_now(self._engine, self._clock)
