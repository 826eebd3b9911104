"""Packed storage: the objects of an execution and their records in one SQLite file, a pack."""

from factflow_infra.storage.packed.provider import PackedStorageProvider

__all__ = ["PackedStorageProvider"]
