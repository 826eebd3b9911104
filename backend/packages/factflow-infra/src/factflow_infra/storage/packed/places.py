"""Which pack holds what, below the root of a packed store.

    <root>/.factflow-packed            says that this is one
    <root>/factflow.lock               held by the one who has it open
    <root>/executions/<id>.pack        all keys below executions/<id>/
    <root>/other.pack                  all other keys
    <pack>-wal, <pack>-shm             what SQLite keeps beside an open file

A pack that is to go is first renamed to `<id>.pack-deleted`: from then on nobody finds it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from factflow_foundation import keys

SUFFIX = ".pack"
DELETED_SUFFIX = ".pack-deleted"
BESIDE = ("-wal", "-shm")

_BELOW = f"{keys.ROOT}/"


class Pack(NamedTuple):
    """A pack: its file's name below the root, and what all its keys begin with ('' for other keys)."""

    file: str
    prefix: str


OTHER = Pack(f"other{SUFFIX}", "")


def pack_of(key: str) -> Pack:
    """Return the pack that holds a key or, for a prefix within an execution, all that lies below it."""
    if key.startswith(_BELOW):
        execution, slash, rest = key[len(_BELOW) :].partition("/")
        if slash and rest:
            return _pack_of_execution(execution)
    return OTHER


def packs_below(root: Path, prefix: str) -> Iterator[Pack]:
    """Yield the packs of executions that may hold keys below a prefix without a last slash ('' is all),
    in the order of their keys, whether or not the only one that can is there.

    Raises OSError.
    """
    if prefix.startswith(_BELOW):
        yield _pack_of_execution(prefix.split("/")[1])
    elif prefix in {"", keys.ROOT}:
        with contextlib.suppress(FileNotFoundError), os.scandir(root / keys.ROOT) as entries:
            names = [
                entry.name.removesuffix(SUFFIX) + "/"
                for entry in entries
                if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False)
            ]
            for name in sorted(names):
                yield _pack_of_execution(name[:-1])


def holds_other_keys(prefix: str) -> bool:
    """Tell whether keys below a prefix may lie in the pack of other keys."""
    return not prefix.startswith(_BELOW)


def _pack_of_execution(execution: str) -> Pack:
    return Pack(f"{_BELOW}{execution}{SUFFIX}", f"{_BELOW}{execution}/")
