"""A replay's plan: one line of JSON per message, stored before the execution runs. A line has the message's
source execution and id there, its origin, route and entry stage, and its input's key and hash.

It is what the publisher streams, and what a replay that was cut off goes on from. A plan of up to
`LINES_PER_OBJECT` lines is the object `_plan` itself. A longer one is stored in parts, each as it is
full, and `_plan`, written last, lists them: so neither writing nor reading holds more than one part.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import msgspec

from factflow_engine.execution_spec import PlannedMessage
from factflow_foundation import keys
from factflow_foundation.crash_points import reach
from factflow_protocols.errors import ObjectDamagedError
from factflow_protocols.storage import StorageProtocol

LINES_PER_OBJECT = 5_000
_PART_LINE = b'{"part":'


class PlanPart(msgspec.Struct, frozen=True):
    """A line of a long plan's list: the key of a part, and how many items it holds."""

    part: str
    items: int


_encoder = msgspec.json.Encoder()
_items = msgspec.json.Decoder(PlannedMessage)
_parts = msgspec.json.Decoder(PlanPart)


class PlanDigest:
    """SHA-256 over a plan's lines as they come, and their number."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, message: PlannedMessage) -> bytes:
        """Take the next message; return its line."""
        line = _encoder.encode(message) + b"\n"
        self._hash.update(line)
        self.count += 1
        return line

    @property
    def sha256(self) -> str:
        """Return the digest in hex."""
        return self._hash.hexdigest()


class PlanWriter:
    """Stores the plan of one execution, line by line. Nothing is a plan before `close`."""

    def __init__(
        self, storage: StorageProtocol, execution_id: str, *, lines: int = LINES_PER_OBJECT
    ) -> None:
        self._storage = storage
        self._execution_id = execution_id
        self._limit = lines
        self._lines: list[bytes] = []
        self._parts: list[PlanPart] = []

    async def add(self, line: bytes) -> None:
        """Take the next line."""
        if len(self._lines) == self._limit:
            await self._flush()
        self._lines.append(line)

    async def close(self) -> PlanSource:
        """Store what is left, and the plan itself; return what publishes it."""
        if self._parts:
            await self._flush()
            data = _encoder.encode_lines(self._parts)
        else:
            data = b"".join(self._lines)
        reach("plan.write.before")
        await self._storage.write(keys.plan_key(self._execution_id), data)
        reach("plan.write.after")
        return PlanSource(self._storage, self._execution_id)

    async def _flush(self) -> None:
        key = f"{keys.plan_key(self._execution_id)}-{len(self._parts) + 1:06}"
        await self._storage.write(key, b"".join(self._lines))
        self._parts.append(PlanPart(key, len(self._lines)))
        self._lines = []


class PlanSource:
    """Streams a stored plan. Fulfils `MessageSource`."""

    def __init__(self, storage: StorageProtocol, execution_id: str) -> None:
        self._storage = storage
        self._key = keys.plan_key(execution_id)

    async def exists(self) -> bool:
        """Tell whether the execution has a plan."""
        return await self._storage.exists(self._key)

    async def items(self, start: int) -> AsyncIterator[PlannedMessage]:
        """Yield the plan's messages from position `start` on. Raises `ObjectDamagedError`."""
        data = await self._storage.read(self._key)
        if not data.startswith(_PART_LINE):
            for message in _decoded(self._key, data, start):
                yield message
            return
        for line in data.splitlines():
            part = _decode_part(self._key, line)
            if start < part.items:
                data = await self._storage.read(part.part)
                for message in _decoded(part.part, data, start):
                    yield message
            start = max(start - part.items, 0)


def _decoded(key: str, data: bytes, start: int) -> list[PlannedMessage]:
    messages = []
    for number, line in enumerate(data.splitlines()[start:], start=start + 1):
        try:
            messages.append(_items.decode(line))
        except msgspec.DecodeError as error:
            raise ObjectDamagedError(
                f"line {number} of the plan {key} is damaged: {error}"
            ) from error
    return messages


def _decode_part(key: str, line: bytes) -> PlanPart:
    try:
        return _parts.decode(line)
    except msgspec.DecodeError as error:
        raise ObjectDamagedError(f"the list of parts {key} is damaged: {error}") from error
