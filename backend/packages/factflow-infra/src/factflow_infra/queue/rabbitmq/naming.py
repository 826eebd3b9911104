"""What queues are called at RabbitMQ, and what they are declared with.

RabbitMQ takes any name of up to 255 bytes that does not start with `amq.`, so a scoped name is used as it
is.
"""

from __future__ import annotations

from typing import Any

from factflow_infra.queue.brokered.naming import delay_of, delayed_for
from factflow_protocols.errors import QueueError
from factflow_protocols.queue import QueueScope

MOST_BYTES = 255
HANDLING_MS = 7 * 24 * 3_600 * 1_000
"""How long a handler may keep a message before brokers that know the argument (3.12 on) end its channel."""


def broker_name(scope: QueueScope, queue: str) -> str:
    """Return a queue's name at the broker. Raises `QueueError` for one that is too long."""
    name = scope.name(queue)
    if len(name.encode()) > MOST_BYTES:
        raise QueueError(
            f"queue {queue!r} has too long a name for the broker, which takes {MOST_BYTES} bytes",
            hint="give the queue a shorter name",
        )
    return name


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
            "x-message-ttl": delay_of(name),
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": broker_name(scope, target),
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
    return declared
