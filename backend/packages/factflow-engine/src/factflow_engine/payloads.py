"""Payload ↔ bytes: how an artefact's content type decides what an adapter is handed."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import msgspec

from factflow_protocols.errors import PermanentError

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"

_json = msgspec.json.Encoder(order=None)


class EncodedPayload(NamedTuple):
    """An artefact's bytes, their content type and their SHA-256 in hex."""

    data: bytes
    content_type: str
    sha256: str


def digest(data: bytes) -> str:
    """Return the SHA-256 of `data` in hex."""
    return hashlib.sha256(data).hexdigest()


def encode(payload: Any, content_type: str | None) -> EncodedPayload:
    """Return the payload as an artefact. Text is UTF-8, everything but str and bytes is JSON.

    Raises `PermanentError` for what JSON cannot hold.
    """
    if isinstance(payload, bytes):
        data, default = payload, BINARY
    elif isinstance(payload, str):
        data, default = _encode_text(payload), TEXT
    else:
        try:
            data, default = _json.encode(payload), JSON
        except (TypeError, ValueError, RecursionError) as error:
            raise PermanentError(
                f"the adapter returned a payload that JSON cannot hold: {error}",
                hint="return dicts, lists, str or bytes",
            ) from error
        if content_type is not None and not is_json(content_type):
            content_type = None
    return EncodedPayload(data, content_type or default, digest(data))


def _encode_text(text: str) -> bytes:
    """Return UTF-8; lone surrogates (from broken pages) become U+FFFD instead of an error."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def decode(data: bytes, content_type: str) -> Any:
    """Return the payload as an adapter receives it. Raises `PermanentError` when it is not what the
    content type says."""
    try:
        if is_json(content_type):
            return msgspec.json.decode(data)
        if content_type.startswith("text/"):
            return data.decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PermanentError(f"stored payload is not valid {content_type}: {error}") from error
    return data


def is_json(content_type: str) -> bool:
    """Tell whether a content type is JSON."""
    if content_type == JSON:
        return True
    bare = content_type.partition(";")[0].strip().lower()
    return bare == JSON or bare.endswith("+json")
