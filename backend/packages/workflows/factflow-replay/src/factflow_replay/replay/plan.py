"""A replay's plan: one line of JSON per message, stored before the execution runs.

It is what the publisher streams, and what a replay that was cut off goes on from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from factflow_engine.execution_spec import PlannedMessage
from factflow_foundation import keys
from factflow_protocols.errors import ObjectDamagedError
from factflow_protocols.storage import StorageProtocol

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(PlannedMessage)


async def write_plan(
    storage: StorageProtocol, execution_id: str, messages: Sequence[PlannedMessage]
) -> PlanSource:
    """Store the plan of an execution and return what publishes it."""
    await storage.write(keys.plan_key(execution_id), _encoder.encode_lines(messages))
    return PlanSource(storage, execution_id)


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
        lines = (await self._storage.read(self._key)).splitlines()
        for number, line in enumerate(lines[start:], start=start + 1):
            try:
                yield _decoder.decode(line)
            except msgspec.DecodeError as error:
                raise ObjectDamagedError(
                    f"line {number} of the plan {self._key} is damaged: {error}"
                ) from error
