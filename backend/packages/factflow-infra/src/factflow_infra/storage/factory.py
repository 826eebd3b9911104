"""The storage URI picks the provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from factflow_infra.storage.filesystem import Durability, FilesystemStorageProvider
from factflow_protocols.errors import StorageError
from factflow_protocols.storage import StorageProtocol


class StorageUriError(StorageError):
    """A storage URI names no store that Factflow knows."""

    code = "storage_uri_invalid"


def create_storage_provider(
    uri: str,
    *,
    durability: Durability = "os",
    writer: Literal["thread", "process"] = "thread",
    keep_open: Sequence[int] = (),
) -> StorageProtocol:
    """Return the store a URI names.

    `file:///absolute/path`, or `file://./path` relative to the working directory: a folder, made when
    it is missing. Percent escapes in the path are undone. `writer` and `keep_open` are for folders.

    Raises `StorageUriError` for anything else, `StorageUnavailableError` when the store cannot be used.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise StorageUriError(f"the storage URI cannot be read: {error}", hint=_HINT) from error
    if not parts.scheme:
        raise StorageUriError("the storage URI has no scheme", hint=_HINT)
    if parts.scheme != "file":
        raise StorageUriError(f"no storage provider for {parts.scheme}:// URIs", hint=_HINT)
    return FilesystemStorageProvider(
        _folder(uri), durability=durability, writer=writer, keep_open=keep_open
    )


_HINT = "write file:///absolute/path or file://./relative/path"


def _folder(uri: str) -> Path:
    if not uri.lower().startswith("file://"):
        raise StorageUriError("a file: storage URI needs two slashes", hint=_HINT)
    parts = urlsplit(uri)
    if parts.query or parts.fragment:
        raise StorageUriError(
            "a file:// storage URI takes neither '?' nor '#'", hint="write them as %3F and %23"
        )
    if parts.netloc in {"", "localhost"}:
        path = unquote(parts.path)
    elif parts.netloc in {".", ".."}:
        path = parts.netloc + unquote(parts.path)
    else:
        raise StorageUriError(f"a file:// URI cannot name the host {parts.netloc!r}", hint=_HINT)
    if not path or "\0" in path:
        raise StorageUriError("the storage URI names no folder", hint=_HINT)
    return Path(path)
