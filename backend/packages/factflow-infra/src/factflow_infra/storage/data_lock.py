"""One live server per local data folder.

The lock is `flock(2)` on a descriptor, so the system drops it when the last process that holds the
descriptor ends, however it ends. The server gives it to its writer process too: a new server
waits a moment for the writer of a dead one to finish, and is refused by a live one at once.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from factflow_protocols.errors import StorageError

LOCK_FILE = "factflow.lock"
WAIT_SECONDS = 5.0

_PAUSE_SECONDS = 0.05
_HINTS = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EROFS: "mount it writable, or name another folder with --data-dir",
}


class DataFolderLockedError(StorageError):
    """Another live process works in the data folder; `pid` is its process id, 0 when unknown."""

    code = "data_dir_locked"

    def __init__(self, folder: Path, pid: int) -> None:
        holder = f"process {pid}" if pid else "another process"
        super().__init__(
            f"the data folder {folder} is in use by {holder}",
            hint="stop that process, or give this one a folder of its own with --data-dir",
        )
        self.pid = pid


class DataFolderUnwritableError(StorageError):
    """The data folder cannot be made, written or locked."""

    code = "data_dir_unwritable"

    def __init__(self, folder: Path, error: OSError) -> None:
        reason = error.strerror or type(error).__name__
        super().__init__(
            f"the data folder {folder} cannot be used: {reason}",
            hint=_HINTS.get(error.errno or 0, "name a folder this user may write with --data-dir"),
        )


class DataFolderLock:
    """Holds a data folder, which is made when it is missing, from `acquire` to `release`.

    Also a context manager. The lock belongs to the descriptor: forked children share it until they
    close `fileno()` or end, and so do programs that are started with it; others do not. `pause` is for tests.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        wait_seconds: float = WAIT_SECONDS,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.folder = Path(folder).absolute()
        self._wait_seconds = wait_seconds
        self._pause = pause
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the folder and write this process's id into the lock file.

        Raises `DataFolderLockedError` at once when the holder lives, or after `wait_seconds` when it
        is dead and its descriptor is still held; `DataFolderUnwritableError` when there is no locking
        here. Blocks meanwhile.
        """
        if self._descriptor is not None:
            raise RuntimeError(f"this lock on {self.folder} is held already")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.folder / LOCK_FILE, flags, 0o644)
        except OSError as error:
            raise DataFolderUnwritableError(self.folder, error) from error
        try:
            self._wait_for_lock(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        except OSError as error:
            os.close(descriptor)
            raise DataFolderUnwritableError(self.folder, error) from error
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Let the folder go; a lock that is not held is left alone."""
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        # Closing, and not unlocking: a writer that is still at work keeps the folder.
        try:
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def fileno(self) -> int:
        """Return the descriptor that carries the lock. Raises RuntimeError when it is not held."""
        if self._descriptor is None:
            raise RuntimeError(f"the lock on {self.folder} is not held")
        return self._descriptor

    def __enter__(self) -> DataFolderLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _wait_for_lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + self._wait_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pid = _holder(descriptor)
                if _lives(pid) or time.monotonic() >= deadline:
                    raise DataFolderLockedError(self.folder, pid) from None
                self._pause(_PAUSE_SECONDS)
            else:
                return


def _holder(descriptor: int) -> int:
    """Return the pid in the lock file; 0 when its holder has not written it yet."""
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0


def _lives(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not yet waited for does not."""
    if pid == 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return True
    return state not in {b"Z", b"X"}
