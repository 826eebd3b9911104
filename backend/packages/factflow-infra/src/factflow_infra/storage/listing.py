"""Walking a filesystem store in the order of its keys, one folder at a time."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from factflow_infra.storage.empty_record import is_empty
from factflow_infra.storage.layout import RECORD_SUFFIX, is_listable
from factflow_protocols.storage import ObjectInfo

NAMES_HELD = 50_000
"""Names of one folder that are put in order at a time. A larger folder is read again for the next ones:
measured, a pass over a million entries takes a second, and their names would take 100 MB."""


def walk(root: str, prefix: str, *, records: bool, held: int = NAMES_HELD) -> Iterator[ObjectInfo]:
    """Yield the objects (or with `records` the keys that have a record) below a folder.

    `prefix` is '' or a folder's key. The order is that of the whole keys by code point, which is also
    that of their UTF-8 bytes: a folder sorts as its name with a slash. Memory holds at most twice `held`
    names of each folder on the current path. What vanishes meanwhile is left out, as are symbolic links
    and empty records.
    """
    start = f"{prefix}/" if prefix else ""
    open_folders = [(start, _names(f"{root}/{start}", records=records, held=held))]
    suffix = RECORD_SUFFIX if records else ""
    while open_folders:
        folder, names = open_folders[-1]
        name = next(names, None)
        if name is None:
            open_folders.pop()
            continue
        key = folder + name
        if name.endswith("/"):
            open_folders.append((key, _names(f"{root}/{key}", records=records, held=held)))
            continue
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.lstat(f"{root}/{key}{suffix}")
            if stat.S_ISREG(status.st_mode) and not (records and is_empty(status)):
                yield ObjectInfo(key, status.st_size, status.st_mtime)


def _names(path: str, *, records: bool, held: int) -> Iterator[str]:
    """Yield what a folder holds, in order; folders end with a slash, records lost their suffix."""
    last, complete = "", False
    while not complete:
        names, complete = _first_names(path, after=last, records=records, held=held)
        if names:
            last = names[0]
        while names:
            yield names.pop()


def _first_names(path: str, *, after: str, records: bool, held: int) -> tuple[list[str], bool]:
    """Return the first names behind `after`, last first, and whether these were all."""
    names: list[str] = []
    bound: str | None = None
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                name = _listed_name(entry, records=records)
                if name is None or name <= after or (bound is not None and name >= bound):
                    continue
                names.append(name)
                if len(names) == 2 * held:
                    names.sort()
                    bound = names[held]
                    del names[held:]
    except (FileNotFoundError, NotADirectoryError):
        return [], True
    names.sort(reverse=True)
    return names, bound is None


def _listed_name(entry: os.DirEntry[str], *, records: bool) -> str | None:
    name = entry.name
    is_record = name.endswith(RECORD_SUFFIX)
    if entry.is_dir(follow_symlinks=False):
        return f"{name}/" if not is_record and is_listable(name) else None
    if is_record is not records or not is_listable(name):
        return None
    return name.removesuffix(RECORD_SUFFIX)
