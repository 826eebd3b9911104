"""A record file without a byte: what a loss of power leaves of one that was never written out.

A record appears under its name with all its bytes, so an empty one says that its file was named and its
content lost. It counts as not written: readers do not see it, and the next outcome takes its place.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path


def is_empty(status: os.stat_result) -> bool:
    """Tell whether a record's file holds nothing."""
    return stat.S_ISREG(status.st_mode) and status.st_size == 0


def remove_if_empty(path: str) -> bool:
    """Remove a record's file if it is empty; tell whether its name is free now.

    Several processes may meet one empty file, and the first of them has put its record there by the
    time another would remove it: so each locks the file it saw, and looks again.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    try:
        seen = os.fstat(descriptor)
        if not is_empty(seen):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        standing = os.lstat(path)
        if not is_empty(standing) or not os.path.samestat(seen, standing):
            return False
        Path(path).unlink()
    except FileNotFoundError:
        return True
    finally:
        os.close(descriptor)
    return True
