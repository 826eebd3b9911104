"""One route of one execution: takes messages from its queue and hands them to the handler.

A paused route takes none: what it has in hand goes on to its end, and its queue keeps filling. Each
message waits for its turn at the process's gate: one suspected of ending the process runs alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from factflow_engine.execution_spec import RouteState
from factflow_engine.message_handler import MessageHandler
from factflow_engine.route_context import RouteContext
from factflow_engine.run_gate import Turn
from factflow_engine.stage import Stage
from factflow_engine.suspects import is_suspect, turn_reason
from factflow_foundation import logs
from factflow_protocols.queue import Consumer, Delivery

ABANDON_SECONDS = 1.0
"""How long a cancelled task may take to end before it is left behind."""

log = logs.logger(__name__)


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
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[Any] | None] = set()
        self._paused = False
        self._turns: set[Turn] = set()
        self._at_gate: set[asyncio.Task[Any] | None] = set()
        self._stopping = False

    @property
    def state(self) -> RouteState:
        """Tell whether the route takes messages; a paused one may still have some in hand."""
        if self._stopping or self._consumer is None:
            return "stopped"
        return "paused" if self._paused else "running"

    def start(self, queue: str, *, paused: bool = False) -> None:
        """Subscribe and begin to take messages, unless the route is paused."""
        self._consumer = self.context.queue.subscribe(self.context.scope, queue)
        self._paused = paused
        self._take_messages()

    def pause(self) -> None:
        """Take no more messages; those in hand go on to their end."""
        self._paused = True
        for task in self._idle:
            if task is not None:
                task.cancel()  # it waits at the queue and has nothing in hand

    def resume(self) -> None:
        """Take messages again."""
        self._paused = False
        self._take_messages()

    async def stop(self, grace_seconds: float) -> None:
        """Stop taking; messages in hand may end within the grace period, then they are cancelled.

        A handler that ignores its cancellation is left behind.
        """
        self._stopping = True
        if self._consumer is not None:
            await self._consumer.close()
        for task in self._at_gate:
            if task is not None:
                task.cancel()  # nothing of its message's handling has begun
        if self._tasks:
            _, pending = await asyncio.wait(set(self._tasks), timeout=grace_seconds)
            for task in pending:
                task.cancel()
            if pending:
                await asyncio.wait(pending, timeout=ABANDON_SECONDS)
        for turn in self._turns:
            turn.end()  # of those left behind: others must not wait for them

    def _take_messages(self) -> None:
        """Have as many hands at work as the route may have."""
        consumer = self._consumer
        if consumer is None or self._paused or self._stopping:
            return
        staying = {task for task in self._tasks if not task.done() and not task.cancelling()}
        name = f"{self.context.execution_id}/{self.context.route_id}"
        for _ in range(self._hands - len(staying)):
            task = asyncio.create_task(self._work(consumer), name=name)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, consumer: Consumer) -> None:
        while not self._stopping and not self._paused:
            delivery = consumer.take_nowait() or await self._wait_at(consumer)
            self.in_flight += 1
            try:
                await self._handle(delivery)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self._on_fault(error)
                raise
            finally:
                self.in_flight -= 1

    async def _wait_at(self, consumer: Consumer) -> Delivery:
        task = asyncio.current_task()
        self._idle.add(task)
        try:
            return await consumer.take()
        finally:
            self._idle.discard(task)

    async def _handle(self, delivery: Delivery) -> None:
        turn = await self._turn(delivery)
        self._turns.add(turn)
        try:
            await self._handler.handle(delivery)
        finally:
            self._turns.discard(turn)
            turn.end()

    async def _turn(self, delivery: Delivery) -> Turn:
        """Wait until the message may be handled; tell meanwhile what it waits for."""
        gate, alone = self.context.gate, is_suspect(delivery)
        turn = gate.enter_nowait(alone=alone)
        if turn is None:
            task = asyncio.current_task()
            self._at_gate.add(task)
            try:
                with self.context.holder.noted(turn_reason(delivery)):
                    turn = await gate.enter(alone=alone)
            finally:
                self._at_gate.discard(task)
        if alone:
            log.warning(
                "handled alone",
                execution_id=self.context.execution_id,
                route=self.context.route_id,
                message_id=delivery.message_id,
                crashes=delivery.crashes,
            )
        return turn
