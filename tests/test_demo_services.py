"""`make demo STACK=services`: workers do the work, leave nothing at the broker, and say what they lack."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from factflow_testing.broker_service import amqp_url
from factflow_testing.postgres_schemas import execute, postgres_server
from factflow_testing.s3_server import S3Server

ROOT = Path(__file__).resolve().parent.parent
SECONDS = 240.0
QUEUES = ("sitemap.inbound", "markdown.inbound", "_settled")

pytestmark = pytest.mark.timeout(300)


@dataclass
class Demo:
    """Runs demos on the documents, in a folder, with the services for tests."""

    folder: Path
    documents: Path
    variables: dict[str, str] = field(default_factory=dict)
    said: str = ""

    @property
    def command(self) -> list[str]:
        """The command line."""
        where = ("--folder", str(self.folder), "--docs", str(self.documents))
        return [sys.executable, "demo/run.py", "--stack", "services", *where]

    def start(self, **variables: str) -> subprocess.Popen[str]:
        """Start a demo; its stderr is among what it says."""
        return subprocess.Popen(
            self.command,
            cwd=ROOT,
            env={**os.environ, **self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, **variables: str) -> int:
        """Run a demo to its end; return its exit code."""
        with self.start(**variables) as process:
            self.said, _ = process.communicate(timeout=SECONDS)
            return process.returncode

    def says(self, sentence: str) -> bool:
        """Tell whether the last one said the sentence, however folded."""
        return re.search(sentence, " ".join(self.said.split())) is not None

    @property
    def schema(self) -> str | None:
        """The schema that the last one told of."""
        found = re.search(r"search_path=(factflow_demo_\w+)", self.said)
        return found and found[1]


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo on a site of some thirty pages; its schema is dropped afterwards."""
    documents = tmp_path / "documents"
    documents.mkdir()
    for number in range(30):
        text = f"Page {number} is of the colour {number * 7} and smells of nothing at all.\n\n" * 8
        (documents / f"page{number}.md").write_text(f"# Page {number}\n\n{text}")
    database = postgres_server()
    variables = {"FACTFLOW_DATABASE_URL": database, "FACTFLOW_QUEUE_URL": amqp_url()}
    one = Demo(tmp_path / "folder", documents, variables)
    yield one
    if one.schema:
        execute(database, f"DROP SCHEMA IF EXISTS {one.schema} CASCADE")


@pytest.mark.long
def test_two_workers_do_the_work_and_leave_nothing_at_the_broker(demo: Demo) -> None:
    """Every promise of the usual demo holds, too; a second run finds its places empty again."""
    for _ in range(2):
        assert demo.run() == 0, demo.said
        assert "[NO]" not in demo.said
        shares = re.search(
            r"\[ok\] (\d+) and (\d+) outcomes were stored by the workers, 0", demo.said
        )
        assert shares is not None
        assert min(int(shares[1]), int(shares[2])) > 0
        assert demo.says("31 of 31 pages were asked for exactly once")
        assert demo.says("the same to the byte")
        assert "[ok] queues left at the broker: none" in demo.said
        assert "[ok] worker 2 (process" in demo.said


@pytest.mark.long
def test_the_artefacts_may_be_in_a_bucket(demo: Demo) -> None:
    with S3Server() as s3:
        uri = f"s3://{s3.make_bucket()}/demo"
        code = demo.run(FACTFLOW_STORAGE_URI=uri, **s3.environment())
    assert code == 0, demo.said
    assert "[NO]" not in demo.said
    assert f"export FACTFLOW_STORAGE_URI={uri}" in demo.said
    assert list((demo.folder / "exported/executions").glob("*/*/markdown_storage_writer/*.md"))
    assert not (demo.folder / "data/storage").exists()


@pytest.mark.long
def test_an_interrupted_demo_leaves_no_queue_behind(demo: Demo) -> None:
    """Its execution would go on with the next server; but the next demo begins anew."""
    with demo.start() as process:
        assert process.stdout is not None
        for line in process.stdout:
            demo.said += line
            if "$ factflow execution wait demo" in line:
                break
        executions = asyncio.run(
            executions_in(demo.variables["FACTFLOW_DATABASE_URL"], demo.schema)
        )
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 130, demo.said + rest
    assert len(executions) == 1
    assert asyncio.run(left_at_broker(demo.variables["FACTFLOW_QUEUE_URL"], executions)) == []
    assert "Traceback" not in demo.said + rest


async def executions_in(database: str, schema: str | None) -> list[str]:
    """Return the executions that a demo's schema has."""
    connection = await asyncpg.connect(database)
    try:
        rows = await connection.fetch(f"SELECT execution_id FROM {schema}.pipeline_execution")
    finally:
        await connection.close()
    return [str(row["execution_id"]) for row in rows]


async def left_at_broker(broker: str, executions: list[str]) -> list[str]:
    """Return which of the executions' queues are there."""
    left = []
    async with await aio_pika.connect(broker) as connection:
        for name in [f"exec:{one}:1:{queue}" for one in executions for queue in QUEUES]:
            channel = await connection.channel()
            try:
                await channel.get_queue(name, ensure=True)
                left.append(name)
            except aio_pika.exceptions.ChannelNotFoundEntity:
                pass
    return left


@pytest.mark.parametrize(
    ("variable", "url", "what"),
    [
        ("FACTFLOW_DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/none", "PostgreSQL"),
        ("FACTFLOW_QUEUE_URL", "amqp://me:secret@127.0.0.1:1/", "a broker"),
    ],
)
def test_what_cannot_be_reached_is_told_with_its_url_and_what_to_do(
    demo: Demo, variable: str, url: str, what: str
) -> None:
    """Nothing is started, and no password is shown."""
    assert demo.run(**{variable: url}) == 2
    assert demo.says(f"demo: error: {what} is needed at ")
    assert url.replace("secret", "***") in demo.said
    assert f"{variable}=URL make demo STACK=services" in demo.said
    assert "secret" not in demo.said
    assert "Traceback" not in demo.said
    assert "$ factflow" not in demo.said


def test_storage_that_workers_cannot_share_is_refused(demo: Demo) -> None:
    assert demo.run(FACTFLOW_STORAGE_URI="packed:///tmp/none") == 2
    assert demo.says("workers cannot share the storage packed:///tmp/none")
    assert "$ factflow" not in demo.said


def test_a_schema_of_someone_else_is_left_alone(demo: Demo) -> None:
    """It drops only what a demo made."""
    database = demo.variables["FACTFLOW_DATABASE_URL"]
    assert (
        demo.run(
            FACTFLOW_STORAGE_URI="s3://no-bucket-of-ours/x", AWS_ENDPOINT_URL="http://127.0.0.1:1"
        )
        == 2
    )
    assert demo.schema is not None
    execute(
        database,
        f"COMMENT ON SCHEMA {demo.schema} IS 'years of work'",
        f"CREATE TABLE {demo.schema}.thesis (page int)",
    )
    schema = demo.schema
    assert demo.run() == 2
    assert demo.says(f"the schema {schema} is there already, and no demo made it")
    execute(database, f"SELECT page FROM {schema}.thesis", f"DROP SCHEMA {schema} CASCADE")
