"""The pipeline models: defaults, inheritance, strictness, immutability."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from factflow_engine.config.models import (
    AdapterConfig,
    BatchConfig,
    ConditionConfig,
    ErrorHandlingConfig,
    InboundConfig,
    PipelineGlobalConfig,
    RouteConfig,
)


def pipeline(**extra: Any) -> PipelineGlobalConfig:
    route = {"inbound": {"queue": "q"}, "adapters": [{"type": "echo"}]}
    return PipelineGlobalConfig.model_validate({"version": "1.0", "routes": {"a": route}} | extra)


def test_defaults() -> None:
    route = pipeline().routes["a"]
    assert (route.inbound.concurrency, route.inbound.prefetch) == (4, 8)
    assert route.adapters[0].stage_name == "echo"
    assert route.adapters[0].config == {}
    assert route.outbound is None
    assert BatchConfig() == BatchConfig(size=32, wait_ms=50)
    assert pipeline().error_handling_for("a") == ErrorHandlingConfig(
        max_retries=0,
        retry_delay_seconds=1.0,
        retry_on=None,
        dead_letter_queue=None,
        failure_tolerance=0.0,
    )


def test_prefetch_follows_concurrency_unless_given() -> None:
    assert InboundConfig(queue="q", concurrency=7).prefetch == 14
    assert InboundConfig(queue="q", concurrency=7, prefetch=3).prefetch == 3


def test_a_stage_has_a_name_of_its_own() -> None:
    assert AdapterConfig(type="echo", stage="loud").stage_name == "loud"


def test_outbound_may_be_the_queue_alone() -> None:
    data = {"inbound": {"queue": "q"}, "adapters": [{"type": "echo"}]}
    short = RouteConfig.model_validate(data | {"outbound": "next"})
    long = RouteConfig.model_validate(data | {"outbound": {"queue": "next"}})
    assert short == long


def test_a_route_inherits_key_by_key() -> None:
    """Keys of the route win, keys it leaves out come from the top, the rest are defaults."""
    route = {
        "inbound": {"queue": "q"},
        "adapters": [{"type": "echo"}],
        "error_handling": {"max_retries": 5},
    }
    config = PipelineGlobalConfig.model_validate(
        {
            "version": "1.0",
            "routes": {"a": route},
            "error_handling": {"max_retries": 1, "retry_delay_seconds": 9},
            "backpressure": {"max_queued": 3},
        }
    )
    handling = config.error_handling_for("a")
    assert (handling.max_retries, handling.retry_delay_seconds) == (5, 9.0)
    assert handling.failure_tolerance == 0.0
    assert config.backpressure_for("a").max_queued == 3
    with pytest.raises(KeyError):
        config.error_handling_for("b")


def test_a_key_without_value_is_left_out() -> None:
    config = pipeline(
        description=None, error_handling=None, init_message={"route": "a", "payload": None}
    )
    assert config.description == ""
    assert config.init_message is not None
    assert config.init_message.payload == {}


def test_models_do_not_change() -> None:
    with pytest.raises(ValidationError):
        pipeline().name = "other"  # type: ignore[misc]  # the point of the test


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("9.a_b-C", True),
        ("x" * 100, True),
        ("x" * 101, False),
        ("", False),
        ("_init", False),
        ("_plan", False),
        ("_dead", False),
        (".", False),
        ("..", False),
        ("-a", False),
        ("a/b", False),
        ("a b", False),
        ("a\n", False),
        ("å", False),
    ],
)
def test_names(name: str, good: bool) -> None:
    """Names become path segments of storage keys: nothing that could mean another place."""
    if good:
        assert AdapterConfig(type="echo", stage=name).stage_name == name
    else:
        with pytest.raises(ValidationError):
            AdapterConfig(type="echo", stage=name)
        with pytest.raises(ValidationError):
            PipelineGlobalConfig.model_validate(
                {"version": "1.0", "routes": {name: pipeline().routes["a"].model_dump()}}
            )


@pytest.mark.parametrize(
    ("queue", "good"),
    [
        ("/queue/dlq", True),
        ("persistent://t/n/x", True),
        ("a:b", True),
        (":a", False),
        ("a b", False),
    ],
)
def test_queue_names(queue: str, good: bool) -> None:
    if good:
        assert InboundConfig(queue=queue).queue == queue
    else:
        with pytest.raises(ValidationError):
            InboundConfig(queue=queue)


@pytest.mark.parametrize(
    "wrong",
    [
        {"queue": "q", "concurrency": True},
        {"queue": "q", "concurrency": "4"},
        {"queue": "q", "concurrency": 0},
        {"queue": "q", "concurrency": 4.0},
        {"queue": 5},
        {"queue": "q", "unknown": 1},
    ],
)
def test_types_are_strict(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        InboundConfig.model_validate(wrong)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
def test_delays_are_finite_and_not_negative(number: float) -> None:
    with pytest.raises(ValidationError):
        ErrorHandlingConfig(retry_delay_seconds=number)


@pytest.mark.parametrize(
    ("operator", "extra", "good"),
    [
        ("equals", {"value": None}, True),
        ("equals", {}, False),
        ("in", {"value": []}, True),
        ("in", {"value": "abc"}, False),
        ("matches", {"value": "^a"}, True),
        ("matches", {"value": 3}, False),
        ("matches", {"value": "a" * 501}, False),
        ("matches", {"value": "(?P<x>a)(?P<x>b)"}, False),
        ("exists", {}, True),
        ("exists", {"value": False}, True),
        ("exists", {"value": "no"}, False),
        ("gt", {"value": 1.5}, True),
        ("gt", {"value": "2026-01-01"}, True),
        ("gt", {"value": True}, False),
        ("lt", {"value": None}, False),
        ("contains", {"value": "x"}, True),
        ("contains", {"value": None}, False),
    ],
)
def test_a_condition_has_a_value_its_operator_can_use(
    operator: str, extra: dict[str, Any], good: bool
) -> None:
    data = {"field": "url", "operator": operator} | extra
    if good:
        assert ConditionConfig.model_validate(data).operator == operator
    else:
        with pytest.raises(ValidationError):
            ConditionConfig.model_validate(data)
