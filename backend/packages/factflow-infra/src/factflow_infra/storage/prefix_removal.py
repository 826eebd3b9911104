"""Removing all that lies below a folder of a filesystem store, some files at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from factflow_infra.storage.folders import Folders
from factflow_infra.storage.layout import RECORD_SUFFIX

STEP_FILES = 200
"""Files removed in one step, between which others get their turn."""


def remove_in_steps(root: str, prefix: str, folders: Folders) -> Iterator[None]:
    """Remove the objects and records below a folder ('' is the root), the records first.

    Begun anew after an end on the way, it removes what was left. Symbolic links stay, and so do the
    folders that hold them. Raises OSError.
    """
    if not folders.is_real(prefix):
        return
    for records in (True, False):
        removed = 0
        for folder, entries in _walk(root, prefix):
            for name in entries:
                if name.endswith(RECORD_SUFFIX) is not records:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{root}/{folder}{name}")  # noqa: PTH108 - strings throughout
                removed += 1
                if removed % STEP_FILES == 0:
                    yield
            if not records:
                folders.remove_empty(folder.rstrip("/"))


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
