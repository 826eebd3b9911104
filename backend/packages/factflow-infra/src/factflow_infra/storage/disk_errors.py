"""What the operating system's refusals mean: trouble of the store, or of one key."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from factflow_protocols.errors import KeyRefusedError, StorageError, StorageUnavailableError

_STORE_TROUBLE = {
    errno.ENOSPC: ("the disk that holds {root} is full", "free some space there"),
    errno.EDQUOT: ("the disk quota for {root} is used up", "free some space or raise the quota"),
    errno.EROFS: ("{root} is on a read-only file system", "mount it writable"),
    errno.EIO: ("the disk that holds {root} reports an input/output error", "check the disk"),
    errno.EACCES: (
        "access is denied somewhere in {root}",
        "check the owner and mode of the folder",
    ),
    errno.EPERM: (
        "an operation is not permitted in {root}",
        "check the folder's owner, and that its file system has hard links",
    ),
    errno.EMFILE: ("this process has too many open files", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("this machine has too many open files", "close other programs"),
}
_KEY_TROUBLE = {
    errno.ENAMETOOLONG: "its name is too long for the file system",
    errno.EINVAL: "the file system does not accept its name",
    errno.EILSEQ: "the file system does not accept its name",
    errno.EFBIG: "it is larger than the file system allows",
    errno.ENOTDIR: "a part of its path is an object already",
    errno.EISDIR: "it names a folder of other objects",
    errno.ELOOP: "its path passes through a symbolic link",
}


def is_reachable(root: Path) -> bool:
    """Tell whether the store's folder is there to be entered."""
    return os.path.isdir(root)  # noqa: PTH112 - Path.is_dir raises where access is denied


def storage_error(error: OSError, root: Path, key: str) -> StorageError:
    """Return the `StorageError` that says what an `OSError` at `key` means.

    Trouble with the name or size of one object is a `KeyRefusedError`; all else is the store's.
    """
    if not is_reachable(root):
        return StorageUnavailableError(
            f"the storage folder {root} is gone or out of reach",
            hint="mount or restore it, and check who may enter it",
        )
    if error.errno in _KEY_TROUBLE:
        return KeyRefusedError(f"cannot store {key!r}: {_KEY_TROUBLE[error.errno]}")
    if error.errno in _STORE_TROUBLE:
        sentence, hint = _STORE_TROUBLE[error.errno]
        return StorageUnavailableError(sentence.format(root=root), hint=hint)
    reason = error.strerror or type(error).__name__
    return StorageUnavailableError(f"the storage folder {root} does not answer: {reason}")
