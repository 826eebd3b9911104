"""The writing half of a filesystem store: requests in, files out, in plain blocking calls.

It may run in a thread or in a process of its own. Nothing here knows of the event loop.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from factflow_foundation.crash_points import reach
from factflow_infra.storage.disk_errors import is_reachable, storage_error
from factflow_infra.storage.empty_record import remove_if_empty
from factflow_infra.storage.folders import Folders, sync_folder
from factflow_infra.storage.layout import RECORD_SUFFIX, numbered_name, record_key
from factflow_infra.storage.prefix_removal import remove_in_steps
from factflow_infra.storage.requests import (
    DeletePrefixRequest,
    DeleteRequest,
    StoreRequest,
    WriteRequest,
    with_output_key,
)
from factflow_infra.storage.staged_file import StagedFile
from factflow_protocols.errors import ObjectExistsError

_RACES = 3
"""How often a write starts again when another process removes its folder meanwhile."""


class DiskWriter:
    """Carries out requests below one root, one at a time. Keys in requests are checked ones."""

    def __init__(
        self, root: Path, folders: Folders, staging: type[StagedFile], *, durable: bool
    ) -> None:
        self._root = root
        self._folders = folders
        self._staging = staging
        self._durable = durable
        self._removals: dict[DeletePrefixRequest, Iterator[int]] = {}

    def perform_all(self, requests: Sequence[StoreRequest]) -> list[str | None | Exception]:
        """Do what the requests ask, one after the other; return each one's answer or its error."""
        answers: list[str | None | Exception] = []
        for request in requests:
            try:
                answers.append(self.perform(request))
            except Exception as error:  # noqa: BLE001 - carried to the caller, who raises it
                answers.append(error)
        return answers

    def perform(self, request: StoreRequest) -> str | None:
        """Do what a request asks and return the written object's name, if any.

        Raises `ObjectExistsError`, `KeyRefusedError` and `StorageUnavailableError` as the protocol
        says; then nothing of this request is left, unless the machine went down on the way.
        """
        if isinstance(request, DeletePrefixRequest):
            return self._remove_some(request)
        try:
            if isinstance(request, DeleteRequest):
                self._delete(request.key)
                return None
            return self._write_again_after_races(request)
        except OSError as error:
            if is_reachable(self._root):
                self._folders.remove_empty(request.key.rpartition("/")[0])  # those just made for it
            raise storage_error(error, self._root, request.key) from error

    def _write_again_after_races(self, request: WriteRequest) -> str | None:
        folder = request.key.rpartition("/")[0]
        for races_left in reversed(range(_RACES)):
            try:
                self._folders.make(folder)
                return self._write(request, self._path(folder))
            except FileNotFoundError:
                self._folders.forget(folder)
                if not races_left:
                    raise
        raise AssertionError("unreachable")

    def _write(self, request: WriteRequest, folder: str) -> str | None:
        if request.record is None:
            return self._write_object(request, folder)
        record_path = self._path(record_key(request.key) + RECORD_SUFFIX)
        if os.path.lexists(record_path) and not remove_if_empty(record_path):
            raise ObjectExistsError(request.key)
        name = None if request.data is None else self._write_object(request, folder)
        try:
            self._link_record(request, name, folder, record_path)
        except (OSError, ObjectExistsError):
            # No record will ever name it: the winner's does not, and a retry writes afresh.
            if name is not None:
                self._unlink(self._path(name))
            raise
        # From here on readers may have acted on the record, so trouble leaves it standing.
        self._sync(folder)
        reach("storage.record.after")
        return name

    def _write_object(self, request: WriteRequest, folder: str) -> str:
        """Put the data under the first free name; without a record to tell, only the plain one."""
        numbers = itertools.count(1) if request.record is not None else range(1, 2)
        staged = self._staging(folder, request.data or b"", durable=self._durable)
        with contextlib.closing(staged):
            for number in numbers:
                name = numbered_name(request.key, number, request.extension)
                path = self._path(name)
                reach("storage.artefact.before")
                try:
                    staged.link(path)
                except FileExistsError:
                    continue
                try:
                    self._sync(folder)
                except OSError:
                    self._unlink(path)
                    raise
                reach("storage.artefact.after")
                return name
        name = request.key + request.extension
        if Path(self._path(name)).is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        raise ObjectExistsError(name)

    def _link_record(self, request: WriteRequest, name: str | None, folder: str, path: str) -> None:
        record = request.record or b"{}"
        if name is not None and name != request.key + request.extension:
            record = with_output_key(record, name)
        with contextlib.closing(self._staging(folder, record, durable=self._durable)) as staged:
            reach("storage.record.before")
            try:
                staged.link(path)
            except FileExistsError:
                raise ObjectExistsError(request.key) from None

    def _delete(self, key: str) -> None:
        """Remove the record first: an object without a record is litter, the reverse a loss."""
        folder = key.rpartition("/")[0]
        if not is_reachable(self._root):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._root))
        if not self._folders.is_real(folder):
            return
        if record_key(key) == key:
            self._unlink(self._path(key + RECORD_SUFFIX))
        if not Path(self._path(key)).is_dir():
            self._unlink(self._path(key))
        with contextlib.suppress(FileNotFoundError):
            self._sync(self._path(folder))
        self._folders.remove_empty(folder)

    def _remove_some(self, request: DeletePrefixRequest) -> str | None:
        """Do a step of a removal, which goes on where the last step of the same one ended."""
        steps = self._removals.pop(request, None) or remove_in_steps(
            str(self._root),
            request.prefix,
            self._folders,
            artefacts_only=request.artefacts_only,
        )
        try:
            if not is_reachable(self._root):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self._root))
            reach("storage.delete.before")
            for removed in steps:
                self._removals[request] = steps
                reach("storage.delete.after")
                return str(removed)
        except OSError as error:
            raise storage_error(error, self._root, request.prefix) from error
        return None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _sync(self, folder: str) -> None:
        if self._durable:
            sync_folder(folder)

    @staticmethod
    def _unlink(path: str) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)  # noqa: PTH108 - strings on the hot path
