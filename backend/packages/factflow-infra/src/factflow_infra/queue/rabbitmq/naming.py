"""What queues are called at the broker, and what they are declared with.

RabbitMQ takes any name of up to 255 bytes that does not start with `amq.`, so a scoped name is used as it
is. Names that start with an underscore are ours: no pipeline can have them.
"""

from __future__ import annotations

from typing import Any

from factflow_protocols.errors import QueueError
from factflow_protocols.queue import QueueScope

MOST_BYTES = 255
SETTLED = "_settled"
"""The queue of a scope's settle events."""
RUNGS_MS = (100, 400, 1_600, 6_400, 25_600, 102_400, 409_600, 1_638_400)
"""How long the delay queues keep a message. In each all wait equally long, so none waits behind another."""
HANDLING_MS = 7 * 24 * 3_600 * 1_000
"""How long a handler may keep a message before brokers that know the argument (3.12 on) end its channel."""
_DELAY = "_delay:"


def broker_name(scope: QueueScope, queue: str) -> str:
    """Return a queue's name at the broker. Raises `QueueError` for one that is too long."""
    name = scope.name(queue)
    if len(name.encode()) > MOST_BYTES:
        raise QueueError(
            f"queue {queue!r} has too long a name for the broker, which takes {MOST_BYTES} bytes",
            hint="give the queue a shorter name",
        )
    return name


def delay_queue(queue: str, milliseconds: int) -> str:
    """Return the name of the queue in which messages for `queue` wait this long."""
    return f"{_DELAY}{milliseconds}:{queue}"


def delayed_for(name: str) -> str | None:
    """Return the queue whose messages wait in this one, None when it is no delay queue."""
    if not name.startswith(_DELAY):
        return None
    return name.removeprefix(_DELAY).partition(":")[2]


def rung(seconds: float) -> int:
    """Return the longest wait (ms) that does not overshoot, or the shortest there is."""
    fitting = [wait for wait in RUNGS_MS if wait <= seconds * 1_000]
    return fitting[-1] if fitting else RUNGS_MS[0]


def arguments(scope: QueueScope, name: str, version: tuple[int, ...]) -> dict[str, Any]:
    """Return what a queue is declared with on a broker of this version.

    No queue drops a message by itself: a delay queue holds on to each until its target has it, and
    redeliveries have no limit, which they have from RabbitMQ 4 on unless told otherwise.
    """
    declared: dict[str, Any] = {"x-queue-type": "quorum", "x-consumer-timeout": HANDLING_MS}
    if version >= (4,):
        declared["x-delivery-limit"] = -1
    target = delayed_for(name)
    if target is not None:
        declared |= {
            "x-message-ttl": int(name.removeprefix(_DELAY).partition(":")[0]),
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": broker_name(scope, target),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    return declared
