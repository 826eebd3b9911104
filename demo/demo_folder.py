"""The demo's folder: emptied at the start of every run, held by one run at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "demo.lock"


class DemoError(Exception):
    """The demo cannot go on; `hint` says what to do about it, `exit_code` what to end with."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


@contextmanager
def fresh_folder(folder: Path) -> Iterator[int]:
    """Make or empty the folder and hold it; yield the descriptor that holds it, for children to keep.

    Raises `DemoError` when another demo (or the server it left) holds the folder, or when it has
    things in it that no demo put there; those are left alone.
    """
    lock = folder / LOCK
    if folder.exists() and not lock.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DemoError(
            f"{folder} is in use for something else", "name a new folder: --folder DIR", exit_code=2
        )
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holders = os.pread(descriptor, 100, 0).decode("ascii", "replace").strip()
            raise DemoError(
                f"another demo uses {folder} (processes {holders})",
                "wait for its end, or name another folder: --folder DIR",
                exit_code=2,
            ) from None
        os.truncate(descriptor, 0)
        note_holder(descriptor, os.getpid())
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            elif entry.name != LOCK:
                entry.unlink()
        yield descriptor
    finally:
        os.close(descriptor)


def note_holder(descriptor: int, pid: int) -> None:
    """Write down a process that holds the folder, for whoever finds it held."""
    os.pwrite(descriptor, f"{pid} ".encode(), os.fstat(descriptor).st_size)
