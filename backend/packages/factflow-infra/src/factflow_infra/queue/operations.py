"""What the event loop asks of the writer thread.

An operation is made on the loop, `run` on the thread inside a transaction that it shares with others,
and after the commit `apply`-ed on the loop, in the order of submission; `abandon` takes the place of
`apply` when the transaction did not commit. Publishing, settling and claiming are not run one by one:
`batch` gathers their rows. None of them waits for its caller: a caller that gives up leaves the
operation to happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from factflow_infra.queue.lane import InHand, Lane
from factflow_infra.queue.queue_file import (
    PUBLISHER_ENDED,
    READY,
    SETTLED,
    LocatedRow,
    NewMessage,
    QueueFile,
    ScopeRow,
    SettledRow,
    Standing,
)
from factflow_infra.queue.scope_state import ScopeState
from factflow_protocols.queue import MOST_AHEAD, MessagePlace, QueueScope


class Operation:
    """One request; `done` is resolved for its caller when `error` or success is known."""

    crash_point: ClassVar[str | None] = None
    done: asyncio.Future[None]
    error: Exception | None = None

    def run(self, file: QueueFile) -> None:
        """Do the work on the writer thread."""

    def apply(self) -> ScopeState | None:
        """Bring memory up to what is committed; return the scope that may have drained by it."""
        return None

    def abandon(self) -> None:
        """Undo what was noted in memory when the operation was made."""


class Publish(Operation):
    """Announce messages, and keep the publisher's position with them."""

    crash_point = "queue.publish"

    def __init__(self, state: ScopeState, rows: list[NewMessage], cursor: int | None) -> None:
        self.state = state
        self.rows = rows
        self.cursor = cursor
        self.seqs: list[int | None] = []

    def run(self, file: QueueFile) -> None:
        """Keep the cursor; the rows are inserted with those of others."""
        if self.cursor is not None:
            file.keep_cursor(self.state.id, self.cursor)

    def apply(self) -> None:
        """Deliver what is new."""
        self.state.announced(self.rows, self.seqs)
        if self.cursor is not None:
            self.state.cursor = self.cursor


class Settle(Operation):
    """Settle one message and announce its children.

    With a `hand` the message is known to stand. Without one it is looked up by its id (`by_id`), and
    the children of a message that was settled before are not announced.
    """

    crash_point = "queue.settle"

    def __init__(
        self,
        state: ScopeState,
        lane: Lane,
        message_id: str,
        hand: InHand | None,
        *,
        failed: bool,
        children: list[NewMessage],
    ) -> None:
        self.state = state
        self.lane = lane
        self.message_id = message_id
        self.hand = hand
        self.by_id = hand is None
        self.failed = failed
        self.children = children
        self.seqs: list[int | None] = []
        self.found: SettledRow | None = None
        if hand is not None:
            hand.hold()

    def run_by_id(self, file: QueueFile) -> None:
        """Settle wherever it stands."""
        self.found = file.settle_by_id(
            self.state.id, self.lane.queue, self.message_id, failed=self.failed
        )

    def apply(self) -> ScopeState | None:
        """Count it, and deliver its children."""
        state = self.state
        if self.hand is not None:
            self.hand.let_go()
        if self.by_id:
            if self.found is None:
                return None
            seq, before = self.found
            state.settled(failed=self.failed, unannounced=seq is None)
            if seq is not None:
                self.lane.forget(seq, self.message_id, stored_ready=before == READY)
        elif self.hand is not None:
            self.lane.drop(self.hand)
            state.settled(failed=self.failed)
        state.announced(self.children, self.seqs)
        return state

    def abandon(self) -> None:
        """The message stays in hand."""
        if self.hand is not None:
            self.hand.let_go()


class Claim(Operation):
    """Note that a message in hand is being handled; those of one transaction are noted together."""

    crash_point = "queue.claim"

    def __init__(self, hand: InHand) -> None:
        self.hand = hand
        hand.hold()

    def apply(self) -> None:
        """It may be handled now."""
        self.hand.let_go()

    def abandon(self) -> None:
        """It must not."""
        self.hand.let_go()


class PutBack(Operation):
    """Replace a message in hand by its next attempt."""

    crash_point = "queue.put_back"

    def __init__(
        self, state: ScopeState, lane: Lane, hand: InHand, body: bytes, not_before: float
    ) -> None:
        self.state = state
        self.lane = lane
        self.hand = hand
        self.body = body
        self.not_before = not_before
        hand.hold()

    def run(self, file: QueueFile) -> None:
        """Store the next attempt."""
        file.put_back(self.hand.message.seq, self.body, self.not_before)

    def apply(self) -> None:
        """Have it wait for its time."""
        self.hand.let_go()
        if self.lane.drop(self.hand):
            self.state.delayed(self.lane, self.hand.message.seq, self.not_before)

    def abandon(self) -> None:
        """The message stays in hand."""
        self.hand.let_go()


class Release(Operation):
    """Give a message back; it is a repeat from now on."""

    def __init__(self, lane: Lane, hand: InHand) -> None:
        self.lane = lane
        self.hand = hand
        hand.hold()

    def run(self, file: QueueFile) -> None:
        """Keep the mark over a restart."""
        file.mark_repeats([self.hand.message.seq])

    def apply(self) -> None:
        """Deliver it again."""
        self.hand.let_go()
        if self.lane.drop(self.hand):
            self.lane.give_back(self.hand.message)

    def abandon(self) -> None:
        """The message stays in hand."""
        self.hand.let_go()


class Load(Operation):
    """Read messages for delivery: these due ones, or the next spilled ones."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.due = lane.start_load()
        self.after = lane.loaded_to
        self.rows: list[Standing] = []

    def run(self, file: QueueFile) -> None:
        """Read, before the writes of the same transaction."""
        lane = self.lane
        if self.due:
            self.rows = file.standing(self.due)
        else:
            self.rows = file.ready_after(lane.scope_id, lane.queue, self.after, lane.load_rows)

    def apply(self) -> None:
        """Make them ready."""
        self.lane.loaded(self.rows, due=bool(self.due))

    def abandon(self) -> None:
        """They stay on disk; the lane asks again."""
        self.lane.load_failed(self.due)


class Locate(Operation):
    """Find one message: what the file has of it, and where memory has it."""

    def __init__(self, state: ScopeState, message_id: str) -> None:
        self._state = state
        self._message_id = message_id
        self._row: LocatedRow | None = None
        self.place: MessagePlace | None = None

    def run(self, file: QueueFile) -> None:
        """Read."""
        self._row = file.locate(self._state.id, self._message_id, MOST_AHEAD)

    def apply(self) -> None:
        """Say where it is by now."""
        row = self._row
        if row is None:
            return
        if row.state >= SETTLED:
            self.place = MessagePlace(row.queue, "settled", crashes=row.crashes)
            return
        lane = self._state.lane(row.queue)
        place = MessagePlace(row.queue, "ready", row.body, crashes=row.crashes)
        if self._message_id in lane.in_hand:
            self.place = replace(place, state="in_flight")
        elif row.seq in lane.delayed:
            self.place = replace(place, state="delayed", not_before=row.not_before)
        else:
            in_hand = sum(hand.message.seq < row.seq for hand in lane.in_hand.values())
            self.place = replace(place, ahead=max(row.before - in_hand, 0))


class OpenScope(Operation):
    """Find or make a scope; `opened` is told on the loop."""

    def __init__(
        self,
        scope: QueueScope,
        *,
        publisher: bool,
        opened: Callable[[QueueScope, ScopeRow], object],
    ) -> None:
        self._scope = scope
        self._publisher = publisher
        self._opened = opened
        self._row: ScopeRow | None = None

    def run(self, file: QueueFile) -> None:
        """Find or make it."""
        scope = self._scope
        self._row = file.open_scope(scope.execution_id, scope.generation, publisher=self._publisher)

    def apply(self) -> None:
        """Make it known."""
        if self._row is not None:
            self._opened(self._scope, self._row)


class EndPublishing(Operation):
    """Settle the publisher."""

    def __init__(self, state: ScopeState) -> None:
        self.state = state

    def run(self, file: QueueFile) -> None:
        """Store it."""
        file.end_publisher(self.state.id)

    def apply(self) -> ScopeState:
        """Count it."""
        self.state.publisher = PUBLISHER_ENDED
        return self.state


class Unname(Operation):
    """Begin a scope's deletion: from here on nobody finds it."""

    def __init__(self, state: ScopeState, *, forget: Callable[[ScopeState], None]) -> None:
        self._state = state
        self._forget = forget

    def run(self, file: QueueFile) -> None:
        """Take the name away."""
        file.unname(self._state.id)

    def apply(self) -> None:
        """Drop it from memory."""
        self._forget(self._state)


class Purge(Operation):
    """Remove some rows of an unnamed scope; `finished` when none was left."""

    finished = False

    def __init__(self, scope_id: int) -> None:
        self._scope_id = scope_id

    def run(self, file: QueueFile) -> None:
        """Remove a bounded number of rows, so that no commit is long."""
        self.finished = file.purge(self._scope_id)


class MarkClean(Operation):
    """End a run in order: what is in hand will be a repeat, the rest will not."""

    def __init__(self, in_hand: list[int]) -> None:
        self._in_hand = in_hand

    def run(self, file: QueueFile) -> None:
        """Store both."""
        file.mark_repeats(self._in_hand)
        file.mark_clean()
