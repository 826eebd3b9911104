"""Identity is derived, never drawn: doing a step twice finds or makes the same names.

    origin_id  = hash of the path a message took, independent of the execution
    message_id = hash of (execution, origin)
    lineage_id = hash of (execution, route, stage, message)

All three are 32 hex digits of BLAKE2b (RFC 7693) with a 16-byte digest; parts are joined with their
lengths, so that no two lists of parts hash alike. Execution ids are UUID version 7 (RFC 9562).
"""

from __future__ import annotations

import functools
import hashlib
import secrets
import time
import uuid

INIT_ORIGIN = "init"


def derive(*parts: str) -> str:
    """Return the hash that names these parts."""
    joined = "\0".join(parts)
    # Lengths are of the parts as bytes: for ASCII, which nearly all are, these are those of the texts.
    lengths = map(len, parts if joined.isascii() else (part.encode() for part in parts))
    header = ",".join(map(str, lengths))
    return hashlib.blake2b(f"{header}\0{joined}".encode(), digest_size=16).hexdigest()


def init_origin(route: str) -> str:
    """Return the origin of an execution's init message into `route`."""
    return derive(INIT_ORIGIN, route)


def child_origin(parent_origin: str, route: str, stage: str, queue: str, name: str) -> str:
    """Return the origin behind one queue hop; `name` is the child's ordinal or the adapter's key."""
    return derive("hop", parent_origin, route, stage, queue, name)


def message_id(execution_id: str, origin_id: str) -> str:
    """Return the id a message of this origin has within an execution."""
    return derive("message", execution_id, origin_id)


@functools.lru_cache(maxsize=4096)  # asked for several times while a message is handled
def lineage_id(execution_id: str, route: str, stage: str, message: str) -> str:
    """Return the id of the lineage row for a message at a stage."""
    return derive("lineage", execution_id, route, stage, message)


def execution_id() -> str:
    """Return a new UUID version 7: sorts by creation time (milliseconds)."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))


class ChildNames:
    """Names siblings: by ordinal, or by the adapter's key with repeats numbered (`k`, `k#2`, …)."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._ordinal = 0

    def next(self, key: str | None) -> str:
        """Return the next child's name."""
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        if key is None:
            return f"@{ordinal}"
        count = self._seen[key] = self._seen.get(key, 0) + 1
        return f"={key}" if count == 1 else f"={key}#{count}"
