"""What travels through a queue: ids, where to enter, and which artefact to start from.

Small payloads ride along; larger ones are read from storage by their key (claim check).
"""

from __future__ import annotations

from typing import Any

import msgspec

from factflow_foundation.records import Child, OutcomeRecord

INLINE_LIMIT = 4096
"""Largest payload, in bytes, that rides along in an envelope."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, array_like=True):
    """One message on its way into a route. `attempt` counts from 1, per stage."""

    message_id: str
    origin_id: str
    route: str
    entry_stage: str
    input_key: str
    input_hash: str
    content_type: str
    metadata: dict[str, Any] = {}
    attempt: int = 1
    repeat: bool = False
    parent_id: str | None = None
    root_id: str | None = None
    replayed_from: str | None = None
    passed: list[str] = []
    """Stages that a condition skipped since the last record; set on retries only."""
    inline: bytes | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Envelope)


def encode(envelope: Envelope) -> bytes:
    """Return the envelope as bytes for a queue."""
    return _encoder.encode(envelope)


def decode(body: bytes) -> Envelope:
    """Return the envelope that `encode` made."""
    return _decoder.decode(body)


def child_envelope(
    parent: OutcomeRecord, child: Child, *, repeat: bool, inline: bytes | None = None
) -> Envelope:
    """Return the envelope of a message that a record announces."""
    return Envelope(
        message_id=child.message_id,
        origin_id=child.origin_id,
        route=child.route,
        entry_stage=child.entry_stage,
        input_key=child.input_key,
        input_hash=child.input_hash,
        content_type=child.content_type,
        metadata={**parent.metadata, **child.metadata},
        repeat=repeat,
        parent_id=parent.lineage_id,
        root_id=parent.root_id or parent.lineage_id,
        inline=inline if inline is not None and len(inline) <= INLINE_LIMIT else None,
    )
