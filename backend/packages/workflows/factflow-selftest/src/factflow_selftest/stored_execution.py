"""One execution as its files have it: records, init payload, plan. Read without any code of the server."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factflow_selftest.evidence import RECORD_SUFFIX

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Announced:
    """A message that must have exactly one outcome: who named it, and what it starts from."""

    by: str
    route: str
    entry_stage: str
    input_key: str
    input_hash: str


class StoredExecution:
    """The files below `executions/<id>`."""

    def __init__(self, storage: Path, execution_id: str) -> None:
        self.execution_id = execution_id
        self._storage = storage
        self._folder = storage / "executions" / execution_id
        self.records: list[Record] = []
        self.damaged: list[str] = []
        """Records that cannot be read."""
        self.by_message: dict[str, list[Record]] = defaultdict(list)
        for path in sorted(self._folder.glob(f"*/*/*{RECORD_SUFFIX}")):
            name = str(path.relative_to(storage))
            try:
                record = {**json.loads(path.read_bytes()), "path": name}
                self.by_message[record["message_id"]].append(record)
            except (ValueError, TypeError, KeyError):
                self.damaged.append(name)
            else:
                self.records.append(record)

    @property
    def init(self) -> Record | None:
        """The record of the init payload."""
        path = self._folder / f"_init{RECORD_SUFFIX}"
        return json.loads(path.read_bytes()) if path.exists() else None

    def plan(self) -> list[dict[str, Any]] | None:
        """Return a replay's planned messages, None without a plan."""
        path = self._folder / "_plan"
        if not path.exists():
            return None
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        if lines and "part" in lines[0]:
            parts = [self._storage / line["part"] for line in lines]
            lines = [json.loads(line) for part in parts for line in part.read_bytes().splitlines()]
        return lines

    def roots(self) -> dict[tuple[str, str], str]:
        """Return the messages that follow no other of this execution, by route and origin."""
        return {
            (record["route"], record["origin_id"]): record["message_id"]
            for record in self.records
            if record.get("parent_id") is None
        }

    def children(self, record: Record) -> Iterator[dict[str, Any]]:
        """Yield the messages that a record names; artefacts that go to no route are none.

        A child that says nothing else starts from the record's own artefact.
        """
        lists = [record.get("children", [])]
        for key in record.get("children_keys", []):
            lists.append(json.loads((self._storage / key).read_bytes()))  # noqa: PERF401  # reads as it is
        for children in lists:
            for child in children:
                if child["route"]:
                    yield {"input_key": record.get("output_key"), **child}
