"""The file behind an SQLite engine, which others may delete, exchange or damage under an open connection."""

from __future__ import annotations

import itertools
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

Identity = tuple[int, int]

_DAMAGE = ("not a database", "malformed", "unsupported file format")


class DatabaseFile:
    """Knows which file stands under an engine's path; of other databases it knows nothing."""

    def __init__(self, engine: AsyncEngine) -> None:
        name = engine.url.database
        in_file = engine.dialect.name == "sqlite" and name and not name.startswith((":", "file:"))
        self.path = Path(name) if in_file and name else None

    def identity(self) -> Identity | None:
        """Return what tells this file from another one of its name; None when there is none."""
        if self.path is None:
            return None
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def set_aside(self, why: str = "damaged") -> Path | None:
        """Rename the file, so that a new one can be made; return where it is now: `.WHY` behind its name.

        None when there is no file, or it cannot be renamed.
        """
        if self.path is None:
            return None
        for number in itertools.count(1):
            suffix = f".{why}" if number == 1 else f".{why}-{number}"
            aside = self.path.with_name(self.path.name + suffix)
            if not aside.exists():
                break
        try:
            self.path.rename(aside)
            for log in ("-wal", "-shm"):
                # They belong to the old file, and would be taken for the new one's.
                self.path.with_name(self.path.name + log).unlink(missing_ok=True)
        except OSError:
            return None
        return aside


def is_damage(error: BaseException) -> bool:
    """Tell whether SQLite says that a file's content is no database, or not a whole one."""
    told = str(getattr(error, "orig", None) or error)
    return any(words in told for words in _DAMAGE)
