"""What writers are asked to do: small, made of bytes and text only, so that it may travel to a process."""

from __future__ import annotations

import msgspec


class WriteRequest(msgspec.Struct, frozen=True, array_like=True, tag="write"):
    """An object, its record, or both. `record` is the JSON of the metadata, with `output_key`
    naming the plain object name when there is data."""

    key: str
    extension: str
    data: bytes | None
    record: bytes | None


class DeleteRequest(msgspec.Struct, frozen=True, array_like=True, tag="delete"):
    """An object by its name, or a record by its key."""

    key: str


class DeletePrefixRequest(msgspec.Struct, frozen=True, array_like=True, tag="delete_prefix"):
    """A step of deleting all below a prefix. Its answer is how many files or entries went, in digits, and
    None once there is no more."""

    prefix: str
    artefacts_only: bool = False


StoreRequest = WriteRequest | DeleteRequest | DeletePrefixRequest


def with_output_key(record: bytes, name: str) -> bytes:
    """Return a record's JSON with another object's name in it."""
    fields = msgspec.json.decode(record)
    fields["output_key"] = name
    return msgspec.json.encode(fields)
