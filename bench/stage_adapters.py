"""The stages as adapters, for the engine in this process and for servers (`--adapters`)."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from work import payload, stage_a, stage_b, stage_c

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterEnvironment,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)

CALLS: Counter[str] = Counter()
"""How often each stage was called in this process."""
BEAT = 0.002
"""Seconds between two looks of the watcher at the loop."""


class FanConfig(AdapterConfigModel):
    """`count` children of about `size` bytes; `through_a`: as stage A leaves them; `lazily`: one by one.
    While the execution runs, the event loop is watched; its longest stall goes to the file `watch`."""

    count: int
    size: int
    through_a: bool = False
    lazily: bool = False
    watch: str = ""


@register_adapter_type("bench_fan", config=FanConfig)
class Fan:
    """One message to many."""

    def __init__(self, config: FanConfig) -> None:
        self._config = config
        self._watcher: asyncio.Task[None] | None = None
        self._longest = 0.0

    async def open(self, _environment: AdapterEnvironment) -> None:
        """Start watching."""
        if self._config.watch:
            self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        """Say what was seen."""
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.to_thread(Path(self._config.watch).write_text, str(self._longest))

    async def process(self, _context: PipelineContext) -> AdapterResult:
        """Emit everything."""
        if self._config.lazily:
            return AdapterResult(emitted=self._stream())
        return AdapterResult(emitted=[self._child(number) for number in range(self._config.count)])

    def _child(self, number: int) -> Emitted:
        config = self._config
        data = payload(number, config.size)
        return Emitted(stage_a(data) if config.through_a else data, key=str(number))

    async def _stream(self) -> AsyncIterator[Emitted]:
        for number in range(self._config.count):
            yield self._child(number)

    async def _watch(self) -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(BEAT)
            self._longest = max(self._longest, time.perf_counter() - before - BEAT)


class StageConfig(AdapterConfigModel):
    """`journal`: a file that gets a line of fixed length for every call."""

    journal: str = ""


class _Stage:
    name = ""

    def __init__(self, config: StageConfig) -> None:
        self._journal = -1
        if config.journal:
            self._journal = os.open(config.journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def _note(self, context: PipelineContext) -> None:
        CALLS[self.name] += 1
        if self._journal >= 0:
            number = context.payload["n"]
            os.write(self._journal, f"{self.name} {number:08d} {time.time():017.6f}\n".encode())


LINE_BYTES = len(b"a 00000000 1234567890.123456\n")


@register_adapter_type("bench_a", config=StageConfig)
class StageA(_Stage):
    """Parse and transform."""

    name = "a"

    async def process(self, context: PipelineContext) -> AdapterResult:
        self._note(context)
        return AdapterResult(stage_a(context.payload))


class StageBConfig(StageConfig):
    """`wait`: seconds to wait for nothing in particular; `fail_every`: which messages fail, unless they
    are replayed."""

    wait: float = 0.0
    fail_every: int = 0


@register_adapter_type("bench_b", config=StageBConfig)
class StageB(_Stage):
    """Transform, perhaps after a wait."""

    name = "b"

    def __init__(self, config: StageBConfig) -> None:
        super().__init__(config)
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        self._note(context)
        if self._config.wait:
            await asyncio.sleep(self._config.wait)
        every = self._config.fail_every
        if every and not context.is_replay and context.payload["n"] % every == 0:
            raise PermanentError("made to fail")
        return AdapterResult(stage_b(context.payload))


@register_adapter_type("bench_c", config=StageConfig)
class StageC(_Stage):
    """Sink."""

    name = "c"

    async def process(self, context: PipelineContext) -> AdapterResult:
        self._note(context)
        return AdapterResult(stage_c(context.payload))
