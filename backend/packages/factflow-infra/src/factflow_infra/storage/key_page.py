"""A page of a filesystem store: the first keys behind another one, without putting all others in order.

Each folder on the way is looked through once, and only the smallest names are kept: measured, a look at a
million names takes some half a second. Iterators here yield None between their items: a moment for others.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Generator, Iterator

from factflow_infra.storage.layout import RECORD_SUFFIX, is_listable
from factflow_protocols.storage import ObjectInfo

NAMES_AT_ONCE = 500
"""Names looked at without a pause."""


def first_keys(root: str, folder: str, after: str, limit: int) -> Iterator[ObjectInfo | None]:
    """Yield the first `limit` objects below a folder whose key is greater than `after`, in order.

    `folder` is '' or ends with a slash. What vanishes meanwhile, and symbolic links, are left out.
    """
    left = limit
    start, inclusive = _start_within(folder, after)
    while start is not None and left > 0:
        names = yield from _smallest(f"{root}/{folder}", start, left, inclusive=inclusive)
        for name in names:
            if name.endswith("/"):
                found = first_keys(root, folder + name, after, left)
            else:
                found = iter([_info(root, folder + name)])
            for item in found:
                if item is not None:
                    left -= 1
                yield item
            if left == 0:
                return
        # The names asked for may have been folders with nothing in them.
        start, inclusive = (names[-1], False) if len(names) == limit else (None, False)
        limit = left


def first_names(
    root: str, folder: str, after: str, limit: int
) -> Iterator[ObjectInfo | str | None]:
    """Yield the first `limit` objects and folders right in a folder, whose key is greater than `after`."""
    start = after.removeprefix(folder) if after.startswith(folder) else ""
    names = yield from _smallest(f"{root}/{folder}", start, limit, inclusive=False)
    for name in names:
        yield folder + name if name.endswith("/") else _info(root, folder + name)


def _start_within(folder: str, after: str) -> tuple[str | None, bool]:
    """Return the name in a folder that a page begins behind, or with; None when all names lie before."""
    if after.startswith(folder):
        name, slash, _ = after.removeprefix(folder).partition("/")
        return name + slash, bool(slash)
    return ("", False) if after < folder else (None, False)


def _smallest(
    path: str, after: str, limit: int, *, inclusive: bool
) -> Generator[None, None, list[str]]:
    """Return the first names behind `after` (or from it on) in order, folders with a slash at their end."""
    held: list[str] = []
    bound = "\U0010ffff"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        while some := list(itertools.islice(entries, NAMES_AT_ONCE)):
            for entry in some:
                name = entry.name
                if name < bound and not name.endswith(RECORD_SUFFIX) and is_listable(name):
                    if entry.is_dir(follow_symlinks=False):
                        name += "/"
                    if name > after or (inclusive and name == after):
                        held.append(name)
            if len(held) >= 2 * limit:
                held.sort()
                del held[limit:]
                bound = held[-1]
            yield None
    held.sort()
    return held[:limit]


def _info(root: str, key: str) -> ObjectInfo | None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        status = os.lstat(f"{root}/{key}")
        if stat.S_ISREG(status.st_mode):
            return ObjectInfo(key, status.st_size, status.st_mtime)
    return None
