"""Object stores: `create_storage_provider` picks one by its URI; `DataFolderLock` guards a folder."""

from factflow_infra.storage.address import (
    BucketAddress,
    FolderAddress,
    StorageAddress,
    StorageUriError,
    parse_storage_uri,
)
from factflow_infra.storage.data_lock import (
    DataFolderLock,
    DataFolderLockedError,
    DataFolderUnwritableError,
)
from factflow_infra.storage.factory import create_storage_provider
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.packed import PackedStorageProvider
from factflow_infra.storage.packed_marker import StorageLayoutError

__all__ = [
    "BucketAddress",
    "DataFolderLock",
    "DataFolderLockedError",
    "DataFolderUnwritableError",
    "FilesystemStorageProvider",
    "FolderAddress",
    "PackedStorageProvider",
    "StorageAddress",
    "StorageLayoutError",
    "StorageUriError",
    "create_storage_provider",
    "parse_storage_uri",
]
