"""The storage URI picks the provider."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from factflow_infra.storage.address import BucketAddress, StorageAddress, parse_storage_uri
from factflow_infra.storage.filesystem import Durability, FilesystemStorageProvider
from factflow_infra.storage.packed.provider import PackedStorageProvider
from factflow_protocols.storage import StorageProtocol


def create_storage_provider(
    address: StorageAddress | str,
    *,
    durability: Durability = "os",
    writer: Literal["thread", "process"] = "thread",
    keep_open: Sequence[int] = (),
) -> StorageProtocol:
    """Return the store an address or its URI names, opened.

    `file:///absolute/path`, or `file://./path` relative to the working directory: plain files in a
    folder, which is made when it is missing. `packed://` likewise: packed storage in a folder.
    `s3://bucket/prefix`: a bucket, which has to be there; it is asked before this returns. Percent
    escapes in the path are undone. `durability`, `writer` and `keep_open` are for folders.

    Raises `StorageUriError` for anything else, `StorageUnavailableError` when the store cannot be used,
    `StorageLayoutError` when the folder holds the other kind, `ConditionalPutMissingError` when the
    bucket's server replaces what should be created.
    """
    if isinstance(address, str):
        address = parse_storage_uri(address)
    if isinstance(address, BucketAddress):
        # Its library takes time and memory that stores in folders do not need.
        from factflow_infra.storage.s3.provider import S3StorageProvider

        return S3StorageProvider(address)
    provider = FilesystemStorageProvider if address.kind == "file" else PackedStorageProvider
    store = provider(address.folder, durability=durability, writer=writer, keep_open=keep_open)
    store.start_soon()
    return store
