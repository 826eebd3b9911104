"""Removing all that lies below a folder of a filesystem store, some files at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from factflow_foundation.keys import tells_announced
from factflow_infra.storage.folders import Folders
from factflow_infra.storage.layout import RECORD_SUFFIX

STEP_FILES = 200
"""Files removed in one step, between which others get their turn."""


def remove_in_steps(
    root: str, prefix: str, folders: Folders, *, artefacts_only: bool = False
) -> Iterator[int]:
    """Remove the objects and records below a folder ('' is the root), the records first; with
    `artefacts_only` only objects, and none that tells what was announced. Yield how many went.

    Begun anew after an end on the way, it removes what was left. Symbolic links stay, and so do the
    folders that hold them. Raises OSError.
    """
    if not folders.is_real(prefix):
        return
    removed = 0
    for records in (False,) if artefacts_only else (True, False):
        for folder, entries in _walk(root, prefix):
            for name in entries:
                if name.endswith(RECORD_SUFFIX) is not records:
                    continue
                if artefacts_only and tells_announced(name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{root}/{folder}{name}")  # noqa: PTH108 - strings throughout
                removed += 1
                if removed == STEP_FILES:
                    yield removed
                    removed = 0
            if not records:
                folders.remove_empty(folder.rstrip("/"))
    if removed:
        yield removed


def _walk(root: str, prefix: str) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield each folder, its key ending with a slash, with the files in it; those below it come first."""
    folder = f"{prefix}/" if prefix else ""
    for name in [name for name, is_folder in _entries(f"{root}/{folder}") if is_folder]:
        yield from _walk(root, folder + name)
    yield folder, (name for name, is_folder in _entries(f"{root}/{folder}") if not is_folder)


def _entries(path: str) -> Iterator[tuple[str, bool]]:
    """Yield the names in a folder and whether they are folders; links are neither."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(path) as entries:
        for entry in entries:
            if not entry.is_symlink():
                yield entry.name, entry.is_dir(follow_symlinks=False)
