"""What is on its way through the broker to the scope's owner: a settle, or an announcement."""

from __future__ import annotations

import msgspec

from factflow_infra.queue.ledger.batch import Announced, Settled


class SettleEvent(msgspec.Struct, frozen=True, array_like=True):
    """`children` are ids and queues in turn. One without a `message_id` settles nothing: it announces its
    children, tells who waits for `queue` that all before it have arrived, or that a member made `queue` for
    messages to wait in."""

    message_id: str
    queue: str
    failed: bool
    children: tuple[tuple[str, str], ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SettleEvent)


def encode(settled: Settled) -> bytes:
    """Return an event as bytes."""
    children = tuple((child.message_id, child.queue) for child in settled.children)
    return _encoder.encode(SettleEvent(settled.message_id, settled.queue, settled.failed, children))


def decode(body: bytes) -> Settled:
    """Return what an event says. Raises `msgspec.DecodeError` for what is none."""
    event = _decoder.decode(body)
    children = tuple(Announced(*child) for child in event.children)
    return Settled(event.message_id, event.queue, event.failed, children)
