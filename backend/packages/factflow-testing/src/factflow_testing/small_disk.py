"""A file system of a few megabytes, which a test fills up, empties, and makes read-only."""

from __future__ import annotations

import contextlib
import errno
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_BLOCK = bytes(64 * 1024)


class SmallDisk:
    """A mounted tmpfs at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._ballast = root / "ballast"

    def fill(self) -> None:
        """Take all the room there is, to the last byte."""
        with self._ballast.open("ab", buffering=0) as ballast:
            for size in (len(_BLOCK), 4096, 1):
                with contextlib.suppress(OSError):
                    while True:
                        ballast.write(_BLOCK[:size])

    def is_full(self) -> bool:
        """Tell whether not a byte can be written."""
        probe = self.root / "probe"
        try:
            probe.write_bytes(b"x")
        except OSError as error:
            return error.errno == errno.ENOSPC
        finally:
            probe.unlink(missing_ok=True)
        return False

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink()

    def read_only(self) -> None:
        """Refuse every write from now on; fails while a file is open for writing."""
        _run("mount", "-o", "remount,ro", str(self.root))

    def writable(self) -> None:
        """Take writes again."""
        _run("mount", "-o", "remount,rw", str(self.root))


@contextlib.contextmanager
def small_disk(root: Path, size: str = "24m") -> Iterator[SmallDisk]:
    """Mount one at `root` for the length of the block; skips the test where that is not allowed."""
    root.mkdir(parents=True, exist_ok=True)
    try:
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(root))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small tmpfs can be mounted by root only")
    try:
        yield SmallDisk(root)
    finally:
        _run("umount", "-l", str(root))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
