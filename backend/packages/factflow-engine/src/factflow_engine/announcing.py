"""The end of a message's handling: its children in, itself out, as one act."""

from __future__ import annotations

from factflow_engine import envelope as envelopes
from factflow_engine.lineage_rows import announced_count
from factflow_engine.outcome_draft import Work
from factflow_engine.route_context import RouteContext
from factflow_foundation.records import Child, OutcomeRecord
from factflow_protocols.queue import Delivery, OutgoingMessage

CHUNK = 1_000
"""Messages per act; a larger fan-out goes out in chunks, the last one together with the settle."""


async def announce(
    context: RouteContext, delivery: Delivery, record: OutcomeRecord, work: Work
) -> None:
    """Publish the children a committed record names and settle its message.

    Published again after a crash between two chunks, children that are already known change nothing.
    """
    if record.outcome == "stored" and work.fresh is not None and record.children:
        work.inline = {record.children[0].message_id: work.fresh.data}
    chunk: list[OutgoingMessage] = []
    if announced_count(context.graph, record):
        async for children in context.store.children(record):
            for child in children:
                if len(chunk) == CHUNK:
                    await _publish(context, chunk)
                    chunk = []
                chunk.append(_outgoing(context, record, child, work))
    last = chunk
    failed = record.outcome == "failed"
    await context.holder.until_done(
        lambda: context.queue.settle(delivery, children=last, failed=failed)
    )


async def _publish(context: RouteContext, chunk: list[OutgoingMessage]) -> None:
    await context.holder.until_done(lambda: context.queue.publish(context.scope, chunk))


def _outgoing(
    context: RouteContext, record: OutcomeRecord, child: Child, work: Work
) -> OutgoingMessage:
    envelope = envelopes.child_envelope(
        record, child, repeat=work.repeat, inline=work.inline.get(child.message_id)
    )
    return OutgoingMessage(
        context.queue_of(child.route), child.message_id, envelopes.encode(envelope)
    )
