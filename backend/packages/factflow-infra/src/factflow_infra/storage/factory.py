"""The storage URI picks the provider."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from factflow_infra.storage.filesystem import Durability, FilesystemStorageProvider
from factflow_infra.storage.packed.provider import PackedStorageProvider
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

    `file:///absolute/path`, or `file://./path` relative to the working directory: plain files in a
    folder, which is made when it is missing. `packed://` likewise: packed storage in a folder. Percent
    escapes in the path are undone. `writer` and `keep_open` are for folders.

    Raises `StorageUriError` for anything else, `StorageUnavailableError` when the store cannot be used,
    `StorageLayoutError` when the folder holds the other kind.
    """
    scheme, folder = parse_storage_uri(uri)
    provider = FilesystemStorageProvider if scheme == "file" else PackedStorageProvider
    store = provider(folder, durability=durability, writer=writer, keep_open=keep_open)
    store.start_soon()
    return store


def parse_storage_uri(uri: str) -> tuple[Literal["file", "packed"], Path]:
    """Return the kind of store and its folder. Raises `StorageUriError`."""
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise StorageUriError(f"the storage URI cannot be read: {error}", hint=_HINT) from error
    if not parts.scheme:
        raise StorageUriError("the storage URI has no scheme", hint=_HINT)
    scheme: Literal["file", "packed"]
    if parts.scheme == "file":
        scheme = "file"
    elif parts.scheme == "packed":
        scheme = "packed"
    else:
        raise StorageUriError(f"no storage provider for {parts.scheme}:// URIs", hint=_HINT)
    return scheme, _folder(uri)


_HINT = "write file:///absolute/path or file://./relative/path, or packed:// instead of file://"


def _folder(uri: str) -> Path:
    scheme, slashes, _ = uri.partition("://")
    if not slashes:
        raise StorageUriError(
            f"a {scheme.partition(':')[0]}: storage URI needs two slashes", hint=_HINT
        )
    parts = urlsplit(uri)
    if parts.query or parts.fragment:
        raise StorageUriError(
            f"a {scheme}:// storage URI takes neither '?' nor '#'", hint="write them as %3F and %23"
        )
    if parts.netloc in {"", "localhost"}:
        path = unquote(parts.path)
    elif parts.netloc in {".", ".."}:
        path = parts.netloc + unquote(parts.path)
    else:
        raise StorageUriError(
            f"a {scheme}:// URI cannot name the host {parts.netloc!r}", hint=_HINT
        )
    if not path or "\0" in path:
        raise StorageUriError("the storage URI names no folder", hint=_HINT)
    return Path(path)
