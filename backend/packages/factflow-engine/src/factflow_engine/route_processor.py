"""One route of one execution: takes messages from its queue and hands them to the handler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from factflow_engine.message_handler import MessageHandler
from factflow_engine.route_context import RouteContext
from factflow_engine.stage import Stage
from factflow_protocols.queue import Consumer

ABANDON_SECONDS = 1.0
"""How long a cancelled task may take to end before it is left behind."""


class ReactiveRouteProcessor:
    """Holds up to `prefetch` messages in hand, of which `concurrency` have an adapter running.

    `on_fault` is told of an error of the engine itself, which ends the execution: a message must never
    get lost in silence.
    """

    def __init__(
        self,
        context: RouteContext,
        stages: list[Stage],
        prefetch: int,
        on_fault: Callable[[BaseException], None],
    ) -> None:
        self.context = context
        self.in_flight = 0
        self._handler = MessageHandler(context, stages)
        # A batch can only fill when enough messages are in hand to wait for it.
        self._hands = max(prefetch, sum(stage.batch_size for stage in stages))
        self._on_fault = on_fault
        self._consumer: Consumer | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    @property
    def state(self) -> Literal["running", "stopped"]:
        """Tell whether the route takes messages."""
        return "stopped" if self._stopping or not self._tasks else "running"

    def start(self, queue: str) -> None:
        """Subscribe and begin to take messages."""
        consumer = self.context.queue.subscribe(self.context.scope, queue)
        self._consumer = consumer
        name = f"{self.context.execution_id}/{self.context.route_id}"
        self._tasks = [
            asyncio.create_task(self._work(consumer), name=f"{name}#{number}")
            for number in range(self._hands)
        ]

    async def stop(self, grace_seconds: float) -> None:
        """Stop taking; messages in hand may end within the grace period, then they are cancelled.

        A handler that ignores its cancellation is left behind.
        """
        self._stopping = True
        if self._consumer is not None:
            await self._consumer.close()
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=grace_seconds)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=ABANDON_SECONDS)

    async def _work(self, consumer: Consumer) -> None:
        while not self._stopping:
            delivery = consumer.take_nowait() or await consumer.take()
            self.in_flight += 1
            try:
                await self._handler.handle(delivery)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self._on_fault(error)
                raise
            finally:
                self.in_flight -= 1
