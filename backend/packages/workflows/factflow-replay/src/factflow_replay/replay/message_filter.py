"""Which of the messages at a stage are meant: `only`, ids, conditions on lineage fields, a sample.

A condition is `FIELD=VALUE`, `FIELD!=VALUE`, or `FIELD~VALUE` (contains, whatever the case). Fields are
those of lineage (`status`, `outcome`, `error_type`, `error`, `adapter`, `attempts`, …) and, for any other
name, of the message's metadata (`url`, `title`, `page.language`). A field that is missing fulfils `!=` only.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from factflow_engine.config.graph import PipelineGraph
from factflow_foundation import ids
from factflow_replay.replay.errors import ReplayRefusedError
from factflow_replay.replay.frontier import Candidate

FIELDS_SHOWN = 30
STATUSES = ("completed", "failed", "pending")
_CONDITION = re.compile(r"\s*(?P<field>[^\s=!~]+)\s*(?P<operator>!=|=|~)(?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Where:
    """One condition."""

    field: str
    operator: str
    value: str

    @classmethod
    def parse(cls, text: str) -> Where:
        """Return the condition a text means. Raises `ReplayRefusedError`."""
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise ReplayRefusedError(
                f"{text[:200]!r} is no condition",
                hint="write FIELD=VALUE, FIELD!=VALUE or FIELD~PART, such as url~/blog/",
            )
        where = cls(match["field"], match["operator"], match["value"].strip())
        if where.field == "status" and where.operator != "~" and where.value not in STATUSES:
            raise ReplayRefusedError(
                f"no message has the status {where.value[:200]!r}",
                hint=f"one of {', '.join(STATUSES)}",
            )
        return where

    def holds(self, candidate: Candidate) -> bool:
        """Tell whether the condition holds for a message."""
        found = _value(candidate, self.field)
        if found is None:
            return self.operator == "!="
        if self.operator == "~":
            return self.value.casefold() in found.casefold()
        return (found == self.value) is (self.operator == "=")


class MessageFilter:
    """What a request narrows its messages down to. Remembers which ids and fields it has met."""

    def __init__(
        self,
        graph: PipelineGraph,
        execution_ids: Sequence[str],
        *,
        only_failed: bool = False,
        messages: Sequence[str] = (),
        where: Sequence[str] = (),
    ) -> None:
        self.only_failed = only_failed
        self._graph = graph
        self._executions = execution_ids
        self._wanted = dict.fromkeys(messages, False)
        self._where = [Where.parse(text) for text in where]
        self._fields: set[str] = set()

    @property
    def is_narrow(self) -> bool:
        """Tell whether ids or conditions were given."""
        return bool(self._wanted or self._where)

    def is_meant(self, candidate: Candidate) -> bool:
        """Tell whether ids and conditions let a message through."""
        if self._where and len(self._fields) < FIELDS_SHOWN:
            self._fields.update(candidate.message.metadata)
        if self._wanted and not self._is_named(candidate):
            return False
        return all(where.holds(candidate) for where in self._where)

    @property
    def unmet(self) -> list[str]:
        """Return the ids that belonged to no message so far."""
        return [name for name, met in self._wanted.items() if not met]

    @property
    def unknown_fields(self) -> list[str]:
        """Return fields of conditions that no message had."""
        known = self._fields | _LINEAGE_FIELDS.keys()
        return [w.field for w in self._where if w.field.partition(".")[0] not in known]

    @property
    def fields(self) -> list[str]:
        """Return what conditions can be put on, as far as messages were met."""
        return [*_LINEAGE_FIELDS, *sorted(self._fields)[:FIELDS_SHOWN]]

    def _is_named(self, candidate: Candidate) -> bool:
        named = False
        for name in self._names(candidate):
            if name in self._wanted:
                self._wanted[name] = named = True
        return named

    def _names(self, candidate: Candidate) -> list[str]:
        """Return the ids a message goes by: origin, message, and its rows at all stages of its route."""
        route = candidate.message.route
        names = [candidate.origin_id]
        for execution in self._executions:
            message = ids.message_id(execution, candidate.origin_id)
            names.append(message)
            names += [
                ids.lineage_id(execution, route, adapter.stage_name, message)
                for adapter in self._graph.stages(route)
            ]
        return names


async def sampled(candidates: AsyncIterator[Candidate], size: int) -> tuple[list[Candidate], int]:
    """Return the `size` candidates with the smallest origins, in their order, and how many were left
    out. Origins are hashes, so this is as good as drawing lots, and comes out the same in every run."""
    kept: list[tuple[int, int, Candidate]] = []
    count = 0
    async for candidate in candidates:
        item = (-int(candidate.origin_id, 16), count, candidate)
        count += 1
        if len(kept) < size:
            heapq.heappush(kept, item)
        else:
            heapq.heappushpop(kept, item)
    kept.sort(key=lambda item: item[1])
    return [candidate for _, _, candidate in kept], count - len(kept)


def _status(candidate: Candidate) -> str:
    if candidate.row == "queued":
        return "pending"
    return "failed" if candidate.row == "failed" else "completed"


def _outcome(candidate: Candidate) -> str | None:
    if candidate.row in {"skipped", "passed"}:
        return "passed"
    return candidate.record.outcome if candidate.record else None


def _record_field(name: str) -> Any:
    def read(candidate: Candidate) -> Any:
        skipped = candidate.record is None or candidate.row == "skipped"
        return None if skipped else getattr(candidate.record, name)

    return read


def _error_field(name: str) -> Any:
    def read(candidate: Candidate) -> Any:
        record = candidate.record
        return None if record is None or record.error is None else getattr(record.error, name)

    return read


_LINEAGE_FIELDS: dict[str, Any] = {
    "status": _status,
    "outcome": _outcome,
    "error_type": _error_field("type"),
    "error": _error_field("message"),
    "error_message": _error_field("message"),
    "adapter": _record_field("adapter"),
    "adapter_version": _record_field("adapter_version"),
    "attempts": _record_field("attempts"),
    "message_id": _record_field("message_id"),
    "origin_id": lambda candidate: candidate.origin_id,
    "input_hash": lambda candidate: candidate.message.input_hash,
    "content_type": _record_field("content_type"),
    "size": _record_field("size"),
}


def _value(candidate: Candidate, field: str) -> str | None:
    """Return a field as text, None when the message does not have it."""
    read = _LINEAGE_FIELDS.get(field)
    if read is not None:
        return _text(read(candidate))
    metadata = candidate.record.metadata if candidate.record else candidate.message.metadata
    return _text(_inside(metadata, field))


def _inside(metadata: Mapping[str, Any], field: str) -> Any:
    if field in metadata:
        return metadata[field]
    current: Any = metadata
    for part in field.split("."):
        if not isinstance(current, Mapping):
            return None
        current = current.get(part)
    return current


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
