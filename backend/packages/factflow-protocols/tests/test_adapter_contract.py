"""What an adapter author may rely on."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from factflow_protocols.pipeline import (
    ADAPTER_SPEC_ATTRIBUTE,
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)


class ShoutConfig(AdapterConfigModel):
    suffix: str = "!"


@register_adapter_type("shout", config=ShoutConfig)
class Shout:
    """Shouts. And more that is not shown."""

    def __init__(self, config: ShoutConfig) -> None:
        self.config = config

    async def process(self, context: PipelineContext) -> AdapterResult:
        return AdapterResult(context.payload.upper() + self.config.suffix)


async def test_an_adapter_is_testable_without_factflow() -> None:
    result = await Shout(config=ShoutConfig()).process(PipelineContext("hi"))
    assert result.payload == "HI!"


def test_registration_is_a_mark_on_the_class() -> None:
    spec = getattr(Shout, ADAPTER_SPEC_ATTRIBUTE)
    assert (spec.type_name, spec.config_model) == ("shout", ShoutConfig)


@pytest.mark.parametrize("arguments", [{}, {"payload": 1, "emitted": []}])
def test_a_result_is_either_a_payload_or_children(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="either payload or emitted"):
        AdapterResult(**arguments)  # type: ignore[arg-type]  # the point of the test


def test_unknown_settings_are_errors() -> None:
    with pytest.raises(ValidationError, match="suffx"):
        ShoutConfig.model_validate({"suffx": "?"})
