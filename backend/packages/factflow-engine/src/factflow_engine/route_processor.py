"""One route of one execution: takes messages from its queue and hands them to the handler.

A route that is paused, held back by what waits downstream, or kept by an open breaker takes none: what it
has in hand goes on to its end, and its queue keeps filling. While a breaker looks for a probe, a single
hand takes one message after the other. Each message waits for its turn at the process's gate: one
suspected of ending the process runs alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from factflow_engine.execution_spec import BreakerRuntime, RouteState
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
        batches = sum(stage.batch_size for stage in stages)
        self._hands = max(prefetch, context.highest_concurrency, batches)
        self._breakers = [stage.breaker for stage in stages if stage.breaker is not None]
        self._on_fault = on_fault
        self._consumer: Consumer | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle: set[asyncio.Task[Any] | None] = set()
        self._paused = False
        self._single: asyncio.Task[Any] | None = None
        self._turns: set[Turn] = set()
        self._at_gate: set[asyncio.Task[Any] | None] = set()
        self._stopping = False

    @property
    def state(self) -> RouteState:
        """Tell whether the route takes messages; a paused one may still have some in hand."""
        if self._stopping or self._consumer is None:
            return "stopped"
        return "paused" if self._paused else "running"

    @property
    def breakers(self) -> tuple[BreakerRuntime, ...]:
        """Return the breakers that are not closed."""
        return tuple(shown for b in self._breakers if (shown := b.runtime) is not None)

    def start(self, queue: str, *, paused: bool = False) -> None:
        """Subscribe and begin to take messages, unless the route is paused."""
        self._consumer = self.context.queue.subscribe(
            self.context.scope, queue, prefetch=self._hands
        )
        self._paused = paused
        self._take_messages()

    def pause(self) -> None:
        """Take no more messages; those in hand go on to their end."""
        self._paused = True
        self.adjust()

    def resume(self) -> None:
        """Take messages again."""
        self._paused = False
        self.adjust()

    def adjust(self) -> None:
        """Take more or fewer messages, as what holds the route has changed."""
        if self._may_take == "all":
            self._single = None
        if self._may_take == "none":
            for task in self._idle:
                if task is not None:
                    task.cancel()  # it waits at the queue and has nothing in hand
        else:
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
        may_take = self._may_take
        if consumer is None or may_take == "none":
            return
        if may_take == "one":
            wanted = int(self._single_is_free)
        else:
            staying = {task for task in self._tasks if not task.done() and not task.cancelling()}
            wanted = self._hands - len(staying)
        name = f"{self.context.execution_id}/{self.context.route_id}"
        for _ in range(wanted):
            task = asyncio.create_task(self._work(consumer), name=name)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @property
    def _may_take(self) -> Literal["all", "one", "none"]:
        """Tell how many messages the route may take by all that can hold it."""
        pressure = self.context.backpressure
        if self._stopping or self._paused:
            return "none"
        if pressure is not None and pressure.holds(self.context.route_id):
            return "none"
        if not self._breakers:
            return "all"
        allowed = {breaker.lets_take for breaker in self._breakers}
        return "none" if "none" in allowed else "one" if "one" in allowed else "all"

    @property
    def _single_is_free(self) -> bool:
        """Tell whether no hand is at it, where only one may be."""
        single = self._single
        return single is None or single.done() or bool(single.cancelling())

    def _takes(self) -> bool:
        """Tell whether this hand may take a message; the first that asks is the one when only one may."""
        may_take = self._may_take
        if may_take == "one":
            task = asyncio.current_task()
            if self._single_is_free:
                self._single = task
            return self._single is task
        return may_take == "all"

    async def _work(self, consumer: Consumer) -> None:
        pressure = self.context.backpressure
        while self._takes():
            delivery = consumer.take_nowait() or await self._wait_at(consumer)
            self.in_flight += 1
            if pressure is not None:
                pressure.look()
            try:
                await self._handle(delivery)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                self._on_fault(error)
                raise
            finally:
                self.in_flight -= 1
                if pressure is not None:
                    pressure.look()

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
