"""The file that says that a folder holds packed storage, so that neither kind is taken for the other."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from factflow_infra.storage.folders import sync_folder
from factflow_infra.storage.layout import TEMP_PREFIX
from factflow_protocols.errors import StorageError

PACKED = "packed"
MARKER = ".factflow-packed"
_SAYS = b"Factflow packed storage, format "
_FORMAT = b"1"


class StorageLayoutError(StorageError):
    """A folder holds another kind of storage than it was opened as."""

    code = "storage_layout_differs"


def is_packed(root: Path) -> bool:
    """Tell whether a folder holds packed storage."""
    try:
        with (root / MARKER).open("rb") as file:
            return file.read(len(_SAYS)) == _SAYS
    except OSError:
        return False


def refuse_packed(root: Path) -> None:
    """Raise `StorageLayoutError` when a folder to be opened as plain files holds packed storage."""
    if is_packed(root):
        raise StorageLayoutError(
            f"{root} holds packed storage, and not plain files",
            hint=f"open it as {_uri(root)}",
        )


def mark_packed(root: Path) -> None:
    """Make sure that a folder is marked as packed storage; an empty one becomes one.

    Raises OSError, and `StorageLayoutError` when it holds anything else or is of a newer format.
    """
    if is_packed(root):
        told = (root / MARKER).read_bytes().removeprefix(_SAYS).split(b"\n")[0]
        if told != _FORMAT:
            raise StorageLayoutError(
                f"{root} is packed storage of format {told.decode(errors='replace')}; "
                f"this Factflow reads {_FORMAT.decode()}",
                hint="upgrade Factflow",
            )
        return
    if any(not path.name.startswith(TEMP_PREFIX) for path in root.iterdir()):
        raise StorageLayoutError(
            f"{root} is no packed storage, and not empty",
            hint=f"open it as {root.as_uri()} if it holds plain files, or name an empty folder",
        )
    temporary = root / f"{TEMP_PREFIX}{secrets.token_hex(8)}"
    with temporary.open("xb") as file:
        file.write(_SAYS + _FORMAT + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(root / MARKER)
    sync_folder(str(root))


def _uri(root: Path) -> str:
    return root.as_uri().replace("file://", f"{PACKED}://", 1)
