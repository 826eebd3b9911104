"""Writes what a stage produced and how it ended; the record's creation is the commit.

The first committed outcome of a message and stage stands. Whoever comes second is handed the stored
record and goes on with that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from factflow_engine import payloads
from factflow_engine.payloads import EncodedPayload
from factflow_foundation import records
from factflow_foundation.keys import extension_for
from factflow_foundation.records import Child, OutcomeRecord
from factflow_protocols.errors import ObjectDamagedError, ObjectExistsError, ObjectNotFoundError
from factflow_protocols.storage import StorageProtocol

_children = msgspec.json.Decoder(list[Child])
_encoder = msgspec.json.Encoder()


class OutcomeStore:
    """Artefacts and outcome records of all executions, over a `StorageProtocol`."""

    def __init__(self, storage: StorageProtocol) -> None:
        self.storage = storage

    @staticmethod
    def object_name(key: str, artefact: EncodedPayload) -> str:
        """Return the name an artefact gets under a key, unless that name is taken."""
        return key + extension_for(artefact.content_type)

    async def commit(
        self, record: OutcomeRecord, artefact: EncodedPayload | None
    ) -> tuple[OutcomeRecord, bool]:
        """Store artefact and record. Return the record that stands, and whether it is ours."""
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

    async def find(self, key: str) -> OutcomeRecord | None:
        """Return the record under a stage key, None when there is none yet."""
        try:
            return records.from_metadata(await self.storage.metadata(key))
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
        """Yield the children a record names, in parts. Raises `ObjectDamagedError`."""
        if record.children:
            yield record.children
        for key in record.children_keys:
            try:
                yield _children.decode(await self.storage.read(key))
            except msgspec.DecodeError as error:
                raise ObjectDamagedError(
                    f"the list of children {key} is damaged: {error}"
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
