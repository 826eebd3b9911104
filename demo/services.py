"""What servers and workers share: PostgreSQL, a broker and a store, as the environment names them.

In PostgreSQL the demo has a schema of its own, dropped and made again by every run; it touches no other.
At the broker it leaves no queue behind, whichever way it ends.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import aio_pika
import asyncpg
import screen
from aio_pika.exceptions import AMQPError
from broker_queues import forget_unended, is_rabbitmq
from demo_folder import DemoError
from demo_workers import JOURNAL

DATABASE = "postgresql://postgres@127.0.0.1:5432/postgres"
BROKER = "amqp://guest:guest@127.0.0.1:5672/"
OURS = "made by make demo, which drops it"
"""The comment by which a schema is known to be the demo's."""
PATIENCE_SECONDS = 5.0
DATABASE_ERRORS = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
ERRORS = (*DATABASE_ERRORS, AMQPError)


@dataclass(frozen=True)
class Services:
    """The three places, for the run in `folder`; the database's schema is new and empty. `shown` is what
    may be read of them."""

    database: str
    broker: str
    storage: str
    folder: Path
    shown: Mapping[str, str] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, str]:
        """What servers and workers are told."""
        return {
            "FACTFLOW_DATABASE_URL": self.database,
            "FACTFLOW_QUEUE_URL": self.broker,
            "FACTFLOW_STORAGE_URI": self.storage,
            JOURNAL: str(self.journal),
        }

    @property
    def journal(self) -> Path:
        """The file that every commit is noted in."""
        return self.folder / "commits.jsonl"

    @property
    def artefacts(self) -> Path | None:
        """The folder with the artefacts as plain files; None when they are in a bucket."""
        parts = urlsplit(self.storage)
        return Path(unquote(parts.path)) if parts.scheme == "file" else None

    def show(self) -> None:
        """Print what would have to be typed for the servers and workers that follow."""
        for name, value in self.shown.items():
            screen.command(["export", f"{name}={value}"])


@contextmanager
def shared_places(folder: Path, environ: Mapping[str, str]) -> Iterator[Services]:
    """Yield what the environment names, else the usual places on this machine; queues that are left at the
    end go then. Raises `DemoError` for what is not reachable or cannot be shared."""
    database = environ.get("FACTFLOW_DATABASE_URL") or DATABASE
    broker = environ.get("FACTFLOW_QUEUE_URL") or BROKER
    storage = environ.get("FACTFLOW_STORAGE_URI") or (folder / "data/storage").as_uri()
    if urlsplit(storage).scheme not in ("file", "s3"):
        raise DemoError(
            f"workers cannot share the storage {storage}",
            "FACTFLOW_STORAGE_URI=s3://BUCKET/PREFIX, or file:///PATH; without it, a folder of the demo's",
            exit_code=2,
        )
    schema = f"factflow_demo_{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}"
    inside = _in_schema(database, schema)
    _ask("a broker", "FACTFLOW_QUEUE_URL", broker, lambda: _reach_broker(broker))
    _ask(
        "PostgreSQL",
        "FACTFLOW_DATABASE_URL",
        database,
        lambda: _make_schema(database, inside, schema, broker),
    )
    shown = {
        "FACTFLOW_DATABASE_URL": _without_secret(inside),
        "FACTFLOW_QUEUE_URL": broker if broker == BROKER else _without_secret(broker),
        "FACTFLOW_STORAGE_URI": storage,
    }
    try:
        yield Services(inside, broker, storage, folder, shown)
    finally:
        with suppress(*ERRORS):  # what kept us from it was told already, or the next run does it
            asyncio.run(_forget(inside, broker))


def _ask(
    what: str, variable: str, url: str, question: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    """Run the question; one that fails is told with the URL that it was about."""
    try:
        asyncio.run(question())
    except ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DemoError(
            f"{what} is needed at {_without_secret(url)}, and cannot be used there: {reason}",
            f"start it, or name another one: {variable}=URL make demo STACK=services; "
            "make demo alone needs no services",
            exit_code=2,
        ) from error


async def _reach_broker(url: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        if is_rabbitmq(url):
            connection = await aio_pika.connect(url)
            await connection.close()
        else:
            parts = urlsplit(url)
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.close()


async def _make_schema(database: str, inside: str, schema: str, broker: str) -> None:
    """Make the schema anew; one that is there goes, with what it knows to be left at the broker."""
    connection = await asyncpg.connect(database, timeout=PATIENCE_SECONDS)
    try:
        there = await connection.fetchrow(
            "SELECT obj_description(oid, 'pg_namespace') AS remark FROM pg_namespace"
            " WHERE nspname = $1",
            schema,
        )
        if there is not None:
            if there["remark"] != OURS:
                raise DemoError(
                    f"the schema {schema} is there already, and no demo made it",
                    "name another folder, since its name comes from that: --folder DIR",
                    exit_code=2,
                )
            await _forget(inside, broker)
            await connection.execute(f"DROP SCHEMA {schema} CASCADE")
        await connection.execute(f"CREATE SCHEMA {schema}")
        await connection.execute(f"COMMENT ON SCHEMA {schema} IS '{OURS}'")
    finally:
        await connection.close()


async def _forget(inside: str, broker: str) -> None:
    if is_rabbitmq(broker):
        await forget_unended(inside, broker)


def _in_schema(database: str, schema: str) -> str:
    parts = urlsplit(database)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name != "search_path"]
    return parts._replace(query=urlencode([*options, ("search_path", schema)])).geturl()


def _without_secret(url: str) -> str:
    """Return the URL with three stars for its password, and for whatever else may be one."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    options = [
        (key, value if key == "search_path" else "***") for key, value in parse_qsl(parts.query)
    ]
    return parts._replace(
        netloc=f"{name}{colon}{'***' if colon else ''}{at}{host}",
        query=urlencode(options, safe="*"),
    ).geturl()
