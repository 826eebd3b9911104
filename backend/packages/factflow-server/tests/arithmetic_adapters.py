"""Adapters of a user's own, given to servers under test by the path of this file."""

from __future__ import annotations

from pathlib import Path

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)
from factflow_testing.waiting import eventually

LONGER_THAN_ANY_TEST = 3600.0


@register_adapter_type("count_up")
class CountUp:
    """Emits the numbers from 1 to the payload's `upto`."""

    def __init__(self, config: object) -> None:
        self.config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        numbers = range(1, context.payload["upto"] + 1)
        return AdapterResult(emitted=[Emitted({"number": n}, key=str(n)) for n in numbers])


class SquareConfig(AdapterConfigModel):
    """Which number to fail on."""

    fail_on: int | None = None


@register_adapter_type("square", config=SquareConfig)
class Square:
    """Multiplies a number by itself."""

    def __init__(self, config: SquareConfig) -> None:
        self.config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        number = context.payload["number"]
        if number == self.config.fail_on:
            raise PermanentError(f"{number} is not to be squared")
        return AdapterResult({"number": number * number})


class GateConfig(AdapterConfigModel):
    """The file that opens the gate."""

    path: str


@register_adapter_type("gate", config=GateConfig)
class Gate:
    """Lets a message through once a file exists."""

    def __init__(self, config: GateConfig) -> None:
        self.path = Path(config.path)

    async def process(self, context: PipelineContext) -> AdapterResult:
        await eventually(self.path.exists, seconds=LONGER_THAN_ANY_TEST)
        return AdapterResult(context.payload)
