"""Adapters that carry a label along, that never do the same thing twice, and that wait to be let go on."""

from __future__ import annotations

import uuid
from pathlib import Path

from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)
from factflow_testing.waiting import eventually

LONGER_THAN_ANY_TEST = 3600.0


class LabelConfig(AdapterConfigModel):
    count: int = 20
    stamped: bool = False
    """Whether every child is given a stamp, so that a second run makes other children."""


@register_adapter_type("labelled_fan", config=LabelConfig)
class LabelledFanAdapter:
    """Emits `count` children that carry the label of the message they came from."""

    def __init__(self, config: LabelConfig) -> None:
        self._config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        payloads = [{**context.payload, "n": number} for number in range(self._config.count)]
        if self._config.stamped:
            payloads = [payload | {"fanned": uuid.uuid4().hex} for payload in payloads]
        return AdapterResult(
            emitted=[Emitted(payload, key=f"item-{payload['n']}") for payload in payloads]
        )


@register_adapter_type("stamp")
class StampAdapter:
    """Adds a stamp that is another one in every call, as a model or a clock would."""

    def __init__(self, config: AdapterConfigModel) -> None:
        del config

    async def process(self, context: PipelineContext) -> AdapterResult:
        return AdapterResult({**context.payload, "stamped": uuid.uuid4().hex})


@register_adapter_type("gate")
class GateAdapter:
    """Passes a message on once the file named by its `gate` exists."""

    def __init__(self, config: AdapterConfigModel) -> None:
        del config

    async def process(self, context: PipelineContext) -> AdapterResult:
        await eventually(Path(context.payload["gate"]).exists, seconds=LONGER_THAN_ANY_TEST)
        return AdapterResult(context.payload)
