"""What a store promises: create-only, atomic objects under validated keys, each with a record.

Keys are `/`-separated relative paths without empty, `.` or `..` segments and without control
characters; anything else raises `KeyRefusedError`. An object's *name* is its key plus an optional
extension (`.html`); its record is found by either.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from factflow_protocols.errors import RecordDamagedError


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One line of a listing. `size` in bytes; `modified_at` in Unix seconds."""

    key: str
    size: int
    modified_at: float


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """How much lies below a prefix: objects, records, the bytes in them, and what these take of the disk
    (0 where the store cannot tell for a part of what it keeps together)."""

    objects: int = 0
    records: int = 0
    bytes: int = 0
    disk_bytes: int = 0


class RecordInfo(NamedTuple):
    """One line of a listing of records: a key that has one, and the full names of the objects that share it
    (what was written under this key: itself, with an extension, `~2`), in order."""

    key: str
    objects: tuple[str, ...]


class StorageProtocol(Protocol):
    """Objects that are never replaced.

    Every method raises `StorageUnavailableError` when the store does not answer or is full, and
    `KeyRefusedError` for a key it cannot hold.
    """

    async def write(
        self,
        key: str,
        data: bytes | None,
        metadata: Mapping[str, Any] | None = None,
        *,
        extension: str = "",
    ) -> str | None:
        """Store `data` under `key + extension`, then its record; both durable on return.

        With `metadata` the *record* decides: if `key` has one already, `ObjectExistsError` is raised and
        nothing stored counts. An object name that is taken without a record (a try that died between the
        two) is left alone: the data goes to `key~2 + extension` (`~3`, …). The stored record is `metadata`
        plus `output_key`, the name that counts. `data=None` stores the record alone and leaves a given
        `output_key` as it is. Without `metadata` only the object is stored, and a taken name raises
        `ObjectExistsError`.
        Returns the object's name, None when no data was given.
        """
        ...

    async def read(self, key: str) -> bytes:
        """Return an object's bytes, by its full name. Raises `ObjectNotFoundError`."""
        ...

    async def exists(self, key: str) -> bool:
        """Tell whether an object of this full name is stored."""
        ...

    def list(
        self, prefix: str, *, records: bool = False, ordered: bool = True
    ) -> AsyncIterator[ObjectInfo]:
        """Yield objects below `prefix` (a whole path segment), in the order of their keys.

        With `records` the keys that have a record are yielded instead (without extension), whether or
        not an object lies beside it. Without `ordered` they come in any order, which can be another one
        every time, and the first of millions come at once. Memory does not grow with their number.
        """
        ...

    async def page(self, prefix: str, *, after: str = "", limit: int) -> Sequence[ObjectInfo]:
        """Return the first objects below `prefix` whose key is greater than `after`, at most `limit`, in
        the order of their keys. Costs one look at a folder, however many follow."""
        ...

    async def level(
        self, prefix: str, *, after: str = "", limit: int
    ) -> Sequence[ObjectInfo | str]:
        """Return what lies right below `prefix`, like `page`: objects, and prefixes of more, which end
        with a slash. A prefix is named when anything lies below it, and be it a record."""
        ...

    def usage(self, prefix: str) -> AsyncIterator[StorageUsage]:
        """Yield how much lies below `prefix` ('' is the whole store): sums that grow while it is counted,
        others having their turn, the last of which is whole."""
        ...

    def list_records(self, prefix: str, *, alone: bool = False) -> AsyncIterator[RecordInfo]:
        """Yield the keys below `prefix` that have a record, in their order, with the objects beside them;
        with `alone` only those that have no object beside them.

        No record is looked at: one of which a loss of power left nothing may be among them, and has no
        metadata then. Memory does not grow with their number.
        """
        ...

    async def metadata(self, key: str) -> dict[str, Any]:
        """Return the record of a key or object name. Raises `ObjectNotFoundError` without one and
        `RecordDamagedError` when it cannot be read."""
        ...

    async def metadata_of(
        self, keys: Sequence[str]
    ) -> Sequence[dict[str, Any] | RecordDamagedError | None]:
        """Return the records of some keys, in their order: None where there is none, the error of one that
        cannot be read. Meant for some tens or hundreds at a time."""
        ...

    async def missing(self, keys: Sequence[str]) -> Sequence[str]:
        """Return those of some full names that no object is stored under. Meant for some tens or hundreds
        at a time."""
        ...

    async def info(self, key: str) -> ObjectInfo:
        """Return size and time of an object, by its full name. Raises `ObjectNotFoundError`."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object by its full name, or a record by its key; absent ones are no error."""
        ...

    async def delete_prefix(
        self,
        prefix: str,
        *,
        artefacts_only: bool = False,
        tell: Callable[[int], None] | None = None,
    ) -> None:
        """Remove all objects and records below `prefix` (whole path segments), and give back their space.

        With `artefacts_only` records stay, and so do the objects that tell what was announced: plans and
        lists of children. Absent ones are no error. Called again after an end on the way, it removes what
        was left. Others are served meanwhile; what is written below the prefix meanwhile may go or stay.
        `tell` is given the number of files or entries that went in each step.
        """
        ...

    async def close(self) -> None:
        """Finish what is under way and let go of the store."""
        ...
