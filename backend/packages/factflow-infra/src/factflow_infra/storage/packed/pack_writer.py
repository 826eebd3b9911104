"""The writing half of a packed store: requests in, packs out, in plain blocking calls.

It may run in a thread or in a process of its own. Nothing here knows of the event loop.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from factflow_foundation.crash_points import reach
from factflow_infra.storage.disk_errors import is_reachable, storage_error
from factflow_infra.storage.folders import sync_folder
from factflow_infra.storage.layout import TEMP_PREFIX
from factflow_infra.storage.packed.pack_copy import PackCopy, holds_artefacts
from factflow_infra.storage.packed.pack_file import Change, PackFile
from factflow_infra.storage.packed.pack_schema import make, pack_error
from factflow_infra.storage.packed.places import (
    BESIDE,
    DELETED_SUFFIX,
    OTHER,
    SUFFIX,
    Pack,
    holds_other_keys,
    pack_of,
    packs_below,
)
from factflow_infra.storage.requests import DeletePrefixRequest, StoreRequest, WriteRequest
from factflow_protocols.errors import StorageError, StorageUnavailableError

PACKS_OPEN = 16
"""Packs that are kept open for writing; beyond, the one that was written longest ago is closed."""

Answers = dict[int, "str | None | Exception"]


class PackWriter:
    """Carries out requests below one root: what comes together for a pack is one transaction."""

    def __init__(self, root: Path, *, durable: bool, packs_open: int = PACKS_OPEN) -> None:
        self._root = root
        self._durable = durable
        self._packs_open = packs_open
        self._open: OrderedDict[Pack, PackFile] = OrderedDict()
        self._swept = False
        self._copies: dict[Pack, PackCopy] = {}

    def perform_all(self, requests: Sequence[StoreRequest]) -> list[str | None | Exception]:
        """Do what the requests ask; return each one's answer or its error, which is a `StorageError`.

        The order is kept for each key. What was answered is stored.
        """
        answers: Answers = {}
        waiting: dict[Pack, list[tuple[int, Change]]] = {}
        for number, request in enumerate(requests):
            if isinstance(request, DeletePrefixRequest):
                self._commit(waiting, answers)
                answers[number] = self._delete_some(request)
            else:
                waiting.setdefault(pack_of(request.key), []).append((number, request))
        self._commit(waiting, answers)
        return [answers[number] for number in range(len(requests))]

    def close(self) -> None:
        """Let go of all packs, with everything in them."""
        for copy in self._copies.values():
            copy.close()
        self._copies.clear()
        while self._open:
            self._close(next(iter(self._open)))

    def _commit(self, waiting: dict[Pack, list[tuple[int, Change]]], answers: Answers) -> None:
        for pack, numbered in waiting.items():
            outcomes = self._commit_to(pack, [change for _, change in numbered])
            for (number, _), outcome in zip(numbered, outcomes, strict=True):
                answers[number] = outcome
        waiting.clear()

    def _commit_to(self, pack: Pack, changes: list[Change]) -> list[str | None | Exception]:
        try:
            file = self._file(pack, make_it=any(isinstance(c, WriteRequest) for c in changes))
            return [None] * len(changes) if file is None else file.commit(changes)
        except (sqlite3.Error, OSError, StorageError) as error:
            self._close(pack)
            if len(changes) > 1 and isinstance(error, sqlite3.DataError):
                return [answer for change in changes for answer in self._commit_to(pack, [change])]
            return [self._told(pack, changes[0].key, error)] * len(changes)

    def _delete_some(self, request: DeletePrefixRequest) -> str | None | Exception:
        """Delete a pack that lies below the prefix, or some of what it holds below it."""
        pack, prefix = OTHER, request.prefix
        try:
            if not is_reachable(self._root):
                raise FileNotFoundError(self._root)
            for pack in packs_below(self._root, prefix):
                removed = self._delete_from(pack, request)
                if removed is not None:
                    return removed
            pack = OTHER
            if holds_other_keys(prefix):
                return self._delete_from(OTHER, request)
        except (sqlite3.Error, OSError, StorageError) as error:
            self._close(pack)
            return self._told(pack, prefix, error)
        return None

    def _delete_from(self, pack: Pack, request: DeletePrefixRequest) -> str | None:
        """Do a step in one pack; return how many entries went, None when nothing is left to do in it."""
        if not (self._root / pack.file).exists():
            return None
        reach("storage.delete.before")
        removed: int | None = None
        if request.artefacts_only:
            removed = self._copy_some(pack, request.prefix)
        elif request.prefix.startswith(pack.prefix):
            file = self._file(pack, make_it=False)
            removed = (file.delete_some(request.prefix) if file is not None else 0) or None
        else:
            self._drop(pack)
            removed = 0
        reach("storage.delete.after")
        return None if removed is None else str(removed)

    def _copy_some(self, pack: Pack, prefix: str) -> int | None:
        """Do a step of putting what stays of a pack into a new one, which then takes its place."""
        path = f"{self._root}/{pack.file}"
        copy = self._copies.pop(pack, None)
        if copy is None:
            self._sweep()
            self._close(pack)
            if not holds_artefacts(path, pack, prefix):
                return None
            copy = PackCopy(path, pack, prefix, durable=self._durable)
        try:
            removed = copy.step()
        except BaseException:
            copy.close()
            raise
        if copy.complete:
            copy.close()
            copy.take_place()
        else:
            self._copies[pack] = copy
        return removed

    def _drop(self, pack: Pack) -> None:
        """Remove a pack. Whoever reads it goes on reading until he lets go of it."""
        path = f"{self._root}/{pack.file}"
        doomed = path.removesuffix(SUFFIX) + DELETED_SUFFIX
        os.rename(path, doomed)  # noqa: PTH104 - from here on it is gone, whatever happens
        self._close(pack)
        self._remove_beside(path)
        os.unlink(doomed)  # noqa: PTH108 - strings in this module
        if self._durable:
            sync_folder(path.rpartition("/")[0])

    def _file(self, pack: Pack, *, make_it: bool) -> PackFile | None:
        """Return a pack, ready to be written; None when there is none and it is not to be made."""
        self._sweep()
        file = self._open.get(pack)
        if file is not None and file.is_in_place():
            self._open.move_to_end(pack)
            return file
        self._close(pack)
        path = f"{self._root}/{pack.file}"
        if not os.path.lexists(path):
            if not is_reachable(self._root):
                raise FileNotFoundError(path)
            if not make_it:
                return None
            self._make(path)
        while len(self._open) >= self._packs_open:
            self._close(next(iter(self._open)))
        file = PackFile(path, pack, durable=self._durable)
        self._open[pack] = file
        return file

    def _make(self, path: str) -> None:
        folder = path.rpartition("/")[0]
        with contextlib.suppress(FileExistsError):
            os.mkdir(folder)  # noqa: PTH102 - strings in this module
        # What a deleted pack of this name left is not for the new one: SQLite would read it.
        self._remove_beside(path)
        make(path, durable=self._durable)
        if self._durable:
            sync_folder(folder)
            sync_folder(str(self._root))

    @staticmethod
    def _remove_beside(path: str) -> None:
        for suffix in BESIDE:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path + suffix)  # noqa: PTH108 - strings in this module

    def _close(self, pack: Pack) -> None:
        file = self._open.pop(pack, None)
        if file is not None:
            # What is committed is in the log beside the pack, if it cannot go into it now.
            with contextlib.suppress(sqlite3.Error, OSError):
                file.close()

    def _sweep(self) -> None:
        """Once, remove what a predecessor was making or removing when it died."""
        if self._swept:
            return
        self._swept = True
        for folder in (self._root, self._root / "executions"):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    if entry.name.endswith(DELETED_SUFFIX) or entry.name.startswith(TEMP_PREFIX):
                        os.unlink(entry.path)  # noqa: PTH108 - strings in this module

    def _told(self, pack: Pack, key: str, error: Exception) -> StorageError:
        if isinstance(error, StorageError):
            return error
        if isinstance(error, OSError):
            return storage_error(error, self._root, key)
        if not is_reachable(self._root):
            return storage_error(FileNotFoundError(), self._root, key)
        if isinstance(error, sqlite3.DataError):
            return StorageError(f"the pack cannot hold {key!r}: {error}")
        if isinstance(error, sqlite3.Error):
            return pack_error(f"{self._root}/{pack.file}", error)
        return StorageUnavailableError(
            f"the packed storage {self._root} does not answer: {error!r}"
        )
