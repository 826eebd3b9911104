"""What the promises of `storage_contract` are written with."""

from __future__ import annotations

import pytest

from factflow_protocols.storage import StorageProtocol

STAGE = "executions/e1/crawl/fetch"
MESSAGE = f"{STAGE}/0123456789abcdef0123456789abcdef"

HOSTILE_KEYS = {
    "empty": "",
    "absolute": "/etc/passwd",
    "climbs": "../outside",
    "climbs inside": "a/../../outside",
    "dot segment": "a/./b",
    "empty segment": "a//b",
    "trailing slash": "a/",
    "NUL": "a\x00b",
    "newline": "a\nb",
    "delete character": "a\x7fb",
    "backslash": "..\\outside",
    "lone surrogate": "a\ud800b",
    "long segment": "x" * 201,
    "long key": "/".join(["x" * 100] * 11),
}
FINE_KEYS = {
    "space": "a folder/an object",
    "umlaut": "Straße/Übergröße",
    "emoji": "notes/🦊",
    "right to left": "مرحبا/שלום",
    "query signs": "a?b=c&d#e%20f+g",
    "hash number": "name#1",
    "quotes": 'it\'s "quoted"',
    "hidden": ".hidden/.profile",
    "longest segment": "x" * 200,
    "shell signs": "$(reboot);*|~",
}


async def keys_of(store: StorageProtocol, prefix: str, *, records: bool = False) -> list[str]:
    """Return the keys a listing yields, in its order."""
    return [entry.key async for entry in store.list(prefix, records=records)]


class StorageFixtures:
    """What a provider's test overrides."""

    @pytest.fixture
    def store(self) -> StorageProtocol:
        """Give an empty store; an async generator fixture in the subclass."""
        raise NotImplementedError("override the store fixture")
