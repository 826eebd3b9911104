"""Walking the objects of a filesystem store, one folder at a time.

Iterators here yield None between their items: a moment for whoever pulls them to let others run.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from factflow_infra.storage.empty_record import is_empty
from factflow_infra.storage.folder_names import NAMES_HELD, in_order
from factflow_infra.storage.layout import RECORD_SUFFIX, is_listable
from factflow_protocols.storage import ObjectInfo

NAMES_AT_ONCE = 200
"""Names looked at without a pause, where the folder's own order will do."""


def walk(
    root: str, prefix: str, *, records: bool, ordered: bool = True, held: int = NAMES_HELD
) -> Iterator[ObjectInfo | None]:
    """Yield the objects (or with `records` the keys that have a record) below a folder.

    `prefix` is '' or a folder's key. The order is that of the whole keys by code point, which is also
    that of their UTF-8 bytes: a folder sorts as its name with a slash. Without `ordered` it is any, and
    the first come at once. Memory holds some `held` names of each folder on the current path. What
    vanishes meanwhile is left out, as are symbolic links and empty records.
    """
    suffix = RECORD_SUFFIX if records else ""

    def names_in(folder: str) -> Iterator[str | None]:
        if ordered:
            return in_order(f"{root}/{folder}", named, held=held)
        return _as_they_come(f"{root}/{folder}", records=records)

    def named(entry: os.DirEntry[str]) -> str | None:
        return _listed_name(entry, records=records)

    start = f"{prefix}/" if prefix else ""
    open_folders = [(start, names_in(start))]
    while open_folders:
        folder, names = open_folders[-1]
        name = next(names, "")
        if name == "":
            open_folders.pop()
        elif name is None:
            yield None
        elif name.endswith("/"):
            open_folders.append((folder + name, names_in(folder + name)))
        else:
            info = _info(root, folder + name, suffix)
            if info is not None:
                yield info


def _info(root: str, key: str, suffix: str) -> ObjectInfo | None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        status = os.lstat(f"{root}/{key}{suffix}")
        if stat.S_ISREG(status.st_mode) and not (suffix and is_empty(status)):
            return ObjectInfo(key, status.st_size, status.st_mtime)
    return None


def _as_they_come(path: str, *, records: bool) -> Iterator[str | None]:
    """Yield what a folder holds; folders end with a slash, records lost their suffix."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        for number, entry in enumerate(entries, start=1):
            name = _listed_name(entry, records=records)
            if name is not None:
                yield name
            if number % NAMES_AT_ONCE == 0:
                yield None


def _listed_name(entry: os.DirEntry[str], *, records: bool) -> str | None:
    name = entry.name
    is_record = name.endswith(RECORD_SUFFIX)
    if entry.is_dir(follow_symlinks=False):
        return f"{name}/" if not is_record and is_listable(name) else None
    if is_record is not records or not is_listable(name):
        return None
    return name.removesuffix(RECORD_SUFFIX)
