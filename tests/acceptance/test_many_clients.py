"""A hundred clients at once, while an execution runs: each is answered, and who follows it misses nothing."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from factflow_testing.server_process import ServerProcess

pytestmark = pytest.mark.long

CLIENTS, FOLLOWERS = 100, 10
SECONDS = 60.0
NUMBERS = 1_200
REFUSALS = frozenset({404, 409, 410, 422, 429})
"""Answers that say what the asking client did: something that ended, is full, or was deleted meanwhile."""

MAIN = f"""\
version: "1.0"
name: followed
routes:
  numbers:
    inbound: {{queue: numbers, concurrency: 4}}
    adapters:
      - {{type: fan, config: {{count: {NUMBERS}}}}}
      - {{type: journal, config: {{journal: JOURNAL, seconds: 0.15}}}}
    outbound: echoes
  echoes:
    inbound: {{queue: echoes}}
    adapters: [{{type: echo, stage: again}}]
init_message: {{route: numbers, payload: {{}}}}
"""
SMALL = """\
version: "1.0"
name: small
routes:
  small:
    inbound: {queue: small}
    adapters: [{type: fan, config: {count: 5}}, {type: echo}]
init_message: {route: small, payload: {}}
"""


class _World:
    """What clients know of, and what they were answered."""

    def __init__(self, client: httpx2.AsyncClient, main: str, small: str) -> None:
        self.client = client
        self.main = main
        self.small = small
        self.executions = [main]
        self.answers: Counter[tuple[str, int]] = Counter()
        self.faults: list[str] = []

    async def ask(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """Ask, note what came, and return the JSON of a success."""
        answer = await self.client.request(method, path, json=body, params=query)
        self.answers[f"{method} {path.split('/')[1]}", answer.status_code] += 1
        if answer.is_success:
            kind = answer.headers.get("content-type", "")
            return answer.json() if kind.startswith("application/json") else None
        if answer.status_code not in REFUSALS:
            self.faults.append(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return None

    async def start(self) -> None:
        """Run a small execution, and know it."""
        started = await self.ask("POST", f"/configs/{self.small}/run")
        if started:
            self.executions.append(started["execution_id"])

    async def end_one(self, chance: random.Random, how: str) -> None:
        """Cancel or delete one of the small executions."""
        if len(self.executions) > 1:
            execution = chance.choice(self.executions[1:])
            if how == "cancel":
                await self.ask("POST", f"/executions/{execution}/cancel")
            else:
                await self.ask("DELETE", f"/executions/{execution}")

    async def replay_one(self, chance: random.Random) -> None:
        """Replay one of the small executions."""
        if len(self.executions) > 1:
            source = chance.choice(self.executions[1:])
            body = {"from_stage": "fan"}
            started = await self.ask("POST", f"/executions/{source}/replay", body)
            if started:
                self.executions.append(started["execution_id"])

    async def look_closer(self, chance: random.Random) -> None:
        """Take a row of the main execution, and ask about it."""
        page = await self.ask("GET", "/lineage", execution_id=self.main, limit=20)
        if page and page["entries"]:
            row = chance.choice(page["entries"])["id"]
            await self.ask(
                "GET", f"/lineage/{row}{chance.choice(['', '/chain', '/children', '/why'])}"
            )

    async def read_one(self, chance: random.Random) -> None:
        """List some objects and read one."""
        page = await self.ask("GET", "/storage/objects", prefix=f"executions/{self.main}", limit=10)
        if page and page["objects"]:
            key = chance.choice(page["objects"])["key"]
            await self.ask("GET", f"/storage/objects/{key}{chance.choice(['', '/metadata'])}")

    async def pause(self, chance: random.Random) -> None:
        """Pause a route that nobody has, or let it go on."""
        state = chance.choice(["paused", "running"])
        await self.ask("PATCH", f"/pipelines/spare-{chance.randint(1, 5)}", {"state": state})


READS = [
    "/executions",
    "/executions/MAIN",
    "/executions/MAIN/stats",
    "/executions/MAIN/routes",
    "/executions/MAIN/dag",
    "/executions/MAIN/monitor",
    "/executions/MAIN/why",
    "/executions/MAIN/tree",
    "/lineage/stats?execution_id=MAIN",
    "/lineage/failures?execution_id=MAIN",
    "/storage/browse?prefix=executions/MAIN",
    "/pipelines",
    "/pipelines/numbers/metrics",
    "/pipelines/numbers/why",
    "/configs",
    "/adapters",
    "/system/health",
    "/system/metrics",
    "/system/storage",
]


async def _call(world: _World, chance: random.Random) -> None:
    """Make one call of whatever kind; two of three only read."""
    if chance.random() < 0.67:
        await world.ask("GET", chance.choice(READS).replace("MAIN", world.main))
        return
    name = f"config-{chance.randint(1, 10_000)}"
    kinds: list[Callable[[], Awaitable[Any]]] = [
        world.start,
        lambda: world.end_one(chance, "cancel"),
        lambda: world.end_one(chance, "delete"),
        lambda: world.replay_one(chance),
        lambda: world.look_closer(chance),
        lambda: world.read_one(chance),
        lambda: world.pause(chance),
        lambda: world.ask("POST", "/configs", {"config_yaml": SMALL.replace("small", name)}),
        lambda: world.ask("POST", "/configs/validate", {"config_yaml": SMALL}),
        lambda: world.ask("POST", "/system/mq-diagnostic"),
    ]
    await chance.choice(kinds)()


async def _follow(world: _World, stream: str, chance: random.Random) -> list[tuple[str, str]]:
    """Return kind and data of what a stream tells, its end last, over many cut connections; what is told of
    progress between is of the moment."""
    told: list[tuple[str, str]] = []
    last_id: str | None = None
    while True:
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        left = chance.randint(1, 200)
        async with world.client.sse(
            f"/executions/{world.main}/{stream}", headers=headers
        ) as events:
            async for event in events:
                if event.data and event.event != "progress":
                    told.append((event.event, event.data))
                last_id = event.id or last_id
                left -= 1
                if event.event == "end":
                    return told
                if left <= 0:
                    break


def test_a_hundred_clients_are_answered_and_no_event_is_lost(tmp_path: Path) -> None:
    """All kinds of calls for a minute: no 5xx, and each follower is told each record and event once."""
    modules = ("factflow_testing.adapters", "factflow_testing.journal_adapter")
    adapters = [part for module in modules for part in ("--adapters", module)]
    with ServerProcess(tmp_path / "data", *adapters) as server:
        small = server.create(SMALL)
        main = server.run(server.create(MAIN.replace("JOURNAL", str(tmp_path / "journal"))))
        world, streams = asyncio.run(_crowd(server, main, small))
        assert not world.faults, "\n".join(world.faults[:20])
        assert server.end_of(main)["status"] == "completed"
        rows = server.rows(main)
        asked = sum(world.answers.values())
        succeeded = sum(count for (_, status), count in world.answers.items() if status < 300)
        assert succeeded > asked / 2, world.answers
        for told in streams["storage-stream"]:
            assert told[-1][0] == "end"
            seen = Counter(json.loads(data)["message_id"] for _, data in told[:-1])
            assert seen == Counter(row["message_id"] for row in rows)
        first, *others = streams["events"]
        assert [json.loads(data)["status"] for _, data in first] == ["running", "completed"]
        assert all(told == first for told in others)
        assert "Traceback" not in server.said()
        assert "locked" not in server.said()


async def _crowd(
    server: ServerProcess, main: str, small: str
) -> tuple[_World, dict[str, list[list[tuple[str, str]]]]]:
    limits = httpx2.Limits(max_connections=2 * CLIENTS, max_keepalive_connections=2 * CLIENTS)
    base = f"{server.url}/api/v1"
    async with httpx2.AsyncClient(
        base_url=base, timeout=120, limits=limits, trust_env=False
    ) as client:
        world = _World(client, main, small)
        deadline = time.monotonic() + SECONDS

        async def keep_asking(number: int) -> None:
            chance = random.Random(number)
            while time.monotonic() < deadline:
                await _call(world, chance)

        names = ["events", "storage-stream"] * (FOLLOWERS // 2)
        following = [
            asyncio.create_task(_follow(world, name, random.Random(-number)))
            for number, name in enumerate(names)
        ]
        await asyncio.gather(*(keep_asking(number) for number in range(CLIENTS - FOLLOWERS)))
        told = await asyncio.gather(*following)
    streams: dict[str, list[list[tuple[str, str]]]] = {"events": [], "storage-stream": []}
    for name, events in zip(names, told, strict=True):
        streams[name].append(events)
    return world, streams
