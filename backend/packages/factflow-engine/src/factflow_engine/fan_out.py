"""Stores what an adapter emits, child by child as it comes, before anything announces it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from factflow_engine.envelope import INLINE_LIMIT
from factflow_engine.message_metadata import MetadataLimit
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.payloads import EncodedPayload
from factflow_engine.recent import RecentArtefacts
from factflow_engine.stall_watch import CallsAdapters
from factflow_foundation import ids, logs
from factflow_foundation.keys import children_key, stage_key
from factflow_foundation.records import Child
from factflow_protocols.errors import PermanentError, StorageError
from factflow_protocols.pipeline import Emitted, EmittedItems

LISTED_IN_RECORD = 200
"""Up to so many children stand in their parent's record; more go to objects of their own."""
CHILDREN_PER_OBJECT = 5_000
WRITES_AT_ONCE = 64
WINDOWS_AT_ONCE = 3
"""Children are written by the window of `WRITES_AT_ONCE`; so many windows are under way."""
INLINE_TOTAL = 8 * 1024 * 1024
"""Bytes of small payloads kept to ride along in envelopes instead of being read back."""

log = logs.logger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """Where children go. An empty `route` announces them to nobody: they are artefacts only."""

    queue: str
    route: str
    entry_stage: str


@dataclass(slots=True)
class FannedOut:
    """The children of one message, all stored."""

    children: list[Child] = field(default_factory=list)
    children_keys: list[str] = field(default_factory=list)
    count: int = 0
    inline: dict[str, bytes] = field(default_factory=dict)


class Parent(NamedTuple):
    """The stage and message that emit."""

    execution_id: str
    route: str
    stage: str
    message_id: str
    origin_id: str
    metadata: dict[str, Any]
    """What each child carries too, beneath its own."""


class _Window(NamedTuple):
    """Children whose artefacts are being written; each of `writes` gives a name."""

    prepared: list[tuple[Child, EncodedPayload]]
    writes: list[asyncio.Task[str]]


Hold = Callable[..., Coroutine[Any, Any, str]]
"""Calls a storage operation with its arguments, again as long as the store is in trouble."""


class FanOut(CallsAdapters):
    """One message's emitted children on their way into storage."""

    def __init__(
        self,
        store: OutcomeStore,
        parent: Parent,
        target: Target,
        recent: RecentArtefacts,
        hold: Hold,
        *,
        metadata_limit: MetadataLimit,
    ) -> None:
        self.label = f"{parent.route}/{parent.stage}"
        self._store = store
        self._parent = parent
        self._target = target
        self._recent = recent
        self._hold = hold
        self._metadata_limit = metadata_limit
        self._writing: deque[_Window] = deque()
        self._names = ids.ChildNames()
        self._inline_bytes = 0
        self._result = FannedOut()

    async def store(self, emitted: EmittedItems) -> FannedOut:
        """Store every child and return them in the order they were emitted.

        Raises what the adapter's iterator raises, and `PermanentError` for a child that cannot be stored.
        What was stored by then is removed again, unless this is cancelled or the store is in trouble.
        """
        try:
            await self._store_all(emitted)
        except asyncio.CancelledError:
            raise
        except BaseException:
            await self._remove_all()
            raise
        finally:
            # After an error or a cancellation none may be left behind, waiting for a store in trouble.
            writes = [write for window in self._writing for write in window.writes]
            for write in writes:
                write.cancel()
            await asyncio.gather(*writes, return_exceptions=True)
        return self._result

    async def _store_all(self, emitted: EmittedItems) -> None:
        window: list[Emitted] = []
        async for item in _iterate(emitted):
            window.append(item if isinstance(item, Emitted) else Emitted(item))
            if len(window) == WRITES_AT_ONCE:
                await self._begin(window)
                window = []
        await self._begin(window)
        while self._writing:
            await self._finish_one()
        if self._result.children_keys or self._result.count > LISTED_IN_RECORD:
            await self._write_list()

    async def _remove_all(self) -> None:
        """Remove what this try has stored.

        A write makes a name or leaves a taken one alone, so these names are of this try, and the only
        record that could have named them will not be written. What a try leaves that died, or whose record
        was refused after it may have come to stand, looks the same and is not: that is left to the audit.
        """
        writes = [write for window in self._writing for write in window.writes]
        ended = await asyncio.gather(*writes, return_exceptions=True)
        try:
            await self._remove([name for name in ended if isinstance(name, str)])
            await self._remove([child.input_key for child in self._result.children])
            for key in self._result.children_keys:
                listed = await self._store.listed_children(key)
                await self._remove([child.input_key for child in listed])
                await self._store.storage.delete(key)
        except StorageError as error:
            log.warning("left behind by a fan-out", stage=self.label, reason=error.message)

    async def _remove(self, names: list[str]) -> None:
        for start in range(0, len(names), WRITES_AT_ONCE):
            some = names[start : start + WRITES_AT_ONCE]
            for name in some:
                self._recent.take(name)  # the next try may make the same name for something else
            await asyncio.gather(*map(self._store.storage.delete, some))

    async def _begin(self, window: list[Emitted]) -> None:
        """Begin to write some children together, so that they share the store's batches; the next ones
        are made ready while these are written."""
        prepared = [self._prepare(item) for item in window]
        writes = [
            asyncio.create_task(self._hold(self._store.write_child, child.input_key, artefact))
            for child, artefact in prepared
        ]
        self._writing.append(_Window(prepared, writes))
        if len(self._writing) == WINDOWS_AT_ONCE:
            await self._finish_one()

    async def _finish_one(self) -> None:
        """Wait for the window that was begun first."""
        prepared, writes = self._writing[0]
        names = await asyncio.gather(*writes)
        self._writing.popleft()
        for (child, artefact), name in zip(prepared, names, strict=True):
            stored = child
            if child.input_key != name:
                stored = msgspec.structs.replace(child, input_key=name)
            self._result.children.append(stored)
            self._keep(stored, artefact.data)
        self._result.count += len(prepared)
        if len(self._result.children) >= CHILDREN_PER_OBJECT:
            await self._write_list()

    def _prepare(self, item: Emitted) -> tuple[Child, EncodedPayload]:
        if item.payload is None:
            raise PermanentError("an emitted child has no payload (None)")
        name = self._names.next(item.key)
        target, parent = self._target, self._parent
        origin = ids.child_origin(parent.origin_id, parent.route, parent.stage, target.queue, name)
        message = ids.message_id(parent.execution_id, origin)
        artefact = self._store.encode(item.payload, item.content_type)
        child = Child(
            message_id=message,
            origin_id=origin,
            route=target.route,
            entry_stage=target.entry_stage,
            input_key=stage_key(parent.execution_id, parent.route, parent.stage, message),
            input_hash=artefact.sha256,
            content_type=artefact.content_type,
            name=name,
            metadata=self._metadata_limit.added(parent.metadata, item.metadata),
        )
        return child, artefact

    def _keep(self, child: Child, data: bytes) -> None:
        """Have a child's payload at hand for whoever handles it: in its envelope when it is small."""
        if len(data) <= INLINE_LIMIT and self._inline_bytes < INLINE_TOTAL:
            self._inline_bytes += len(data)
            self._result.inline[child.message_id] = data
        elif child.route:
            self._recent.put(child.input_key, data)

    async def _write_list(self) -> None:
        """Move the children gathered so far into an object of their own."""
        children = self._result.children
        if children:
            own = stage_key(*self._parent[:4])
            key = children_key(own, len(self._result.children_keys) + 1)
            name = await self._hold(self._store.write_children, key, children)
            self._result.children_keys.append(name)
            self._result.children = []


async def _iterate(emitted: EmittedItems) -> AsyncIterator[Any]:
    if isinstance(emitted, AsyncIterable):
        async for item in emitted:
            yield item
    else:
        for item in emitted:
            yield item
