"""What of a scope's messages waits for its time, as far as this process sent it there or found it there.

Others may send messages to wait, and take those that this process sent: what is known here of a message is
forgotten when its time has come, wherever it arrives.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable

from factflow_protocols.queue import OutgoingMessage

MOST_REMEMBERED = 2_000
"""Messages that are kept as a whole, for whoever asks for one."""


class Waits:
    """Time is what `now` says (Unix seconds)."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._times: defaultdict[str, list[float]] = defaultdict(list)
        self._found: Counter[str] = Counter()
        self._messages: dict[str, OutgoingMessage] = {}

    @property
    def queues(self) -> list[str]:
        """Return the queues that messages wait for, or did."""
        return list(dict.fromkeys([*self._times, *self._found]))

    def found(self, queue: str, count: int) -> None:
        """Count messages that wait already; when their time comes is not known."""
        self._found[queue] += count

    def sent(self, message: OutgoingMessage) -> None:
        """Note a message that was sent to wait."""
        known = self._messages.get(message.message_id)
        if known is None or known.not_before != message.not_before:
            heapq.heappush(self._times[message.queue], message.not_before)
            self._messages[message.message_id] = message
            if len(self._messages) > MOST_REMEMBERED:
                del self._messages[next(iter(self._messages))]

    def came(self, queue: str, message_id: str) -> None:
        """Note a message that came back from where it waited, to be handled or to wait on."""
        if message_id not in self._messages and self._found[queue] > 0:
            self._found[queue] -= 1

    def count(self, queue: str) -> int:
        """Return how many messages wait for a queue."""
        times, now = self._times[queue], self._now()
        while times and times[0] <= now:
            heapq.heappop(times)
        return len(times) + self._found[queue]

    def find(self, message_id: str) -> OutgoingMessage | None:
        """Return a message that waits, as it was sent."""
        message = self._messages.get(message_id)
        if message is not None and message.not_before <= self._now():
            del self._messages[message_id]
            return None
        return message
