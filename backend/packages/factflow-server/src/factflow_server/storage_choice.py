"""Which store belongs to a data folder: chosen at its first start, and the same from then on.

A server that opened another one would find its executions without their artefacts. A store inside of the
data folder tells by itself what kind it is; of one elsewhere the data folder keeps the URI, in
`storage.uri`.
"""

from __future__ import annotations

from factflow_infra.storage.address import FolderAddress, StorageAddress, parse_storage_uri
from factflow_infra.storage.packed_marker import is_packed
from factflow_server.embedded import DataDir
from factflow_server.settings import ServerStartError


class StorageChangedError(ServerStartError):
    """The store named is not the one that the data folder was begun with."""

    code = "storage_changed"

    def __init__(self, data_dir: DataDir, begun_with: str, named: str) -> None:
        super().__init__(
            f"the data folder {data_dir.root} keeps its objects in {begun_with}, and not in {named}",
            hint="leave --storage-uri out, or begin another data folder with --data-dir",
        )


def choose_storage(data_dir: DataDir, named: str | None) -> StorageAddress:
    """Return the address of the data folder's store: the one it has, or the one named for a new one.

    Raises `StorageUriError` for a URI that names no store, `StorageChangedError` for another one than the
    data folder has, and OSError.
    """
    kept = data_dir.storage_note.read_text().strip() if data_dir.storage_note.exists() else None
    usual = FolderAddress("packed" if is_packed(data_dir.storage) else "file", data_dir.storage)
    if named is None:
        return parse_storage_uri(kept) if kept else usual
    address = parse_storage_uri(named)
    if kept is not None:
        if address.uri != kept:
            raise StorageChangedError(data_dir, kept, address.uri)
        return address
    if not _is_inside(data_dir, address) and data_dir.storage.exists():
        raise StorageChangedError(data_dir, usual.uri, address.uri)
    return address


def note_storage(data_dir: DataDir, address: StorageAddress) -> None:
    """Keep the URI of a store that lies outside of the data folder, once it could be opened."""
    if not _is_inside(data_dir, address) and not data_dir.storage_note.exists():
        data_dir.storage_note.write_text(address.uri + "\n")


def _is_inside(data_dir: DataDir, address: StorageAddress) -> bool:
    return isinstance(address, FolderAddress) and address.folder.absolute() == data_dir.storage
