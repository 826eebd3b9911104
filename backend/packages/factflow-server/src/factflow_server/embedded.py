"""Where the embedded server keeps what it knows: one folder, nothing outside of it unless asked.

factflow.db     configs and executions (SQLite)
lineage.db      lineage (SQLite; can be rebuilt from the records)
queue.db        messages under way (SQLite)
queue-ledger.db what was announced and settled of them, when a broker has them (SQLite)
storage/        artefacts and their records, the source of truth, as plain files or packed
storage.uri     where they are instead, when the server was told to keep them elsewhere
archives/       archives that were prepared to be fetched; gone with the server
factflow.lock   held by the server that owns the folder
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DataDir:
    """The data folder's layout; `root` is absolute."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> DataDir:
        """Return the layout of a folder, wherever the process may go later."""
        return cls(path.expanduser().absolute())

    @property
    def database(self) -> Path:
        """Configs and executions."""
        return self.root / "factflow.db"

    @property
    def lineage(self) -> Path:
        """Lineage rows."""
        return self.root / "lineage.db"

    @property
    def queue(self) -> Path:
        """Messages under way."""
        return self.root / "queue.db"

    @property
    def queue_ledger(self) -> Path:
        """What was announced and settled, when a broker has the messages."""
        return self.root / "queue-ledger.db"

    @property
    def storage(self) -> Path:
        """Artefacts and records, unless `storage_note` names another place."""
        return self.root / "storage"

    @property
    def archives(self) -> Path:
        """Archives that were prepared."""
        return self.root / "archives"

    @property
    def storage_note(self) -> Path:
        """The URI of a store that lies elsewhere."""
        return self.root / "storage.uri"
