"""Artefacts just stored and about to be read: handed on in memory, so that no file is opened for them."""

from __future__ import annotations

LIMIT_BYTES = 32 * 1024 * 1024


class RecentArtefacts:
    """Bytes by storage key, for one execution; each is handed out once.

    Messages are read in the order they were announced, so what is there stays, and what comes when the
    limit is reached is left to the store.
    """

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self._left = limit_bytes
        self._artefacts: dict[str, bytes] = {}

    def put(self, key: str, data: bytes) -> None:
        """Keep an artefact if there is room."""
        if len(data) <= self._left and key not in self._artefacts:
            self._left -= len(data)
            self._artefacts[key] = data

    def take(self, key: str) -> bytes | None:
        """Return an artefact and forget it; None when it is not here."""
        data = self._artefacts.pop(key, None)
        if data is not None:
            self._left += len(data)
        return data
