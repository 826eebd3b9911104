"""The end of a message's handling: its children in, itself out, as one act.

When the list of a large fan-out's children cannot be read, the message fails: those of its children that
were announced by then go on, the others cannot be named.
"""

from __future__ import annotations

import msgspec

from factflow_engine import envelope as envelopes
from factflow_engine.lineage_rows import announced_count, row_of
from factflow_engine.outcome_draft import Work
from factflow_engine.route_context import RouteContext
from factflow_foundation import logs
from factflow_foundation.records import Child, ErrorInfo, OutcomeRecord
from factflow_protocols.errors import StorageError
from factflow_protocols.queue import Delivery, OutgoingMessage

CHUNK = 1_000
"""Messages per act; a larger fan-out goes out in chunks, the last one together with the settle."""

log = logs.logger(__name__)


async def announce(
    context: RouteContext, delivery: Delivery, record: OutcomeRecord, work: Work
) -> None:
    """Publish the children a committed record names, write its row, and settle its message.

    Published again after a crash between two chunks, children that are already known change nothing.
    """
    if record.outcome == "stored" and work.fresh is not None and record.children:
        data = work.fresh.data
        if len(data) <= envelopes.INLINE_LIMIT:
            work.inline = {record.children[0].message_id: data}
        elif record.output_key is not None:
            context.recent.put(record.output_key, data)
    last: list[OutgoingMessage] = []
    if announced_count(context.graph, record):
        try:
            last = await _all_but_the_last_chunk(context, record, work)
        except StorageError as error:
            log.error("children cannot be announced", key=record.key, reason=error.message)
            record = _as_failure(record, error)
    context.lineage.record(row_of(context.graph, record))
    failed = record.outcome == "failed"
    await context.holder.until_done(context.queue.settle, delivery, children=last, failed=failed)


async def _all_but_the_last_chunk(
    context: RouteContext, record: OutcomeRecord, work: Work
) -> list[OutgoingMessage]:
    """Publish children chunk by chunk; return the last chunk, to go out with the settle."""
    chunk: list[OutgoingMessage] = []
    for part in context.store.children_parts(record):
        for child in await context.holder.until_done(part):
            if len(chunk) == CHUNK:
                await _publish(context, chunk)
                chunk = []
            chunk.append(_outgoing(context, record, child, work))
    return chunk


def _as_failure(record: OutcomeRecord, error: StorageError) -> OutcomeRecord:
    info = ErrorInfo(type(error).__name__, f"its children cannot be announced: {error.message}")
    return msgspec.structs.replace(
        record, outcome="failed", error=info, children=[], children_keys=[], children_count=0
    )


async def _publish(context: RouteContext, chunk: list[OutgoingMessage]) -> None:
    await context.holder.until_done(context.queue.publish, context.scope, chunk)


def _outgoing(
    context: RouteContext, record: OutcomeRecord, child: Child, work: Work
) -> OutgoingMessage:
    envelope = envelopes.child_envelope(
        record, child, repeat=work.repeat, inline=work.inline.get(child.message_id)
    )
    return OutgoingMessage(
        context.queue_of(child.route), child.message_id, envelopes.encode(envelope)
    )
