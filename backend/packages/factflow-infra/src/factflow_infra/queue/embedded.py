"""The durable queue inside the server process; what it promises stands in `factflow_protocols.queue`.

Memory serves deliveries and counts, and follows what the writer thread has committed. Who has a message
in hand is known in memory only: after a kill, all that stood in the queue is delivered as repeats;
after `close()`, only what was in hand.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from factflow_foundation.clock import Clock, SystemClock
from factflow_infra.queue import refusals
from factflow_infra.queue.consumer import QueueConsumer
from factflow_infra.queue.delays import Delays
from factflow_infra.queue.lane import InHand, Lane
from factflow_infra.queue.operations import (
    Claim,
    EndPublishing,
    Load,
    Locate,
    MarkClean,
    OpenScope,
    Operation,
    Publish,
    Purge,
    PutBack,
    Release,
    Settle,
    Unname,
)
from factflow_infra.queue.queue_file import (
    DELAYED,
    PUBLISHER_NONE,
    PUBLISHER_OPEN,
    READY,
    Contents,
    NewMessage,
    ScopeRow,
)
from factflow_infra.queue.scope_state import ScopeState
from factflow_infra.queue.writer import Writer
from factflow_protocols.errors import QueueUnavailableError
from factflow_protocols.queue import (
    PREFETCH,
    Delivery,
    MessagePlace,
    OutgoingMessage,
    Progress,
    QueueDepth,
    QueueScope,
)

_NOTHING = Progress(0, 0, 0)


class EmbeddedQueue:
    """Fulfils `QueueProtocol` with one SQLite file, which no other process may open meanwhile.

    `durability="os"` survives the death of the process, `"fsync"` that of the machine.
    After a run that did not write through, and under which the machine went down (`boot` is another
    one), every scope counts as lost: what it says may be ahead of what storage has.
    `memory_limit` is how many ready messages each queue of a scope holds in memory. The file is
    opened by `start`, or by the first call that needs it; a publish to a scope that was never opened
    raises `QueueError`, and settling for a deleted one changes nothing.
    """

    def __init__(
        self,
        path: Path,
        clock: Clock | None = None,
        *,
        durability: Literal["os", "fsync"] = "os",
        memory_limit: int = 10_000,
        boot: str | None = None,
    ) -> None:
        self._path = path
        self._clock = clock or SystemClock()
        self._fsync = durability == "fsync"
        self._boot = boot
        self._memory_limit = memory_limit
        self._delays = Delays(self._clock)
        self._scopes: dict[QueueScope, ScopeState] = {}
        self._doomed: set[int] = set()
        self._writer: Writer | None = None
        self._starting: asyncio.Task[None] | None = None
        self._clearing: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Open the file and take over what it holds; later calls return at once."""
        if self._closing is not None:
            raise self._closed_error()
        if self._writer is None:
            if self._starting is None or self._starting.done():
                self._starting = asyncio.create_task(self._start())
            await asyncio.shield(self._starting)

    async def open(self, scope: QueueScope, *, publisher: bool = False) -> Progress:
        """Make the scope known, or find it as it was left; return its progress."""
        await self.start()
        state = self._scopes.get(scope)
        if state is None or (publisher and state.publisher == PUBLISHER_NONE):
            await self._submit(OpenScope(scope, publisher=publisher, opened=self._opened))
            state = self._scopes[scope]
        return state.progress

    async def join(self, scope: QueueScope) -> None:  # noqa: ARG002 - whichever it is
        """Refuse: nobody else has opened one of these scopes."""
        raise refusals.embedded()

    async def leave(self, scope: QueueScope) -> None:
        """Do nothing: no scope was joined."""

    def subscribe(
        self,
        scope: QueueScope,
        queue: str,
        *,
        prefetch: int = PREFETCH,  # noqa: ARG002 - nobody else consumes, so there is nothing to leave to others
    ) -> QueueConsumer:
        """Start consuming a queue of an opened scope; messages published before count too."""
        if self._closing is not None:
            raise self._closed_error()
        lane = self._known(scope).lane(queue)
        lane.consumed()
        return QueueConsumer(lane, lane.left)

    async def publish(
        self, scope: QueueScope, messages: Sequence[OutgoingMessage], *, cursor: int | None = None
    ) -> None:
        """Announce and enqueue, as one act; `cursor` is kept with it."""
        await self.start()
        state = self._known(scope)
        if messages or cursor is not None:
            await self._submit(Publish(state, self._rows(state, messages), cursor))

    async def publisher_cursor(self, scope: QueueScope) -> int:
        """Return the position kept by the last `publish(cursor=…)`, 0 when there is none."""
        await self.start()
        state = self._scopes.get(scope)
        return 0 if state is None else state.cursor

    async def end_publishing(self, scope: QueueScope) -> None:
        """Settle the publisher; without one, or repeated, it changes nothing."""
        await self.start()
        state = self._scopes.get(scope)
        if state is not None and state.publisher == PUBLISHER_OPEN:
            await self._submit(EndPublishing(state))

    async def claim(self, delivery: Delivery) -> None:
        """Note that the message's handling begins; costs nothing before the scope's first crash."""
        state = self._scopes.get(delivery.scope)
        if state is None or not state.crashed:
            return
        hand = await self._in_hand(delivery)
        if hand is not None:
            await self._submit(Claim(hand))

    async def settle(
        self, delivery: Delivery, *, children: Sequence[OutgoingMessage] = (), failed: bool = False
    ) -> None:
        """Children in, message out, as one act.

        A settle that comes before its message was announced counts as both; the announcement then
        changes nothing.
        """
        await self.start()
        hand = await self._in_hand(delivery)
        state = self._scopes.get(delivery.scope)
        if state is None:
            return
        rows = self._rows(state, children)
        lane = state.lane(delivery.queue)
        message_id = delivery.message_id
        await self._submit(Settle(state, lane, message_id, hand, failed=failed, children=rows))

    async def put_back(self, delivery: Delivery, body: bytes, not_before: float) -> None:
        """Replace the message by its next attempt; one that is not in hand stays as it is."""
        await self.start()
        hand = await self._in_hand(delivery)
        state = self._scopes.get(delivery.scope)
        if state is not None and hand is not None:
            lane = state.lane(delivery.queue)
            await self._submit(PutBack(state, lane, hand, body, not_before))

    async def release(self, delivery: Delivery) -> None:
        """Give the message back untouched; one that is not in hand stays as it is."""
        await self.start()
        hand = await self._in_hand(delivery)
        state = self._scopes.get(delivery.scope)
        if state is not None and hand is not None:
            await self._submit(Release(state.lane(delivery.queue), hand))

    async def progress(self, scope: QueueScope) -> Progress:
        """Return the scope's counts; an unknown scope has none."""
        await self.start()
        state = self._scopes.get(scope)
        return _NOTHING if state is None else state.progress

    async def find(self, scope: QueueScope) -> Progress | None:
        """Return the progress of a scope that was opened before, None for one that is not known."""
        await self.start()
        state = self._scopes.get(scope)
        return None if state is None else state.progress

    async def scopes(self) -> Sequence[QueueScope]:
        """Return the scopes that were opened and not deleted."""
        await self.start()
        return list(self._scopes)

    async def find_message(self, scope: QueueScope, message_id: str) -> MessagePlace | None:
        """Return where a message stands, None for one that is not known here."""
        await self.start()
        state = self._scopes.get(scope)
        if state is None:
            return None
        locate = Locate(state, message_id)
        await self._submit(locate)
        return locate.place

    async def wait_drained(self, scope: QueueScope) -> Progress:
        """Return once nothing is outstanding. Ends with `asyncio.CancelledError` when the scope is
        deleted or the queue closed meanwhile."""
        await self.start()
        state = self._scopes.get(scope)
        return _NOTHING if state is None else await state.drained()

    def depths(self, scope: QueueScope) -> Mapping[str, QueueDepth]:
        """Return what stands in each queue of the scope."""
        state = self._scopes.get(scope)
        return {} if state is None else {name: lane.depth for name, lane in state.lanes.items()}

    def watch(
        self,
        scope: QueueScope,  # noqa: ARG002 - nobody else changes the depths of any
        changed: Callable[[], None],  # noqa: ARG002
    ) -> Callable[[], None]:
        """Do nothing: what changes depths is done in this process."""
        return _nothing

    async def delete(self, scope: QueueScope) -> None:
        """Forget the scope. Its rows go in many short transactions; what a kill leaves of them goes at
        the next start."""
        await self.start()
        state = self._scopes.get(scope)
        if state is not None:
            await self._submit(Unname(state, forget=self._forget))
        await self._purge()

    async def close(self) -> None:
        """Finish what is under way and let go of the file; repeated calls wait for the first."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    def wake(self) -> None:
        """Look at the clock now: for clocks that are moved by hand."""
        self._delays.look()

    # -- inside

    async def _start(self) -> None:
        writer = Writer(self._path, fsync=self._fsync, boot=self._boot)
        contents = await writer.start()
        self._restore(contents)
        self._writer = writer
        if self._doomed:
            self._clearing = asyncio.create_task(self._clear())

    def _restore(self, contents: Contents) -> None:
        by_id: dict[int, ScopeState] = {}
        for row in contents.scopes:
            if row.execution_id is None:
                self._doomed.add(row.id)
            else:
                by_id[row.id] = self._opened(QueueScope(row.execution_id, row.generation), row)
        for scope_id, queue, status, count in contents.counts:
            if scope_id in by_id:
                by_id[scope_id].restore(queue, status, count)
        for scope_id, queue, seq, not_before in contents.delayed:
            if scope_id in by_id:
                state = by_id[scope_id]
                state.delayed(state.lane(queue), seq, not_before)

    async def _close(self) -> None:
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        for state in self._scopes.values():
            state.end()
        self._delays.stop()
        writer = self._writer
        if writer is None:
            return
        if self._clearing is not None:
            self._clearing.cancel()
            await asyncio.gather(self._clearing, return_exceptions=True)
        in_hand = [
            hand.message.seq
            for state in self._scopes.values()
            for lane in state.lanes.values()
            for hand in lane.in_hand.values()
        ]
        with contextlib.suppress(QueueUnavailableError):  # then the next start finds it unclean
            await writer.submit(MarkClean(in_hand))
        await writer.stop()

    def _submit(self, operation: Operation) -> asyncio.Future[None]:
        if self._writer is None or self._closing is not None:
            operation.abandon()
            raise self._closed_error()
        return self._writer.submit(operation)

    def _known(self, scope: QueueScope) -> ScopeState:
        state = self._scopes.get(scope)
        if state is None:
            raise refusals.no_queues(scope)
        return state

    def _closed_error(self) -> QueueUnavailableError:
        return QueueUnavailableError(f"the queue {self._path} is closed", hint="start the server")

    async def _in_hand(self, delivery: Delivery) -> InHand | None:
        """Return the message's place in a handler's hands once no other act is under way on it."""
        while True:
            state = self._scopes.get(delivery.scope)
            if state is None:
                return None
            hand = state.lane(delivery.queue).in_hand.get(delivery.message_id)
            if hand is None or not hand.held:
                return hand
            await hand.turn()

    def _rows(self, state: ScopeState, messages: Sequence[OutgoingMessage]) -> list[NewMessage]:
        now = self._clock.now() if messages else 0.0
        return [
            NewMessage(
                state.id,
                message.message_id,
                message.queue,
                DELAYED if message.not_before > now else READY,
                message.not_before,
                message.body,
            )
            for message in messages
        ]

    def _opened(self, scope: QueueScope, row: ScopeRow) -> ScopeState:
        state = self._scopes.get(scope)
        if state is None:
            state = ScopeState(scope, row, make_lane=self._make_lane, delay=self._delays.add)
            self._scopes[scope] = state
        state.publisher = row.publisher
        return state

    def _make_lane(self, scope: QueueScope, scope_id: int, queue: str) -> Lane:
        return Lane(
            scope, scope_id, queue, limit=self._memory_limit, request_load=self._request_load
        )

    def _request_load(self, lane: Lane) -> None:
        load = Load(lane)
        try:
            done = self._submit(load)
        except QueueUnavailableError:
            return
        done.add_done_callback(lambda future: future.cancelled() or future.exception())

    def _forget(self, state: ScopeState) -> None:
        if self._scopes.get(state.scope) is state:
            del self._scopes[state.scope]
            state.end()
            self._delays.drop(set(state.lanes.values()))
        self._doomed.add(state.id)

    async def _purge(self) -> None:
        while self._doomed:
            scope_id = next(iter(self._doomed))
            purge = Purge(scope_id)
            await self._submit(purge)
            if purge.finished:
                self._doomed.discard(scope_id)

    async def _clear(self) -> None:
        """Finish the deletions that an earlier run left; what fails now is left to the next one."""
        with contextlib.suppress(QueueUnavailableError):
            await self._purge()


def _nothing() -> None:
    pass
