"""Walking a filesystem store in the order of its keys, one folder at a time."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from factflow_infra.storage.empty_record import is_empty
from factflow_infra.storage.layout import RECORD_SUFFIX, is_listable
from factflow_protocols.storage import ObjectInfo


def walk(root: str, prefix: str, *, records: bool) -> Iterator[ObjectInfo]:
    """Yield the objects (or with `records` the keys that have a record) below a folder.

    `prefix` is '' or a folder's key. The order is that of the whole keys by code point, which is also
    that of their UTF-8 bytes: a folder sorts as its name with a slash. Memory holds the names of the
    folders on the current path, no more. What vanishes meanwhile is left out, and so are symbolic links
    and empty records.
    """
    start = f"{prefix}/" if prefix else ""
    open_folders = [(start, _names(f"{root}/{start}", records=records))]
    suffix = RECORD_SUFFIX if records else ""
    while open_folders:
        folder, names = open_folders[-1]
        if not names:
            open_folders.pop()
            continue
        name = names.pop()
        key = folder + name
        if name.endswith("/"):
            open_folders.append((key, _names(f"{root}/{key}", records=records)))
            continue
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(f"{root}/{key}{suffix}")
            if stat.S_ISREG(status.st_mode) and not (records and is_empty(status)):
                yield ObjectInfo(key, status.st_size, status.st_mtime)


def _names(path: str, *, records: bool) -> list[str]:
    """Return what a folder holds, last first; folders end with a slash, records lost their suffix."""
    names: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name
                is_record = name.endswith(RECORD_SUFFIX)
                if not is_listable(name):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if not is_record:
                        names.append(name + "/")
                elif is_record == records:
                    names.append(name.removesuffix(RECORD_SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        return []
    names.sort(reverse=True)
    return names
