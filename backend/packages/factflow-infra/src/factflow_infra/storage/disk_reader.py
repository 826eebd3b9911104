"""The reading half of a filesystem store, in plain calls; only `may_wait=False` suits an event loop."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from factflow_infra.storage.disk_errors import is_reachable, storage_error
from factflow_infra.storage.folders import Folders
from factflow_infra.storage.key_page import first_keys, first_names
from factflow_infra.storage.listing import walk
from factflow_infra.storage.record_listing import walk_records
from factflow_infra.storage.usage_walk import measure
from factflow_protocols.errors import ObjectNotFoundError, StorageError
from factflow_protocols.storage import ObjectInfo, RecordInfo, StorageUsage

_Entry = TypeVar("_Entry")

INLINE_READ_LIMIT = 64 * 1024
"""Bytes read on the event loop itself when the page cache has them: measured, that takes 3 µs for
4 KiB, a hop to a thread 40 µs. Larger files, and those the disk must fetch first, take the hop."""

_MISSING = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENXIO,
    errno.ENAMETOOLONG,
    errno.EINVAL,
    errno.EILSEQ,
}
_RWF_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class DiskReader:
    """Reads files below one root. Names given are checked ones, relative to the root.

    Every method raises `StorageUnavailableError` when the root is gone or the disk fails.
    """

    def __init__(self, root: Path, folders: Folders) -> None:
        self._root = root
        self._folders = folders

    def find(self, name: str) -> os.stat_result | None:
        """Return the status of a regular file, None when there is none."""
        try:
            if self._folders.is_real(name.rpartition("/")[0]):
                status = os.lstat(f"{self._root}/{name}")
                if stat.S_ISREG(status.st_mode):
                    return status
        except OSError as error:
            self._check_missing(error, name)
        else:
            self._check_root(name)
        return None

    def read(self, name: str, *, may_wait: bool) -> bytes | None:
        """Return a file's bytes; None when that might take long and `may_wait` is not given.

        Raises `ObjectNotFoundError`.
        """
        try:
            if self._folders.is_real(name.rpartition("/")[0]):
                return _read(f"{self._root}/{name}", may_wait=may_wait)
        except OSError as error:
            self._check_missing(error, name)
            raise ObjectNotFoundError(name) from error
        self._check_root(name)
        raise ObjectNotFoundError(name)

    def read_some(self, names: Sequence[str]) -> dict[str, bytes]:
        """Return the bytes of those files that can be read without waiting; for any that is left out,
        `read` tells why. Much cheaper than that for many files of one folder."""
        found: dict[str, bytes] = {}
        folders: dict[str, list[str]] = {}
        for name in names:
            folders.setdefault(name.rpartition("/")[0], []).append(name)
        for folder, inside in folders.items():
            with suppress(OSError):
                if self._folders.is_real(folder):
                    _read_folder(f"{self._root}/{folder}", len(folder) + 1, inside, found)
        return found

    def read_each(self, names: Sequence[str]) -> list[bytes | StorageError]:
        """Return the bytes of some files, or why a file cannot be read; may wait for the disk."""
        found: list[bytes | StorageError] = []
        for name in names:
            try:
                found.append(self.read(name, may_wait=True) or b"")
            except StorageError as error:
                found.append(error)
        return found

    def walk(
        self, folder: str, *, records: bool, ordered: bool = True
    ) -> Iterator[ObjectInfo | None]:
        """Yield what lies below a folder ('' is the root); see `listing.walk`."""
        return self._checked(
            folder, walk(str(self._root), folder, records=records, ordered=ordered)
        )

    def walk_records(self, folder: str, *, alone: bool) -> Iterator[RecordInfo | None]:
        """Yield the keys that have a record below a folder; see `record_listing.walk_records`."""
        return self._checked(folder, walk_records(str(self._root), folder, alone=alone))

    def page(self, folder: str, *, after: str, limit: int) -> Iterator[ObjectInfo | None]:
        """Yield the first objects below a folder behind a key; see `key_page.first_keys`."""
        start = f"{folder}/" if folder else ""
        return self._checked(folder, first_keys(str(self._root), start, after, limit))

    def level(self, folder: str, *, after: str, limit: int) -> Iterator[ObjectInfo | str | None]:
        """Yield what lies right in a folder; see `key_page.first_names`."""
        start = f"{folder}/" if folder else ""
        return self._checked(folder, first_names(str(self._root), start, after, limit))

    def measure(self, folder: str) -> Iterator[StorageUsage | None]:
        """Yield how much lies below a folder; see `usage_walk.measure`."""
        return self._checked(folder, measure(str(self._root), folder))

    def _checked(self, folder: str, entries: Iterator[_Entry | None]) -> Iterator[_Entry | None]:
        try:
            if self._folders.is_real(folder):
                yield from entries
        except OSError as error:
            # Whatever it was, a listing that is cut short must not pass for a whole one.
            raise storage_error(error, self._root, folder) from error
        self._check_root(folder)

    def _check_missing(self, error: OSError, name: str) -> None:
        """Return when an error means no more than that this one object is not there."""
        if error.errno not in _MISSING or not is_reachable(self._root):
            raise storage_error(error, self._root, name) from error

    def _check_root(self, name: str) -> None:
        if not is_reachable(self._root):
            raise storage_error(FileNotFoundError(), self._root, name)


def _read_folder(path: str, skip: int, names: Sequence[str], found: dict[str, bytes]) -> None:
    """Read files of one folder, whose names begin after `skip` signs, where that needs no waiting."""
    buffer = bytearray(INLINE_READ_LIMIT + 1)
    view = memoryview(buffer)
    folder = os.open(path or "/", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_DIRECTORY)
    try:
        for name in names:
            try:
                descriptor = os.open(name[skip:], _OPEN_FLAGS, dir_fd=folder)
                try:
                    taken = os.preadv(descriptor, [buffer], 0, _RWF_NOWAIT or 0)
                finally:
                    os.close(descriptor)
            except OSError:
                continue
            if taken <= INLINE_READ_LIMIT:
                found[name] = bytes(view[:taken])
    finally:
        os.close(folder)


def _read(path: str, *, may_wait: bool) -> bytes | None:
    descriptor = os.open(path, _OPEN_FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", path)
        if not may_wait:
            return _read_at_once(descriptor, status.st_size)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)


def _read_at_once(descriptor: int, size: int) -> bytes | None:
    """Return the bytes of a small file, unless the system says that it would have to wait for them."""
    if size > INLINE_READ_LIMIT:
        return None
    if _RWF_NOWAIT is not None:
        buffer = bytearray(size)
        try:
            taken = os.preadv(descriptor, [buffer], 0, _RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
        else:
            return bytes(buffer) if taken == size else None
    # The file system cannot tell (tmpfs, say, which never waits): small enough to chance it.
    return os.read(descriptor, size)
