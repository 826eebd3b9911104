"""Object stores: `create_storage_provider` picks one by its URI; `DataFolderLock` guards a folder."""

from factflow_infra.storage.data_lock import (
    DataFolderLock,
    DataFolderLockedError,
    DataFolderUnwritableError,
)
from factflow_infra.storage.factory import StorageUriError, create_storage_provider
from factflow_infra.storage.filesystem import FilesystemStorageProvider
from factflow_infra.storage.packed import PackedStorageProvider
from factflow_infra.storage.packed_marker import StorageLayoutError

__all__ = [
    "DataFolderLock",
    "DataFolderLockedError",
    "DataFolderUnwritableError",
    "FilesystemStorageProvider",
    "PackedStorageProvider",
    "StorageLayoutError",
    "StorageUriError",
    "create_storage_provider",
]
