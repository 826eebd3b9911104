"""One adapter in its place in a route, ready to be called."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar

from factflow_engine.adapter_hooks import call_hook
from factflow_engine.adapter_threads import adapter_threads
from factflow_engine.adaptive_limit import AdaptiveLimit
from factflow_engine.batching import Answer, BatchGatherer, BatchResults
from factflow_engine.circuit_breaker import CircuitBreaker
from factflow_engine.conditions import Condition
from factflow_engine.config.models import AdapterConfig, BatchConfig
from factflow_engine.config.secrets import referenced_values
from factflow_engine.registry import AdapterRegistry
from factflow_engine.slots import Slots
from factflow_engine.stall_watch import CallsAdapters
from factflow_foundation.records import ErrorInfo
from factflow_protocols.errors import FactflowError, PermanentError, TransientError
from factflow_protocols.pipeline import (
    AdapterEnvironment,
    AdapterResult,
    PipelineContext,
    StatefulAdapter,
)

TRACE_FRAMES = 12
MAX_ERROR_TEXT = 20_000
_OUR_FRAMES = tuple(
    str(Path(file).parent) for file in (__file__, asyncio.__file__, concurrent.futures.__file__)
)


class StageTimeoutError(TransientError):
    """A call of an adapter took longer than the stage's `timeout_seconds`."""

    code: ClassVar[str] = "stage_timeout"

    def __init__(self, stage: str, seconds: float) -> None:
        super().__init__(
            f"stage {stage!r} did not answer within {seconds:g} s",
            hint="raise `timeout_seconds` of the stage",
        )


class Stage(CallsAdapters):
    """Builds the adapter and calls it: async, in a thread, or with a batch of messages.

    `slots` are those of its route; one is held while the adapter runs, and `adaptive_limit` is told how long
    it took. `breaker` says whether it may be called at all.
    """

    def __init__(
        self,
        config: AdapterConfig,
        registry: AdapterRegistry,
        environ: Mapping[str, str],
        route_id: str,
        slots: Slots,
        *,
        adaptive_limit: AdaptiveLimit | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        registered = registry.get(config.type)
        self.name = config.stage_name
        self.label = f"{route_id}/{self.name}"
        self.adapter_type = config.type
        self.adapter_version = registered.version
        self.condition = Condition(config.condition) if config.condition else None
        self._adapter = registry.build(config.type, config.config, environ)
        self._timeout = config.timeout_seconds
        self._slots = slots
        self._adaptive_limit = adaptive_limit
        self.breaker = breaker
        self._secrets = referenced_values(config.config, environ)
        self.batch_size = 0
        self._gatherer: BatchGatherer | None = None
        if registered.handles_batches:
            batch = config.batch or BatchConfig()
            self.batch_size = batch.size
            self._gatherer = BatchGatherer(batch, self._call_batch)
        else:
            self._is_async = inspect.iscoroutinefunction(self._adapter.process)

    async def open(self, environment: AdapterEnvironment) -> None:
        """Let a stateful adapter acquire what it needs; raises as `call_hook` does."""
        if isinstance(self._adapter, StatefulAdapter):
            await call_hook(self._adapter.open, environment)

    async def close(self) -> None:
        """End waiting batches and let the adapter release what it holds; a closed breaker wakes nobody."""
        if self.breaker is not None:
            self.breaker.close()
        if self._gatherer is not None:
            await self._gatherer.close()
        if isinstance(self._adapter, StatefulAdapter):
            await call_hook(self._adapter.close)

    @property
    def gathering(self) -> list[str]:
        """Return the ids of the messages that wait here for their batch to fill."""
        return self._gatherer.waiting if self._gatherer is not None else []

    async def call(self, context: PipelineContext, begin: Callable[[], None]) -> Answer:
        """Return what the adapter made of a message; raise what it raised.

        `begin` is called when its turn has come. A message that waits for its batch holds no slot.
        """
        if self._gatherer is not None:
            return await self._gatherer.submit(context, begin)
        async with self._slots:
            begin()
            if self._is_async:
                result = await self._limited(self._adapter.process(context))
            else:
                result = await self._limited(adapter_threads.run(self._adapter.process, context))
        return Answer(self._checked(result))

    def describe(self, error: BaseException) -> ErrorInfo:
        """Return an error as it may be stored and shown: bounded, and without the secrets of the
        stage's settings."""
        frames = traceback.format_exception(
            type(error), error, _adapter_frames(error.__traceback__), limit=-TRACE_FRAMES
        )
        trace = "".join(frames)
        message = str(error) or type(error).__name__
        if isinstance(error, FactflowError) and error.hint:
            message = f"{message} ({error.hint})"
        return ErrorInfo(
            type=type(error).__name__,
            message=self._redact(message)[:MAX_ERROR_TEXT],
            traceback=self._redact(trace)[-MAX_ERROR_TEXT:],
        )

    def _redact(self, text: str) -> str:
        for reference, value in self._secrets.items():
            if value:
                text = text.replace(value, reference)
        return text

    async def _call_batch(
        self, contexts: list[PipelineContext], begin: Callable[[], None]
    ) -> BatchResults:
        async with self._slots:
            begin()
            if inspect.iscoroutinefunction(self._adapter.process_batch):
                results = await self._limited(self._adapter.process_batch(contexts))
            else:
                results = await self._limited(
                    adapter_threads.run(self._adapter.process_batch, contexts)
                )
        return [
            result if isinstance(result, Exception) else self._checked(result) for result in results
        ]

    async def _limited(self, call: Any) -> Any:
        if self._adaptive_limit is not None:
            return await self._timed(call, self._adaptive_limit)
        return await call if self._timeout is None else await self._in_time(call, self._timeout)

    async def _timed(self, call: Any, adaptive_limit: AdaptiveLimit) -> Any:
        """Return what the call returns, and tell how long it took."""
        begun, failed = time.perf_counter(), True
        try:
            limit = self._timeout
            result = await call if limit is None else await self._in_time(call, limit)
            failed = False
        finally:
            adaptive_limit.observe(self.name, time.perf_counter() - begun, failed=failed)
        return result

    async def _in_time(self, call: Any, seconds: float) -> Any:
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await call
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StageTimeoutError(self.name, seconds) from error

    def _checked(self, result: Any) -> AdapterResult | None:
        if result is None or isinstance(result, AdapterResult):
            return result
        raise PermanentError(
            f"adapter {self.adapter_type!r} returned {type(result).__name__}; "
            "an adapter returns an AdapterResult or None",
            hint="return AdapterResult(payload), AdapterResult(emitted=[...]) or None",
        )


def _adapter_frames(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first frame that is neither the engine's nor asyncio's."""
    while trace is not None and trace.tb_next is not None:
        if not trace.tb_frame.f_code.co_filename.startswith(_OUR_FRAMES):
            break
        trace = trace.tb_next
    return trace
