"""Which kinds of storage this Factflow has, and how a run is told to use one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from factflow_infra.storage.address import StorageUriError
from factflow_infra.storage.factory import create_storage_provider
from factflow_server.settings import ServerSettings

SETTING = "storage_uri"


def packed_missing() -> str:
    """Return why packed storage cannot be measured; empty when it can."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            create_storage_provider(Path(folder, "store").as_uri().replace("file:", "packed:", 1))
        except StorageUriError:
            return "this Factflow has no packed:// storage"
    if SETTING not in ServerSettings.model_fields:
        return f"the server has no setting {SETTING}"
    return ""


def storage_variables(folder: Path, *, packed: bool) -> dict[str, str]:
    """Return the environment that has servers keep artefacts below `folder`, in the kind asked for."""
    return {f"FACTFLOW_{SETTING.upper()}": storage_uri(folder, packed=packed)} if packed else {}


def storage_uri(folder: Path, *, packed: bool) -> str:
    """Return the URI of the store of a run in `folder`."""
    if not packed:
        return (folder / "data" / "storage").absolute().as_uri()
    return (folder / "packed").absolute().as_uri().replace("file:", "packed:", 1)
