"""Adapters that carry a label along, and that wait for a file before they let a message pass."""

from __future__ import annotations

import asyncio
from pathlib import Path

from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)


class LabelConfig(AdapterConfigModel):
    count: int = 20


@register_adapter_type("labelled_fan", config=LabelConfig)
class LabelledFanAdapter:
    """Emits `count` children that carry the label of the message they came from."""

    def __init__(self, config: LabelConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        children = [
            Emitted({**context.payload, "n": number}, key=f"item-{number}")
            for number in range(self._config.count)
        ]
        return AdapterResult(emitted=children)


@register_adapter_type("gate")
class GateAdapter:
    """Passes a message on once the file named by its `gate` exists."""

    def __init__(self, config: AdapterConfigModel) -> None:
        del config

    async def process(self, context: PipelineContext) -> AdapterResult:
        gate = Path(context.payload["gate"])
        while not gate.exists():  # noqa: ASYNC110, ASYNC240 - a test's hand opens it from outside
            await asyncio.sleep(0.02)
        return AdapterResult(context.payload)
