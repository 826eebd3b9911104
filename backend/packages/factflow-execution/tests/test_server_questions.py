"""Servers ask each other what only one of them knows, and go on without an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_execution.server_questions import ServerQuestions
from factflow_execution.tables import server_questions
from factflow_infra.notifications import PostgresNotifications
from factflow_testing.waiting import eventually


@contextlib.asynccontextmanager
async def server(
    name: str, engine: AsyncEngine, url: str, **answerers: Any
) -> AsyncIterator[ServerQuestions]:
    notifications = PostgresNotifications(url, "tests")
    await notifications.start()
    questions = ServerQuestions(engine, name, notifications)
    questions.answerers |= answerers
    questions.start()
    await eventually(lambda: notifications.connected)
    try:
        yield questions
    finally:
        await questions.close()
        await notifications.close()


async def rows(engine: AsyncEngine) -> int:
    async with engine.connect() as connection:
        query = select(func.count()).select_from(server_questions)
        return int((await connection.execute(query)).scalar_one())


async def echo(execution_id: str, parameters: Mapping[str, Any]) -> str:
    return f"{execution_id} {parameters.get('number')}"


async def refuse(execution_id: str, _: Mapping[str, Any]) -> str:
    raise LookupError(execution_id)


async def test_each_question_has_its_own_answer_and_leaves_no_row(
    postgres: AsyncEngine, postgres_url: str
) -> None:
    async with (
        server("one", postgres, postgres_url, echo=echo) as one,
        server("two", postgres, postgres_url, echo=echo) as two,
    ):
        asked = [one.ask("two", "echo", "execution", {"number": n}) for n in range(20)]
        back = [two.ask("one", "echo", "other", {"number": n}) for n in range(20)]
        answers = await asyncio.gather(*asked, *back)
        assert answers == [
            f"{execution} {n}" for execution in ("execution", "other") for n in range(20)
        ]
        assert await rows(postgres) == 0


async def test_a_server_that_cannot_say_is_no_answer_and_goes_on_answering(
    postgres: AsyncEngine, postgres_url: str
) -> None:
    async with (
        server("one", postgres, postgres_url) as one,
        server("two", postgres, postgres_url, refuse=refuse, echo=echo),
    ):
        assert await one.ask("two", "refuse", "execution") is None
        assert await one.ask("two", "unheard of", "execution") is None
        assert await one.ask("two", "echo", "execution") == "execution None"


async def test_a_dead_server_is_no_answer_and_leaves_no_row(
    postgres: AsyncEngine, postgres_url: str
) -> None:
    async with server("one", postgres, postgres_url) as one:
        assert await one.ask("gone", "echo", "execution") is None
        assert await rows(postgres) == 0


@pytest.mark.parametrize("age", [0.0, 3600.0])
async def test_what_a_dead_asker_left_goes_after_a_while(
    postgres: AsyncEngine, postgres_url: str, age: float
) -> None:
    async with server("one", postgres, postgres_url) as one:
        async with postgres.begin() as connection:
            now = (await connection.execute(select(func.now()))).scalar_one().timestamp()
            left: dict[str, Any] = {
                "id": "1",
                "server": "gone",
                "asker": "gone too",
                "kind": "echo",
            }
            left |= {"execution_id": "execution", "parameters": {}, "asked_at": now - age}
            await connection.execute(server_questions.insert().values(left))
        await one.forget_left()
        assert await rows(postgres) == (0 if age else 1)
