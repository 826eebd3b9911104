"""Adapters given to a registry as classes: what it knows of them, and making them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import Field, SecretStr

from factflow_engine.adapter_modules import AdapterLoadError
from factflow_engine.config.issues import ConfigurationError
from factflow_engine.config.secrets import MissingVariableError
from factflow_engine.registry import AdapterRegistry, UnknownAdapterError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)


class KnobConfig(AdapterConfigModel):
    """Settings of knob."""

    level: int = Field(1, ge=0)
    api_key: SecretStr | None = None
    fail: bool = False


@register_adapter_type("knob", config=KnobConfig)
class KnobAdapter:
    """Turns a knob."""

    def __init__(self, config: KnobConfig) -> None:
        if config.fail:
            raise RuntimeError("no knob today")
        self.config = config

    async def process(self, context: PipelineContext) -> AdapterResult | None:
        return AdapterResult(context.payload)


@register_adapter_type("crowd")
class CrowdAdapter:
    """Takes batches."""

    def __init__(self, config: AdapterConfigModel) -> None:
        self.config = config

    async def process_batch(
        self, contexts: Sequence[PipelineContext]
    ) -> Sequence[AdapterResult | None | Exception]:
        return [None for _ in contexts]


def test_an_unknown_type_suggests_the_nearest() -> None:
    registry = AdapterRegistry()
    registry.register(KnobAdapter)
    with pytest.raises(UnknownAdapterError) as caught:
        registry.get("nob")
    assert caught.value.code == "adapter_not_found"
    assert "knob" in caught.value.hint
    with pytest.raises(UnknownAdapterError) as caught:
        AdapterRegistry().get("knob")
    assert "--adapters" in caught.value.hint


def test_an_unmarked_class_is_refused_also_below_a_marked_one() -> None:
    class Quiet(KnobAdapter):
        """Not marked itself."""

    for candidate in (dict, Quiet, "text"):
        with pytest.raises(AdapterLoadError, match="not marked"):
            AdapterRegistry().register(candidate)  # type: ignore[arg-type]  # a text is no class


def test_building_checks_the_settings_and_resolves_references() -> None:
    registry = AdapterRegistry()
    registry.register(KnobAdapter)
    built = registry.build(
        "knob", {"level": "${LEVEL}", "api_key": "${KEY}"}, {"LEVEL": "3", "KEY": "k"}
    )
    assert built.config.level == 3
    assert built.config.api_key.get_secret_value() == "k"


@pytest.mark.parametrize(
    ("config", "error", "told"),
    [
        ({"level": -1, "lvl": 2}, ConfigurationError, "E301 config.lvl"),
        (
            {"level": "${LEVEL}"},
            MissingVariableError,
            "config.level needs the environment variable LEVEL",
        ),
        ({"fail": True}, AdapterLoadError, "RuntimeError: no knob today"),
    ],
)
def test_building_with_wrong_settings_is_a_clear_error(
    config: dict[str, Any], error: type[Exception], told: str
) -> None:
    registry = AdapterRegistry()
    registry.register(KnobAdapter)
    with pytest.raises(error) as caught:
        registry.build("knob", config, {})
    assert told in str(caught.value)


def test_what_is_known_of_an_adapter() -> None:
    registry = AdapterRegistry()
    assert registry.register(CrowdAdapter).handles_batches
    knob = registry.register(KnobAdapter)
    assert knob.config_schema()["properties"]["level"]["minimum"] == 0
    assert registry.register(KnobAdapter) is knob
