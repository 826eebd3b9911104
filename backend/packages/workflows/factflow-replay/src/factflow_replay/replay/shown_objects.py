"""Objects that a listing has shown a moment ago, so that storage need not be asked for each of them."""

from __future__ import annotations

from collections.abc import Iterable

NAMES_KEPT = 4_096
"""At least so many of the last names are known; a plan asks for them within a few hundred."""


class ShownObjects:
    """The last names that listings showed; at most twice `NAMES_KEPT`."""

    def __init__(self) -> None:
        self._newer: set[str] = set()
        self._older: set[str] = set()

    def note(self, names: Iterable[str]) -> None:
        """Take names that were just listed."""
        self._newer.update(names)
        if len(self._newer) >= NAMES_KEPT:
            self._older, self._newer = self._newer, set()

    def __contains__(self, name: str) -> bool:
        return name in self._newer or name in self._older
