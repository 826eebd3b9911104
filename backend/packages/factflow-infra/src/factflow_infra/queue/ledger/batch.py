"""What one transaction of a ledger takes in, and what it tells afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from factflow_infra.queue.ledger.tables import PUBLISHER_ENDED, PUBLISHER_NONE
from factflow_protocols.queue import Progress


@dataclass(frozen=True, slots=True)
class Announced:
    """A message that goes into `queue`."""

    message_id: str
    queue: str


@dataclass(frozen=True, slots=True)
class Settled:
    """A message of `queue` whose handling ended, and what its settling announces."""

    message_id: str
    queue: str
    failed: bool = False
    children: tuple[Announced, ...] = ()


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the ledger has of a message."""

    queue: str
    settled: bool
    crashes: int
    claimant: int | None = None
    """Who handles it, or did when its process ended; None where that is not counted."""
    laps: int = 0
    """How many of its attempts gave way to the next one, which is in the queue for sure."""


@dataclass(slots=True)
class QueueCount:
    """Messages of one queue: announced so far, settled of these, failed of those."""

    announced: int = 0
    settled: int = 0
    failed: int = 0

    def add(self, other: QueueCount) -> None:
        """Count what another one counted."""
        self.announced += other.announced
        self.settled += other.settled
        self.failed += other.failed


@dataclass(frozen=True, slots=True)
class ScopeEntry:
    """A scope as the ledger has it; `counts` has every queue that was ever named, `made` those that the
    broker was given."""

    id: int
    epoch: int
    publisher: int
    cursor: int
    crashed: bool
    boot: str | None
    counts: dict[str, QueueCount]
    made: frozenset[str]

    @property
    def progress(self) -> Progress:
        """Return how far it is; the publisher is one item."""
        total = QueueCount()
        for count in self.counts.values():
            total.add(count)
        has, ended = self.publisher != PUBLISHER_NONE, self.publisher == PUBLISHER_ENDED
        return Progress(total.announced + has, total.settled + ended, total.failed)


@dataclass(slots=True)
class LedgerBatch:
    """Changes of one scope that are committed together, in this order.

    Announcements of known messages and settles of settled ones change nothing; a settle that comes
    before its announcement counts as both.
    """

    announced: list[Announced] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    unclaimed: list[str] = field(default_factory=list)
    publisher: int | None = None
    cursor: int | None = None


@dataclass(slots=True)
class LedgerChanges:
    """What a batch changed: counts by queue, and of the messages announced by the batch itself those that
    were `known` before."""

    counts: dict[str, QueueCount] = field(default_factory=dict)
    known: dict[str, LedgerEntry] = field(default_factory=dict)

    def count(self, queue: str) -> QueueCount:
        """Return the count of a queue, made on first mention."""
        return self.counts.setdefault(queue, QueueCount())
