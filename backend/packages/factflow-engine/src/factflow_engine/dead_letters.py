"""Copies of failed messages, for a dead-letter queue that no route consumes.

A copy is the failed message's input under `_dead`, with a sidecar that tells what went wrong where. It
is written before its message is settled, and create-only, so that doing it again changes nothing. A queue
that a route consumes gets a message instead (`OutcomeDraft`), and no copy.
"""

from __future__ import annotations

from typing import Any

import msgspec

from factflow_engine import payloads
from factflow_engine.route_context import RouteContext
from factflow_engine.suspects import ProcessKilledError
from factflow_foundation import keys, logs
from factflow_foundation.records import OutcomeRecord
from factflow_protocols.errors import ObjectExistsError, StorageError

log = logs.logger(__name__)


async def keep_dead_letter(
    context: RouteContext, record: OutcomeRecord, data: bytes | None = None
) -> None:
    """Store the copy that the route's dead-letter queue asks for; none when it asks for none.

    `data` is the input, if it is in memory. Waits out trouble of the store. An input that cannot be read,
    or that may have ended the process, leaves the sidecar alone.
    """
    queue = context.kept_dead_letters
    if queue is None or record.outcome != "failed":
        return
    key = keys.dead_letter_key(record.execution_id, queue, record.message_id)
    content_type = record.input_content_type or payloads.JSON
    if data is None and not _ended_the_process(record):
        data = await _input(context, record)
    sidecar = _sidecar(queue, record)
    if data is not None:
        sidecar |= {"output_hash": payloads.digest(data), "size": len(data)}
        sidecar |= {"content_type": content_type}
    extension = keys.extension_for(content_type) if data is not None else ""
    try:
        await context.holder.until_done(
            context.store.storage.write, key, data, sidecar, extension=extension
        )
    except ObjectExistsError:
        return
    except StorageError as error:
        # The failure itself is on record; a store that cannot hold the copy must not stop the route.
        log.warning("dead letter not kept", key=key, reason=error.message)


def _ended_the_process(record: OutcomeRecord) -> bool:
    """Tell whether the process ended while it handled the message: reading its input may be the cause."""
    return record.error is not None and record.error.type == ProcessKilledError.__name__


async def _input(context: RouteContext, record: OutcomeRecord) -> bytes | None:
    key, expected = record.input_key or "", record.input_hash or ""
    try:
        return await context.holder.until_done(context.store.read_input, key, expected)
    except StorageError:
        return None


def _sidecar(queue: str, record: OutcomeRecord) -> dict[str, Any]:
    return {
        "dead_letter_queue": queue,
        "execution_id": record.execution_id,
        "failed_route": record.route,
        "failed_stage": record.stage,
        "message_id": record.message_id,
        "origin_id": record.origin_id,
        "lineage_id": record.lineage_id,
        "error": msgspec.to_builtins(record.error),
        "attempts": record.attempts,
        "input_key": record.input_key,
        "input_hash": record.input_hash,
        "failed_at": record.completed_at,
        "metadata": record.metadata,
    }
