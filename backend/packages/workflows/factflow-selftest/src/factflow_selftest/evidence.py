"""What lies outside of a server: its data folder, two journals, and what stood there at each kill."""

from __future__ import annotations

import fcntl
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from factflow_selftest.journal import Line, Unit, read_lines
from factflow_selftest.stored_objects import (
    RECORD_SUFFIX,
    Mark,
    PackedObjects,
    PlainObjects,
    StoredObjects,
)

LOCK_FILE = "factflow.lock"
COMMIT_JOURNAL_VARIABLE = "FACTFLOW_COMMIT_JOURNAL"
STORAGE_VARIABLE = "FACTFLOW_STORAGE_URI"


@dataclass(frozen=True, slots=True)
class Kill:
    """The moment a process had died: how long the journal was, and which records stood.

    `queue_lost` says that the queue was deleted before the next process started.
    """

    journal_end: int
    records: frozenset[str]
    queue_lost: bool = False

    def had_committed(self, unit: Unit) -> bool:
        """Tell whether a message's outcome at a stage stood by then."""
        place = f"executions/{unit.execution_id}/{unit.route}/{unit.stage}/{unit.message_id}"
        return place + RECORD_SUFFIX in self.records


@dataclass(frozen=True, slots=True)
class _Seen:
    mark: Mark
    sha256: str


class Evidence:
    """Everything a judge may look at, in one folder. With `packed` the server packs its storage; `objects`
    are those of a store that lies elsewhere."""

    def __init__(
        self, folder: Path, *, packed: bool = False, objects: StoredObjects | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.data_dir = folder / "data"
        self.journal = folder / "invocations.jsonl"
        self.commits = folder / "commits.jsonl"
        self.kills: list[Kill] = []
        self.changed: list[str] = []
        """Files that were gone or different when they were looked at again."""
        self._seen: dict[str, _Seen] = {}
        self._packed = packed
        self._objects = objects or (PackedObjects if packed else PlainObjects)(self.storage)

    @property
    def variables(self) -> dict[str, str]:
        """Return what a server's environment must hold to leave its part of the evidence."""
        variables = {COMMIT_JOURNAL_VARIABLE: str(self.commits)}
        if self._packed:
            variables[STORAGE_VARIABLE] = (
                self.storage.absolute().as_uri().replace("file", "packed", 1)
            )
        return variables

    @property
    def storage(self) -> Path:
        """The folder of the store."""
        return self.data_dir / "storage"

    def lines(self) -> list[Line]:
        """Return what the adapters told."""
        return read_lines(self.journal)

    def note_kill(self) -> None:
        """Write down what stands; to be called when the process is dead and before the next one starts.

        A process that made files for the dead one may be finishing what it was handed: it is waited for.
        """
        self._wait_for_folder()
        end = self.journal.stat().st_size if self.journal.exists() else 0
        records = frozenset(name for name in self.look() if name.endswith(RECORD_SUFFIX))
        self.kills.append(Kill(end, records))

    def _wait_for_folder(self) -> None:
        """Wait until nobody holds the data folder any more."""
        if not (self.data_dir / LOCK_FILE).exists():
            return
        descriptor = os.open(self.data_dir / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        finally:
            os.close(descriptor)

    def lose_queue(self) -> None:
        """Delete the messages under way, after the last kill that was noted."""
        for file in self.data_dir.glob("queue.db*"):
            file.unlink()
        self.kills[-1] = replace(self.kills[-1], queue_lost=True)

    def look(self, *, closely: bool = False) -> set[str]:
        """Return the names of all objects and records, having compared them with the last look.

        `closely` reads every one again; otherwise only those that are new or look touched.
        """
        found = set()
        for name, mark in self._objects.names():
            found.add(name)
            before = self._seen.get(name)
            if before and not closely and mark == before.mark:
                continue
            now = _Seen(mark, hashlib.sha256(self.read(name)).hexdigest())
            if before and before.sha256 != now.sha256:
                self.changed.append(f"{name} has other bytes than at an earlier kill")
            self._seen[name] = now
        for name in self._seen.keys() - found:
            self.changed.append(f"{name} stood at an earlier kill and is gone")
            del self._seen[name]
        return found

    def read(self, name: str) -> bytes:
        """Return the bytes of an object, or of a record by its key and `.meta.json`.

        Raises KeyError without one.
        """
        return self._objects.read(name)

    def names_below(self, prefix: str) -> list[str]:
        """Return the names that the last look found below a prefix, in order."""
        return sorted(name for name in self._seen if name.startswith(prefix))

    def sha256(self, key: str) -> str | None:
        """Return the hash of a stored object as it was last looked at, None without one."""
        seen = self._seen.get(key)
        return seen.sha256 if seen else None
