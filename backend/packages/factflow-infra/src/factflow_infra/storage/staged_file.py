"""A file that is written out of sight and appears under its name complete, or not at all.

On Linux it has no name until then (`O_TMPFILE`, given one by `linkat`; open(2)), so a crash leaves
nothing behind. Elsewhere it is a temporary file beside its place, under a name that listings hide.
Either way the name is given by a hard link, which fails when the name is taken: create-only.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import Protocol

from factflow_infra.storage.layout import TEMP_PREFIX

_O_TMPFILE: int | None = getattr(os, "O_TMPFILE", None)


class StagedFile(Protocol):
    """One file's bytes, on their way to a name."""

    def __init__(self, folder: str, data: bytes, *, durable: bool) -> None: ...

    def link(self, path: str) -> None:
        """Give the file its name. Raises FileExistsError when it is taken; another may be tried."""
        ...

    def close(self) -> None:
        """Let go; a file without a name vanishes."""
        ...


class UnnamedFile:
    """A `StagedFile` without a name (Linux; ext4, xfs, btrfs, tmpfs and others)."""

    def __init__(self, folder: str, data: bytes, *, durable: bool) -> None:
        if _O_TMPFILE is None:
            raise NotImplementedError("this system has no O_TMPFILE")
        self._descriptor = os.open(folder, _O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666)
        _fill(self, self._descriptor, data, durable=durable)

    def link(self, path: str) -> None:
        """Give the file its name."""
        # os.link follows /proc/self/fd only through linkat, which it calls only when a directory is
        # given; the source being absolute, the system does not look at it.
        source = f"/proc/self/fd/{self._descriptor}"
        os.link(source, path, src_dir_fd=self._descriptor, follow_symlinks=True)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


class TemporaryFile:
    """A `StagedFile` under a temporary name (any file system with hard links)."""

    def __init__(self, folder: str, data: bytes, *, durable: bool) -> None:
        self._path = f"{folder}/{TEMP_PREFIX}{secrets.token_hex(8)}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o666)
        _fill(self, self._descriptor, data, durable=durable)

    def link(self, path: str) -> None:
        """Give the file its name."""
        os.link(self._path, path)

    def close(self) -> None:
        """Let go of the file and of its temporary name."""
        os.close(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)  # noqa: PTH108 - strings on the hot path


KINDS: dict[str, type[StagedFile]] = {"unnamed": UnnamedFile, "temporary": TemporaryFile}
"""By names that another process can be told."""


def choose_staging(root: str) -> type[StagedFile]:
    """Return the best kind of staged file that `root`'s file system can do, by trying.

    Raises the last OSError when it can do neither.
    """
    if _O_TMPFILE is not None:
        with contextlib.suppress(OSError):
            return _tried(UnnamedFile, root)
    return _tried(TemporaryFile, root)


def _tried(kind: type[StagedFile], root: str) -> type[StagedFile]:
    target = f"{root}/{TEMP_PREFIX}{secrets.token_hex(8)}"
    staged = kind(root, b"", durable=False)
    try:
        staged.link(target)
        os.unlink(target)  # noqa: PTH108 - strings throughout this module
    finally:
        staged.close()
    return kind


def _fill(staged: StagedFile, descriptor: int, data: bytes, *, durable: bool) -> None:
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        if durable:
            os.fsync(descriptor)
    except BaseException:
        staged.close()
        raise
