"""One execution as the store has it: records, init payload, plan. Read without any code of the server."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from factflow_selftest.evidence import Evidence
from factflow_selftest.stored_objects import RECORD_SUFFIX

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
    """What lies below `executions/<id>`, as it was last looked at."""

    def __init__(self, evidence: Evidence, execution_id: str) -> None:
        self.execution_id = execution_id
        self._evidence = evidence
        self._folder = f"executions/{execution_id}/"
        self._names = set(evidence.names_below(self._folder))
        self.records: list[Record] = []
        self.damaged: list[str] = []
        """Records that cannot be read."""
        self.by_message: dict[str, list[Record]] = defaultdict(list)
        for name in sorted(self._names):
            parts = name.removeprefix(self._folder).split("/")
            if len(parts) != len(("route", "stage", "message")) or not name.endswith(RECORD_SUFFIX):
                continue
            try:
                record = {**json.loads(evidence.read(name)), "path": name}
                self.by_message[record["message_id"]].append(record)
            except (ValueError, TypeError, KeyError):
                self.damaged.append(name)
            else:
                self.records.append(record)

    @property
    def init(self) -> Record | None:
        """The record of the init payload."""
        name = f"{self._folder}_init{RECORD_SUFFIX}"
        return json.loads(self._evidence.read(name)) if name in self._names else None

    def plan(self) -> list[dict[str, Any]] | None:
        """Return a replay's planned messages, None without a plan."""
        name = f"{self._folder}_plan"
        if name not in self._names:
            return None
        lines = self._lines(name)
        if lines and "part" in lines[0]:
            lines = [line for part in lines for line in self._lines(part["part"])]
        return lines

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._evidence.read(name).splitlines()]

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
            lists.append(json.loads(self._evidence.read(key)))  # noqa: PERF401  # reads as it is
        for children in lists:
            for child in children:
                if child["route"]:
                    yield {"input_key": record.get("output_key"), **child}
