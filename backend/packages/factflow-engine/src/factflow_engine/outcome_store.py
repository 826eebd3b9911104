"""Writes what a stage produced and how it ended; the record's creation is the commit.

The first committed outcome of a message and stage stands. Whoever comes second is handed the stored
record and goes on with that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, ClassVar

import msgspec

from factflow_engine import payloads
from factflow_engine.payloads import EncodedPayload
from factflow_foundation import keys, records
from factflow_foundation.keys import extension_for
from factflow_foundation.records import Child, OutcomeRecord
from factflow_protocols.errors import (
    ObjectDamagedError,
    ObjectExistsError,
    ObjectNotFoundError,
    PermanentError,
    RecordDamagedError,
)
from factflow_protocols.storage import StorageProtocol

_children = msgspec.json.Decoder(list[Child])
_encoder = msgspec.json.Encoder()


class ArtefactTooLargeError(PermanentError):
    """An adapter returned or emitted more bytes than the server stores as one artefact."""

    code: ClassVar[str] = "artefact_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the adapter made an artefact of {size} bytes; the server stores up to {limit}",
            hint="emit it in parts, or start the server with a larger FACTFLOW_MAX_ARTEFACT_BYTES",
        )


class OutcomeStore:
    """Artefacts and outcome records of all executions, over a `StorageProtocol`.

    An artefact may have `max_artefact_bytes`; None sets no limit.
    """

    def __init__(self, storage: StorageProtocol, max_artefact_bytes: int | None = None) -> None:
        self.storage = storage
        self._max_artefact_bytes = max_artefact_bytes

    def encode(self, payload: Any, content_type: str | None) -> EncodedPayload:
        """Return a payload as the artefact it will be.

        Raises `PermanentError` for what JSON cannot hold, `ArtefactTooLargeError` for what is over the limit.
        """
        artefact = payloads.encode(payload, content_type)
        if self._max_artefact_bytes is not None and len(artefact.data) > self._max_artefact_bytes:
            raise ArtefactTooLargeError(len(artefact.data), self._max_artefact_bytes)
        return artefact

    @staticmethod
    def object_name(key: str, artefact: EncodedPayload) -> str:
        """Return the name an artefact gets under a key, unless that name is taken."""
        return key + extension_for(artefact.content_type)

    async def commit(
        self, record: OutcomeRecord, artefact: EncodedPayload | None
    ) -> tuple[OutcomeRecord, bool]:
        """Store artefact and record. Return the record that stands, and whether it is ours.

        Raises `RecordDamagedError` when one stands that cannot be read.
        """
        try:
            name = await self.storage.write(
                record.key,
                artefact.data if artefact else None,
                record.to_metadata(),
                extension=extension_for(artefact.content_type) if artefact else "",
            )
        except ObjectExistsError:
            standing = await self.find(record.key)
            if standing is None:
                raise
            return standing, False
        if name is not None and name != record.output_key:
            record = msgspec.structs.replace(record, output_key=name)
        return record.with_input_keys(), True

    async def commit_failure(self, record: OutcomeRecord) -> tuple[OutcomeRecord, bool]:
        """Store a failure as `commit` does; beside the record that stands if that cannot be read."""
        try:
            return await self.commit(record, None)
        except RecordDamagedError:
            key = keys.stand_in_key(record.key)
        try:
            await self.storage.write(key, None, record.to_metadata())
        except ObjectExistsError:
            return await self._read(key) or record, False
        return record, True

    async def find(self, key: str) -> OutcomeRecord | None:
        """Return the record under a stage key, None when there is none yet.

        One that cannot be read is passed over for the failure of the message that met it. Raises
        `RecordDamagedError` when none did.
        """
        try:
            return await self._read(key)
        except RecordDamagedError:
            failure = await self._read(keys.stand_in_key(key))
            if failure is None:
                raise
            return failure

    async def find_listed(self, key: str) -> OutcomeRecord | None:
        """Return the record that a listing of a stage shows, be it a failure whose damaged record was
        deleted since. Raises `RecordDamagedError` as `find` does."""
        return await self.find(key) or await self._read(keys.stand_in_key(key))

    async def _read(self, key: str) -> OutcomeRecord | None:
        try:
            return records.from_metadata(await self.storage.metadata(key), key)
        except ObjectNotFoundError:
            return None

    async def write_child(self, key: str, artefact: EncodedPayload) -> str:
        """Store a child's artefact and return its name; one left by an earlier try is not touched."""
        extension = extension_for(artefact.content_type)
        candidate, number = key, 1
        while True:
            try:
                name = await self.storage.write(candidate, artefact.data, extension=extension)
            except ObjectExistsError:
                number += 1
                candidate = f"{key}~{number}"
            else:
                return name or candidate

    async def write_children(self, key: str, children: list[Child]) -> str:
        """Store a part of a long list of children as an object of its own; return its name."""
        data = _encoder.encode(children)
        return await self.write_child(
            key, EncodedPayload(data, payloads.JSON, payloads.digest(data))
        )

    async def children(self, record: OutcomeRecord) -> AsyncIterator[list[Child]]:
        """Yield the children a record names, in parts.

        Raises `ObjectDamagedError`, and `ObjectNotFoundError` when a list of them is gone.
        """
        for part in self.children_parts(record):
            yield await part()

    def children_parts(
        self, record: OutcomeRecord
    ) -> Iterator[Callable[[], Awaitable[list[Child]]]]:
        """Yield what reads each part of a record's children, and may be called again after trouble."""

        async def listed() -> list[Child]:
            return record.children

        if record.children:
            yield listed
        for key in record.children_keys:
            yield partial(self.listed_children, key)

    async def listed_children(self, key: str) -> list[Child]:
        """Return the children that an object of their own lists; raises as `children` does."""
        try:
            return _children.decode(await self.storage.read(key))
        except msgspec.DecodeError as error:
            raise ObjectDamagedError(
                f"the list of children {key} is damaged: {error}",
                hint="restore it from a copy, or run the stage again with --rerun",
            ) from error

    async def read_input(self, key: str, expected_hash: str) -> bytes:
        """Return an artefact, checked against its SHA-256.

        Raises `ObjectNotFoundError`, or `ObjectDamagedError` when the bytes are not those recorded.
        """
        data = await self.storage.read(key)
        if expected_hash and payloads.digest(data) != expected_hash:
            raise ObjectDamagedError(
                f"{key} is damaged: its SHA-256 is not the recorded {expected_hash}",
                hint="restore the object, or run the stage before it again",
            )
        return data
