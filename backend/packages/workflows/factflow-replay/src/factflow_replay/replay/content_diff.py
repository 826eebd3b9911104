"""What two outcomes of one message put out, as a unified diff of lines."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Sequence

from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.payloads import is_json
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.errors import ObjectNotFoundError

MAX_BYTES = 512 * 1024
MAX_LINES = 5_000
MAX_DIFF = 64 * 1024
"""Characters of a diff that are kept."""


class ContentDiff:
    """Reads artefacts and compares them. JSON is compared in a canonical form, key by key."""

    def __init__(self, store: OutcomeStore) -> None:
        self._store = store

    async def of(self, a: OutcomeRecord | None, b: OutcomeRecord | None) -> str | None:
        """Return the diff; None when a side is missing, or when both are the same as text."""
        if a is None or b is None:
            return None
        lines = [await self._lines(record) for record in (a, b)]
        names = [record.output_key or record.key for record in (a, b)]
        return await asyncio.to_thread(_unified, lines[0], lines[1], names[0], names[1]) or None

    async def _lines(self, record: OutcomeRecord) -> list[str]:
        if record.outcome == "stored":
            return await self._content(record)
        if record.outcome == "fanned_out":
            return sorted(
                [
                    f"{child.name}  {child.input_hash[:16]}"
                    async for part in self._store.children(record)
                    for child in part
                ]
            )
        if record.outcome == "failed" and record.error is not None:
            return [f"failed with {record.error.type}", *record.error.message.splitlines()]
        return [record.outcome]

    async def _content(self, record: OutcomeRecord) -> list[str]:
        content_type = record.content_type or ""
        is_text = is_json(content_type) or content_type.startswith("text/")
        if not is_text or record.size > MAX_BYTES:
            return [f"{record.size} bytes of {content_type}, SHA-256 {record.output_hash}"]
        try:
            data = await self._store.storage.read(record.output_key or "")
        except ObjectNotFoundError:
            return ["missing from storage"]
        return _text(data, content_type).splitlines()


def _text(data: bytes, content_type: str) -> str:
    if is_json(content_type):
        try:
            return json.dumps(json.loads(data), indent=2, sort_keys=True, ensure_ascii=False)
        except (ValueError, RecursionError):
            pass
    return data.decode(errors="replace")


def _unified(a: Sequence[str], b: Sequence[str], name_a: str, name_b: str) -> str:
    if max(len(a), len(b)) > MAX_LINES:
        return f"--- {name_a}\n+++ {name_b}\n{len(a)} and {len(b)} lines: too many to compare\n"
    lines = difflib.unified_diff(a, b, name_a, name_b, lineterm="")
    text = "".join(f"{line}\n" for line in lines)
    return text if len(text) <= MAX_DIFF else f"{text[:MAX_DIFF]}\n… cut\n"
