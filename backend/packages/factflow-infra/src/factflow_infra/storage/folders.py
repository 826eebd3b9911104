"""The folders below a store's root: made on demand, and known to be real ones."""

from __future__ import annotations

import errno
import os
import stat

_CACHE_LIMIT = 10_000


class Folders:
    """Makes and checks folders, and remembers them.

    A symbolic link below the root is never followed, so no key leads out of it. Folders are named
    relative to the root ('' is the root itself). Used from several threads: a set's `add`, `discard`
    and `in` are atomic, and a lost entry costs one more look.
    """

    def __init__(self, root: str, *, durable: bool) -> None:
        self._root = root
        self._durable = durable
        self._known: set[str] = set()

    def make(self, folder: str) -> None:
        """Create a folder and those above it, never the root.

        Raises OSError: ENOTDIR when a part is a file, ELOOP when it is a symbolic link.
        """
        if not folder or folder in self._known:
            return
        parent, _, _ = folder.rpartition("/")
        self.make(parent)
        path = f"{self._root}/{folder}"
        try:
            os.mkdir(path)  # noqa: PTH102 - strings on the hot path
        except FileExistsError:
            self._check(path)
        if self._durable:
            # Also for a folder found: who made it may have died before this.
            sync_folder(f"{self._root}/{parent}")
        self._remember(folder)

    def is_real(self, folder: str) -> bool:
        """Tell whether a folder exists and neither it nor one above it is a symbolic link."""
        if not folder or folder in self._known:
            return True
        if not self.is_real(folder.rpartition("/")[0]):
            return False
        try:
            self._check(f"{self._root}/{folder}")
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno == errno.ELOOP:
                return False
            raise
        self._remember(folder)
        return True

    def remove_empty(self, folder: str) -> None:
        """Remove a folder and those above it as long as they are empty."""
        while folder:
            try:
                os.rmdir(f"{self._root}/{folder}")  # noqa: PTH106 - strings on the hot path
            except OSError:
                return
            self._known.discard(folder)
            folder = folder.rpartition("/")[0]

    def forget(self, folder: str) -> None:
        """Look afresh at a folder, and those above it, when it is needed again."""
        while folder:
            self._known.discard(folder)
            folder = folder.rpartition("/")[0]

    def _remember(self, folder: str) -> None:
        if len(self._known) >= _CACHE_LIMIT:
            self._known.clear()
        self._known.add(folder)

    @staticmethod
    def _check(path: str) -> None:
        mode = os.lstat(path).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        if not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def sync_folder(path: str) -> None:
    """Make the entries of a folder survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
