"""Adapters that hang in their `open` until a file `door` is in their folder. In files there they say when
they begin to open, and that they were closed."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from pathlib import Path

from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterEnvironment,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)
from factflow_testing.waiting import eventually


class DoorConfig(AdapterConfigModel):
    folder: Path


class _Saying:
    def __init__(self, config: DoorConfig) -> None:
        self._folder = config.folder

    @property
    def _shut(self) -> bool:
        return not (self._folder / "door").exists()

    def _say(self, word: str) -> None:
        (self._folder / f"{type(self).__name__} {word}").touch()

    async def process(self, context: PipelineContext) -> AdapterResult:
        if (self._folder / "stuck").exists():
            await asyncio.Event().wait()
        return AdapterResult(context.payload)


@register_adapter_type("ready", config=DoorConfig)
class Ready(_Saying):
    """Opens at once."""

    async def open(self, _environment: AdapterEnvironment) -> None:
        self._say("opens")

    async def close(self) -> None:
        self._say("closed")


@register_adapter_type("waits", config=DoorConfig)
class Waits(_Saying):
    """Awaits the door, and may be cancelled meanwhile."""

    async def open(self, _environment: AdapterEnvironment) -> None:
        self._say("opens")
        await eventually(lambda: not self._shut, seconds=3600.0)

    async def close(self) -> None:
        self._say("closed")


@register_adapter_type("ignores", config=DoorConfig)
class Ignores(Waits):
    """Awaits the door, whoever cancels it."""

    async def open(self, environment: AdapterEnvironment) -> None:
        while self._shut:
            with contextlib.suppress(asyncio.CancelledError):
                await super().open(environment)


@register_adapter_type("blocks", config=DoorConfig)
class Blocks(_Saying):
    """Blocks until the door is there, in plain functions."""

    def open(self, _environment: AdapterEnvironment) -> None:
        self._say("opens")
        while self._shut:
            threading.Event().wait(0.01)

    def close(self) -> None:
        self._say("closed")
