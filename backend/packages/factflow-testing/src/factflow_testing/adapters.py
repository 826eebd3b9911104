"""Tiny adapters, one behaviour each, for pipelines under test. Load with `--adapters`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from factflow_protocols.errors import TransientError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterEnvironment,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)
from factflow_testing.waiting import eventually


class EchoConfig(AdapterConfigModel):
    suffix: str = ""
    fields: dict[str, Any] = Field(default_factory=dict)


@register_adapter_type("echo", config=EchoConfig)
class EchoAdapter:
    """Passes the payload on, with fields added or a suffix appended."""

    def __init__(self, config: EchoConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        payload = context.payload
        if isinstance(payload, str):
            return AdapterResult(payload + self._config.suffix)
        return AdapterResult({**payload, **self._config.fields})


class FanConfig(AdapterConfigModel):
    count: int = 3
    keyed: bool = True
    lazily: bool = False


@register_adapter_type("fan", config=FanConfig)
class FanAdapter:
    """Emits `count` children numbered from 0."""

    ends_messages: ClassVar[bool] = True

    def __init__(self, config: FanConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        if self._config.lazily:
            return AdapterResult(emitted=self._stream(context))
        return AdapterResult(emitted=[self._child(n) for n in range(self._config.count)])

    def _child(self, number: int) -> Emitted:
        key = f"item-{number}" if self._config.keyed else None
        return Emitted({"n": number}, key=key, metadata={"url": f"https://example.com/{number}"})

    async def _stream(self, _context: PipelineContext) -> AsyncIterator[Emitted]:
        for number in range(self._config.count):
            yield self._child(number)


class TagConfig(AdapterConfigModel):
    own: int = 0


@register_adapter_type("tag", config=TagConfig)
class TagAdapter:
    """Attaches metadata of `own` bytes of JSON."""

    def __init__(self, config: TagConfig) -> None:
        self._own = config.own

    async def process(self, context: PipelineContext) -> AdapterResult:
        return AdapterResult(
            context.payload, metadata={"own": "x" * (self._own - len('{"own":""}'))}
        )


class TaggedFanConfig(AdapterConfigModel):
    sizes: list[int] = Field(default_factory=list)


@register_adapter_type("tagged_fan", config=TaggedFanConfig)
class TaggedFanAdapter:
    """Emits a child for each size, with metadata of so many characters."""

    ends_messages: ClassVar[bool] = True

    def __init__(self, config: TaggedFanConfig) -> None:
        self._sizes = config.sizes

    async def process(self, _context: PipelineContext) -> AdapterResult:
        children = [Emitted({"n": n}, metadata={"tag": "x" * n}) for n in self._sizes]
        return AdapterResult(emitted=children)


class SpoiltFanConfig(AdapterConfigModel):
    count: int = 3
    how: str = "raise"
    """What is wrong with the last child: `large` payload, `metadata`, or an iterator that has to `raise`."""
    until_attempt: int = 1_000_000
    """The first attempt that succeeds."""


@register_adapter_type("spoilt_fan", config=SpoiltFanConfig)
class SpoiltFanAdapter:
    """Emits children of 6 KB that carry the attempt, and then one that cannot be stored."""

    ends_messages: ClassVar[bool] = True

    def __init__(self, config: SpoiltFanConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        return AdapterResult(emitted=self._stream(context.attempt))

    async def _stream(self, attempt: int) -> AsyncIterator[Emitted]:
        for number in range(self._config.count):
            payload = {"n": number, "attempt": attempt, "filling": "x" * 6_000}
            yield Emitted(payload, key=f"item-{number}")
        if attempt >= self._config.until_attempt:
            return
        if self._config.how == "raise":
            raise ValueError("it broke off")
        many = "x" * 100_000
        yield Emitted(many) if self._config.how == "large" else Emitted("", metadata={"all": many})


class FailConfig(AdapterConfigModel):
    numbers: list[int] = Field(default_factory=list)
    """Which children fail; all when empty."""
    until_attempt: int = 1_000_000
    """The first attempt that succeeds."""
    message: str = "made to fail"


@register_adapter_type("fail", config=FailConfig)
class FailAdapter:
    """Raises for chosen messages, up to a chosen attempt; passes the others on."""

    def __init__(self, config: FailConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        chosen = not self._config.numbers or context.payload.get("n") in self._config.numbers
        if chosen and context.attempt < self._config.until_attempt:
            raise ValueError(self._config.message)
        return AdapterResult({**context.payload, "attempt": context.attempt})


class KeepConfig(AdapterConfigModel):
    below: int = 1


@register_adapter_type("keep", config=KeepConfig)
class KeepAdapter:
    """Filters: keeps messages whose number is below a bound."""

    ends_messages: ClassVar[bool] = True

    def __init__(self, config: KeepConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult | None:
        kept = context.payload["n"] < self._config.below
        return AdapterResult(context.payload) if kept else None


class BatchDoubleConfig(AdapterConfigModel):
    poison: list[int] = Field(default_factory=list)
    """A batch with one of these numbers fails as a whole."""
    tell: bool = True
    """Tell in each payload how many were in its batch, which is a matter of chance."""


@register_adapter_type("batch_double", config=BatchDoubleConfig)
class BatchDoubleAdapter:
    """Doubles numbers, a batch at a time."""

    def __init__(self, config: BatchDoubleConfig) -> None:
        self._config = config

    async def process_batch(self, contexts: Sequence[PipelineContext]) -> list[AdapterResult]:
        if any(context.payload["n"] in self._config.poison for context in contexts):
            raise RuntimeError("poison in the batch")
        told = {"together": len(contexts)} if self._config.tell else {}
        return [AdapterResult({"n": context.payload["n"] * 2, **told}) for context in contexts]


@register_adapter_type("hang")
class HangAdapter:
    """Never returns, until it is cancelled."""

    def __init__(self, config: AdapterConfigModel) -> None:
        del config

    async def process(self, _context: PipelineContext) -> AdapterResult:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


class WaitForConfig(AdapterConfigModel):
    path: str


@register_adapter_type("wait_for", config=WaitForConfig)
class WaitForAdapter:
    """Passes the payload on once a file exists."""

    def __init__(self, config: WaitForConfig) -> None:
        self._path = Path(config.path)

    async def process(self, context: PipelineContext) -> AdapterResult:
        await eventually(self._path.exists, seconds=3600.0)
        return AdapterResult(context.payload)


@register_adapter_type("service", config=WaitForConfig)
class ServiceAdapter:
    """Stands for a service that is down as long as a file does not exist."""

    def __init__(self, config: WaitForConfig) -> None:
        self._path = Path(config.path)

    async def process(self, context: PipelineContext) -> AdapterResult:
        if not self._path.exists():
            raise TransientError("the service is down")
        return AdapterResult(context.payload)


@register_adapter_type("batch_service", config=WaitForConfig)
class BatchServiceAdapter(ServiceAdapter):
    """The same, a batch at a time."""

    async def process_batch(self, contexts: Sequence[PipelineContext]) -> list[AdapterResult]:
        return [await self.process(context) for context in contexts]


@register_adapter_type("stubborn", config=WaitForConfig)
class StubbornAdapter:
    """Ignores that it is cancelled and that it is closed, until a file exists."""

    def __init__(self, config: WaitForConfig) -> None:
        self._path = Path(config.path)

    async def open(self, _environment: AdapterEnvironment) -> None:
        pass

    async def process_batch(self, contexts: Sequence[PipelineContext]) -> list[AdapterResult]:
        while not self._path.exists():
            with contextlib.suppress(asyncio.CancelledError):
                await eventually(self._path.exists, seconds=3600.0)
        return [AdapterResult(context.payload) for context in contexts]

    async def close(self) -> None:
        await self.process_batch([])


@register_adapter_type("blocked", config=WaitForConfig)
class BlockedAdapter:
    """Blocks the thread it runs in until a file exists."""

    def __init__(self, config: WaitForConfig) -> None:
        self._path = Path(config.path)

    def process(self, context: PipelineContext) -> AdapterResult:
        while not self._path.exists():
            threading.Event().wait(0.01)
        return AdapterResult(context.payload)


@register_adapter_type("threaded")
class ThreadedAdapter:
    """A plain `def process`, which the engine runs in a thread."""

    def __init__(self, config: AdapterConfigModel) -> None:
        del config

    def process(self, context: PipelineContext) -> AdapterResult:
        return AdapterResult({**context.payload, "threaded": True})


@register_adapter_type("increment")
class IncrementAdapter:
    """Counts the payload's number up by one."""

    def __init__(self, config: AdapterConfigModel) -> None:
        del config

    async def process(self, context: PipelineContext) -> AdapterResult:
        return AdapterResult({"n": context.payload["n"] + 1})


class MisbehaveConfig(AdapterConfigModel):
    how: str
    token: str = ""


@register_adapter_type("misbehave", config=MisbehaveConfig)
class MisbehaveAdapter:
    """Does what an adapter should not: exits, cancels itself, returns rubbish, holds the loop."""

    def __init__(self, config: MisbehaveConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> Any:
        how = self._config.how
        if how == "exit":
            sys.exit(3)
        if how == "cancel":
            raise asyncio.CancelledError
        if how == "rubbish":
            return {"not": "a result"}
        if how == "unjsonable":
            return AdapterResult({"x": object()})
        if how == "metadata":
            return AdapterResult({}, metadata={"x": object()})
        if how == "leak":
            raise RuntimeError(f"refused with token {self._config.token}")
        if how == "stall":
            threading.Event().wait(1.6)  # what a careless adapter does: it blocks the loop
        return AdapterResult(context.payload)
