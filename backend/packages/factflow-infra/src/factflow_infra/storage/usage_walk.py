"""Counting what lies below a folder of a filesystem store, and what it takes of the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from factflow_infra.storage.layout import RECORD_SUFFIX, is_listable
from factflow_protocols.storage import StorageUsage

FILES_AT_ONCE = 100
"""Files looked at without a pause."""
TOLD_EVERY = 20
"""Pauses between sums that are told."""
BLOCK_BYTES = 512
"""What `st_blocks` counts in, whatever the file system's own blocks are."""


def measure(root: str, folder: str) -> Iterator[StorageUsage | None]:
    """Yield growing sums, with None between them for others to run, the whole at last.

    `folder` is '' or a folder's key. Symbolic links and unfinished files are not counted.
    """
    objects = records = size = blocks = seen = 0
    open_folders = [f"{root}/{folder}"]
    while open_folders:
        path = open_folders.pop()
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(path) as entries,
        ):
            for entry in entries:
                if not is_listable(entry.name) or entry.is_symlink():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    open_folders.append(entry.path)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    size += status.st_size
                    blocks += status.st_blocks
                if entry.name.endswith(RECORD_SUFFIX):
                    records += 1
                else:
                    objects += 1
                seen += 1
                if seen % (FILES_AT_ONCE * TOLD_EVERY) == 0:
                    yield StorageUsage(objects, records, size, blocks * BLOCK_BYTES)
                elif seen % FILES_AT_ONCE == 0:
                    yield None
    yield StorageUsage(objects, records, size, blocks * BLOCK_BYTES)
