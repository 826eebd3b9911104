"""Puts an execution's first messages into its queues: the init message, or the items of a plan."""

from __future__ import annotations

from collections.abc import AsyncIterator

from factflow_engine import envelope as envelopes
from factflow_engine.config.graph import PipelineGraph
from factflow_engine.envelope import Envelope
from factflow_engine.execution_spec import ExecutionSpec, PlannedMessage
from factflow_engine.holding import Holder
from factflow_engine.payloads import JSON
from factflow_engine.route_context import EngineServices
from factflow_foundation import ids, keys
from factflow_protocols.queue import OutgoingMessage, QueueScope
from factflow_protocols.storage import StorageProtocol

CHUNK = 500


class Publisher:
    """One execution's publisher. It counts as an outstanding item until its last publish is confirmed,
    so that an execution cannot complete while messages are still to come."""

    def __init__(
        self, spec: ExecutionSpec, graph: PipelineGraph, scope: QueueScope, services: EngineServices
    ) -> None:
        self._spec = spec
        self._graph = graph
        self._scope = scope
        self._services = services
        self.published = 0
        """Items announced so far, those of earlier runs too."""
        self.holder = Holder(f"{spec.execution_id}/publisher")

    async def run(self) -> None:
        """Publish what has not been published yet, then settle the publisher.

        Items announced before are not announced again. Raises what reading the source raises.
        """
        queue, scope = self._services.queue, self._scope
        start = await self.holder.until_done(queue.publisher_cursor, scope)
        chunk: list[OutgoingMessage] = []
        position = self.published = start
        async for item in self._items(start):
            chunk.append(self._outgoing(item))
            position += 1
            if len(chunk) == CHUNK:
                await self._publish(chunk, position)
                chunk = []
        if chunk:
            await self._publish(chunk, position)
        await self.holder.until_done(queue.end_publishing, scope)

    async def _publish(self, chunk: list[OutgoingMessage], position: int) -> None:
        await self.holder.until_done(
            self._services.queue.publish, self._scope, chunk, cursor=position
        )
        self.published = position

    def _items(self, start: int) -> AsyncIterator[PlannedMessage]:
        if self._spec.source is not None:
            return self._spec.source.items(start)
        return self._init(start)

    async def _init(self, start: int) -> AsyncIterator[PlannedMessage]:
        if self._spec.skip_init or start > 0:
            return
        storage, execution_id = self._services.store.storage, self._spec.execution_id
        message = await self.holder.until_done(
            stored_init_message, storage, self._graph, execution_id
        )
        if message is not None:
            yield message

    def _outgoing(self, item: PlannedMessage) -> OutgoingMessage:
        message = ids.message_id(self._spec.execution_id, item.origin_id)
        envelope = Envelope(
            message_id=message,
            origin_id=item.origin_id,
            route=item.route,
            entry_stage=item.entry_stage,
            input_key=item.input_key,
            input_hash=item.input_hash,
            content_type=item.content_type,
            metadata=dict(item.metadata),
            replayed_from=item.replayed_from,
            repeat=self._spec.resumed,
        )
        queue = self._graph.route(item.route).inbound.queue
        return OutgoingMessage(queue, message, envelopes.encode(envelope))


async def stored_init_message(
    storage: StorageProtocol, graph: PipelineGraph, execution_id: str
) -> PlannedMessage | None:
    """Return the message an execution's stored init payload makes; None without an `init_message`.

    Raises `ObjectNotFoundError` when the payload is not stored.
    """
    init = graph.config.init_message
    if init is None:
        return None
    record = await storage.metadata(keys.init_key(execution_id))
    return PlannedMessage(
        origin_id=ids.init_origin(init.route),
        route=init.route,
        entry_stage=graph.stages(init.route)[0].stage_name,
        input_key=str(record["output_key"]),
        input_hash=str(record.get("output_hash", "")),
        content_type=JSON,
    )
