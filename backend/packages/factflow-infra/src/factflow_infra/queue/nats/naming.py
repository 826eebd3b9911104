"""What queues are called at NATS: each is a stream of its own with one consumer, so it can be counted and
deleted by itself.

A stream's name is a folder at the server and a token of a subject: no dots, no white space, no wildcards.
"""

from __future__ import annotations

import re

from factflow_protocols.errors import QueueError
from factflow_protocols.queue import QueueScope

MOST_BYTES = 255
CONSUMER = "factflow"
"""The one consumer of each stream, shared by all processes."""
_SUBJECTS = "factflow."


def stream_name(scope: QueueScope, queue: str) -> str:
    """Return a queue's stream. Raises `QueueError` for a name that is too long.

    What a stream cannot have in its name stands there as `=` and its bytes in hexadecimal.
    """
    name = re.sub(r"[^A-Za-z0-9_:-]", _as_bytes, scope.name(queue))
    if len(name) > MOST_BYTES:
        raise QueueError(
            f"queue {queue!r} has too long a name for the broker, which takes {MOST_BYTES} bytes",
            hint="give the queue a shorter name, of letters, digits, - and _",
        )
    return name


def subject(stream: str) -> str:
    """Return where messages for a stream are published."""
    return _SUBJECTS + stream


def _as_bytes(found: re.Match[str]) -> str:
    return "".join(f"={byte:02X}" for byte in found[0].encode())
