"""What goes over the line between a store and its writer process: frames of MessagePack.

A frame is its length, four bytes with the lowest first, and that many bytes: a list of requests one way,
a list of answers the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from factflow_infra.storage.requests import StoreRequest
from factflow_protocols.errors import (
    KeyRefusedError,
    ObjectExistsError,
    StorageError,
    StorageUnavailableError,
)

_LENGTH_BYTES = 4


class Request(NamedTuple):
    """A request under the number that its answer will have."""

    number: int
    what: StoreRequest


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """A `StorageError` on its way: which one, and what it says."""

    kind: str
    message: str
    hint: str


class Answer(NamedTuple):
    """The name of what was written, None when there is none, or why it was not."""

    number: int
    name: str | None
    refusal: Refusal | None


_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(list[Request])
_answers = msgspec.msgpack.Decoder(list[Answer])


class Frames:
    """Puts together the frames of a stream that arrives in pieces."""

    def __init__(self) -> None:
        self._left = bytearray()

    def add(self, piece: bytes) -> Iterator[bytes]:
        """Take in a piece; yield the frames that are complete with it."""
        self._left += piece
        start, end = 0, len(self._left)
        while end - start >= _LENGTH_BYTES:
            body = start + _LENGTH_BYTES
            stop = body + int.from_bytes(self._left[start:body], "little")
            if stop > end:
                break
            yield bytes(memoryview(self._left)[body:stop])
            start = stop
        del self._left[:start]


def encode(items: Sequence[Request] | Sequence[Answer]) -> bytes:
    """Return a frame."""
    body = _encoder.encode(items)
    return len(body).to_bytes(_LENGTH_BYTES, "little") + body


def requests(frame: bytes) -> list[Request]:
    """Return the requests of a frame."""
    return _requests.decode(frame)


def answers(frame: bytes) -> list[Answer]:
    """Return the answers of a frame."""
    return _answers.decode(frame)


def refusal(error: Exception) -> Refusal:
    """Return an error as it travels."""
    if isinstance(error, ObjectExistsError):
        return Refusal("exists", error.key, "")
    if isinstance(error, KeyRefusedError):
        return Refusal("key", error.message, error.hint)
    if isinstance(error, StorageUnavailableError):
        return Refusal("unavailable", error.message, error.hint)
    if isinstance(error, StorageError):
        return Refusal("storage", error.message, error.hint)
    return Refusal("fault", f"{type(error).__name__}: {error}", "")


def error_of(what: Refusal) -> Exception:
    """Return the error that `refusal` was made of; a fault of the program is a RuntimeError."""
    if what.kind == "exists":
        return ObjectExistsError(what.message)
    if what.kind == "key":
        return KeyRefusedError(what.message, hint=what.hint)
    if what.kind == "unavailable":
        return StorageUnavailableError(what.message, hint=what.hint)
    if what.kind == "storage":
        return StorageError(what.message, hint=what.hint)
    return RuntimeError(f"in the storage writer: {what.message}")
