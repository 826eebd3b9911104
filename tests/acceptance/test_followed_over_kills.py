"""A stream of outcomes is followed over `kill -9` and a new server: each record once, then the end."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest

from factflow_testing.server_process import ServerProcess

pytestmark = pytest.mark.long

NUMBERS = 1_500
CUTS_PER_SERVER = 150
KILLS = 2

PIPELINE = f"""\
version: "1.0"
name: followed
routes:
  numbers:
    inbound: {{queue: numbers, concurrency: 16}}
    adapters:
      - {{type: fan, config: {{count: {NUMBERS}}}}}
      - {{type: journal, config: {{journal: JOURNAL, seconds: 0.02}}}}
    outbound: echoes
  echoes:
    inbound: {{queue: echoes}}
    adapters: [{{type: echo, stage: again}}]
init_message: {{route: numbers, payload: {{}}}}
"""


class _Client:
    """Keeps what it is told, and where it goes on."""

    def __init__(self, execution_id: str) -> None:
        self.where = f"/executions/{execution_id}/storage-stream"
        self.told: list[dict[str, Any]] = []
        self.last_id: str | None = None
        self.ended: dict[str, Any] | None = None

    def read(self, server: ServerProcess, count: float) -> None:
        """Take some events and cut the connection."""
        headers = {} if self.last_id is None else {"Last-Event-ID": self.last_id}
        with server.api.sse(self.where, headers=headers) as source:
            for event in source:
                self.last_id = event.id or self.last_id
                if event.event == "end":
                    self.ended = json.loads(event.data)
                    return
                if event.data:
                    self.told.append(json.loads(event.data))
                    count -= 1
                if count <= 0:
                    return


def test_reconnects_over_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Also rows that lineage had lost with the process, and that recovery made again."""
    chance = random.Random(11)
    modules = ("factflow_testing.adapters", "factflow_testing.journal_adapter")
    adapters = [part for module in modules for part in ("--adapters", module)]
    pipeline = PIPELINE.replace("JOURNAL", str(tmp_path / "journal"))
    with ServerProcess(tmp_path / "data", *adapters) as server:
        run = server.run(server.create(pipeline))
        client = _Client(run)
        for _ in range(CUTS_PER_SERVER):
            client.read(server, chance.randint(1, 4))
        server.kill()
    for _ in range(KILLS - 1):
        with ServerProcess(tmp_path / "data", *adapters) as server:
            for _ in range(CUTS_PER_SERVER):
                client.read(server, chance.randint(0, 3))
            server.kill()
    with ServerProcess(tmp_path / "data", *adapters) as server:
        while client.ended is None:
            client.read(server, chance.randint(1, 50))
        assert client.ended["status"] == "completed"
        assert client.ended["complete"] is True
        stored = _records(server, run)
        told = Counter((row["route_id"], row["stage"], row["message_id"]) for row in client.told)
        assert told == stored
        assert set(told.values()) == {1}
        answer = server.api.get(client.where, headers={"Last-Event-ID": client.last_id or ""})
        assert answer.status_code == httpx2.codes.NO_CONTENT


def _records(server: ServerProcess, run: str) -> Counter[tuple[str, str, str]]:
    """What the store holds of the execution, by its records."""
    folder = server.data_dir / "storage" / "executions" / run
    found = (path.relative_to(folder).parts for path in folder.rglob("*.meta.json"))
    return Counter(
        (route, stage, name.removesuffix(".meta.json"))
        for route, stage, name in (parts for parts in found if len(parts) == 3)
    )
