"""Walking the records of a filesystem store, each with the names of the objects beside it, by the names in
its folders alone.

Iterators here yield None between their items: a moment for whoever pulls them to let others run.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from contextlib import suppress

from factflow_infra.storage.folder_names import NAMES_HELD, in_order
from factflow_infra.storage.layout import RECORD_SUFFIX, is_listable, record_key
from factflow_protocols.storage import RecordInfo

_PAUSE = 500
"""Names looked at without a pause."""
_HELD_WITHOUT_ORDER = 6
"""How many times `held` names of one folder are held where they need not be put in order."""


def walk_records(
    root: str, prefix: str, *, alone: bool, held: int = NAMES_HELD
) -> Iterator[RecordInfo | None]:
    """Yield the keys that have a record below a folder, in their order; with `alone` those without an object.

    `prefix` is '' or a folder's key. No file is asked for its size, so an empty record is listed too.
    Memory holds some `held` names of each folder on the current path.
    """
    start = f"{prefix}/" if prefix else ""
    open_folders = [_folder(root, start, alone=alone, held=held)]
    while open_folders:
        item = next(open_folders[-1], "")
        if item == "":
            open_folders.pop()
        elif isinstance(item, str):
            open_folders.append(_folder(root, item, alone=alone, held=held))
        else:
            yield item


def _folder(root: str, folder: str, *, alone: bool, held: int) -> Iterator[RecordInfo | str | None]:
    """Yield a folder's records and, as keys that end with a slash, the folders in it."""
    if alone:
        found = yield from _alone(f"{root}/{folder}", _HELD_WITHOUT_ORDER * held)
        if found is not None:
            for found_name in found:
                key = folder + found_name
                yield key if key.endswith("/") else RecordInfo(key, ())
            return
    key, has_record = "", False
    objects: list[str] = []
    for name in in_order(f"{root}/{folder}", _by_record, held=held):
        if name is None:
            yield None
            continue
        stem, _, rest = name.partition("\0")
        if stem != key:
            if has_record and not (alone and objects):
                yield RecordInfo(folder + key, tuple(objects))
            key, objects, has_record = stem, [], False
        if rest == RECORD_SUFFIX:
            has_record = True
        elif stem.endswith("/"):
            yield folder + stem
        else:
            objects.append(folder + stem + rest)
    if has_record and not (alone and objects):
        yield RecordInfo(folder + key, tuple(objects))


def _by_record(entry: os.DirEntry[str]) -> str | None:
    """Return an entry's name so that what shares a record lies together, in the order of records."""
    name = entry.name
    if entry.is_file(follow_symlinks=False):
        stem = _stem(name)
        return f"{stem}\0{name[len(stem) :]}" if is_listable(name) else None
    return f"{name}/\0" if _is_folder(entry) else None


def _alone(path: str, held: int) -> Generator[None, None, list[str] | None]:
    """Return what `_folder` does of a folder with up to `held` names, None for a larger one. To tell that
    no object lies beside a record needs no order: this takes half the time."""
    records: set[str] = set()
    stems: set[str] = set()
    folders: list[str] = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        for number, entry in enumerate(entries, start=1):
            name = entry.name
            if not entry.is_file(follow_symlinks=False):
                if _is_folder(entry):
                    folders.append(f"{name}/")
            elif not name.endswith(RECORD_SUFFIX):
                stems.add(_stem(name))
            elif is_listable(name):
                records.add(_stem(name))
            if number % _PAUSE == 0:
                if number > held:
                    return None
                yield None
    return sorted([*(records - stems), *folders])


def _stem(name: str) -> str:
    """Return the part of a file's name that is its record's, as `record_key` does."""
    if name.endswith(RECORD_SUFFIX):
        return name.removesuffix(RECORD_SUFFIX)
    if "~" in name or name[0] == ".":
        return record_key(name)
    return name.partition(".")[0]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    usual = is_listable(name) and not name.endswith(RECORD_SUFFIX)
    return usual and entry.is_dir(follow_symlinks=False)
