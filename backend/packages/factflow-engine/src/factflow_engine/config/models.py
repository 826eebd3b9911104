"""What a pipeline YAML may say, as immutable models.

Types are strict (a quoted number is not a number), unknown keys are errors, and a key written without
a value counts as left out. What needs more than one value to judge is in `checks`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
QUEUE_PATTERN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_.:/-]{0,99}")
ERROR_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
MAX_PATTERN_LENGTH = 500

FINAL_ERRORS = frozenset(
    {
        "PermanentError",
        "ProcessKilledError",
        "StorageError",
        "ObjectNotFoundError",
        "ObjectExistsError",
        "ObjectDamagedError",
        "RecordDamagedError",
        "KeyRefusedError",
        "ArtefactTooLargeError",
    }
)
"""Failures that no retry may be asked for."""

Operator = Literal["equals", "not_equals", "in", "contains", "matches", "exists", "gt", "lt"]


def _check_name(name: str) -> str:
    if NAME_PATTERN.fullmatch(name):
        return name
    raise PydanticCustomError(
        "bad_name",
        "a name starts with a letter or digit and goes on with letters, digits, `_`, `.` or `-`, "
        "at most 100 characters",
    )


def _check_queue(name: str) -> str:
    if QUEUE_PATTERN.fullmatch(name):
        return name
    raise PydanticCustomError(
        "bad_name",
        "a queue name starts with a letter, a digit or `/` and goes on with letters, digits, "
        "`_`, `.`, `-`, `:` or `/`, at most 100 characters",
    )


def _check_error(name: str) -> str:
    if name in FINAL_ERRORS:
        raise PydanticCustomError(
            "final_error",
            "{name} is final: the same input would fail again, so it is never tried again",
            {"name": name},
        )
    if ERROR_PATTERN.fullmatch(name):
        return name
    raise PydanticCustomError(
        "bad_name", "the name of an error class is written alone, without its module: TimeoutError"
    )


Name = Annotated[str, AfterValidator(_check_name)]
QueueName = Annotated[str, AfterValidator(_check_queue)]
ErrorName = Annotated[str, AfterValidator(_check_error)]


class ConfigModel(BaseModel):
    """Base of all pipeline models."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True
    )


class BlockModel(ConfigModel):
    """A block of keys in which `key:` without a value is the same as no `key` at all."""

    @model_validator(mode="before")
    @classmethod
    def _drop_empty(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return {
            key: value
            for key, value in data.items()
            if value is not None or key not in cls.model_fields
        }


class ConditionConfig(ConfigModel):
    """A gate in front of a stage; what each operator means is told in `factflow_engine.conditions`."""

    field: Annotated[str, Field(min_length=1, max_length=500)]
    operator: Operator
    value: Any = None

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        problem = self._value_problem()
        if problem:
            raise PydanticCustomError("condition_value", "{problem}", {"problem": problem})
        if self.operator == "matches":
            _check_pattern(self.value)
        return self

    def _value_problem(self) -> str | None:
        """Say what is wrong with `value` for this operator."""
        if self.operator != "exists" and "value" not in self.model_fields_set:
            return f"`{self.operator}` needs a `value` to compare with"
        fits, wanted = _VALUE_RULES.get(self.operator, (_anything, ""))
        return None if fits(self.value) else f"`{self.operator}` needs {wanted} as its value"


def _anything(_value: Any) -> bool:
    return True


def _is_sortable(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


_VALUE_RULES: dict[Operator, tuple[Callable[[Any], bool], str]] = {
    "exists": (lambda value: value is None or isinstance(value, bool), "true, false or nothing"),
    "in": (lambda value: isinstance(value, list), "a list"),
    "matches": (lambda value: isinstance(value, str), "a regular expression (text)"),
    "contains": (lambda value: value is not None, "a text, number or other item to look for"),
    "gt": (_is_sortable, "a number or a text"),
    "lt": (_is_sortable, "a number or a text"),
}


def _check_pattern(pattern: str) -> None:
    if len(pattern) > MAX_PATTERN_LENGTH:
        raise PydanticCustomError(
            "condition_regex",
            "the regular expression has {length} characters; at most {limit} are allowed",
            {"length": len(pattern), "limit": MAX_PATTERN_LENGTH},
        )
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise PydanticCustomError(
            "condition_regex",
            "the regular expression cannot be read: {reason}",
            {"reason": str(error)},
        ) from None


class BatchConfig(BlockModel):
    """How a batch adapter's messages are gathered: up to `size` of them, for at most `wait_ms`."""

    size: Annotated[int, Field(ge=1, le=10_000)] = 32
    wait_ms: Annotated[int, Field(ge=0, le=60_000)] = 50


class AdapterConfig(BlockModel):
    """One stage: an adapter in its place in a route."""

    type: Name
    stage: Name | None = None
    config: dict[str, Any] = Field(default_factory=dict)
    condition: ConditionConfig | None = None
    batch: BatchConfig | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Longest time for one call of the adapter; None leaves it to the adapter."""

    @property
    def stage_name(self) -> str:
        """Return the stage's name: `stage`, or else the adapter's type."""
        return self.stage or self.type


def _twice_concurrency(data: dict[str, Any]) -> int:
    concurrency: int = data.get("concurrency", 4)
    return 2 * concurrency


class InboundConfig(BlockModel):
    """The queue a route consumes. `concurrency` messages run at a time, `prefetch` are held ready."""

    queue: QueueName
    subscription: Name | None = None
    concurrency: Annotated[int, Field(ge=1, le=1_000)] = 4
    prefetch: Annotated[int, Field(ge=1, le=10_000)] = Field(default_factory=_twice_concurrency)


class OutboundConfig(BlockModel):
    """The queue that what leaves a route's last stage goes to."""

    queue: QueueName


class ErrorHandlingConfig(BlockModel):
    """What happens to a message whose stage failed, and how many failures an execution bears.

    `retry_delay_seconds` is the delay before the first retry; later ones wait longer. `retry_on` names
    the error classes that are tried again, each with those derived from it; None means all but the final
    ones (`PermanentError`, and inputs that are missing or damaged).
    `failure_tolerance` is the share (0 to 1) of messages that may fail in a `completed` execution.
    """

    max_retries: Annotated[int, Field(ge=0, le=100)] = 0
    retry_delay_seconds: Annotated[float, Field(ge=0, le=3_600)] = 1.0
    retry_on: Annotated[tuple[ErrorName, ...], Field(strict=False)] | None = None
    dead_letter_queue: QueueName | None = None
    failure_tolerance: Annotated[float, Field(ge=0, le=1)] = 0.0


class BackpressureConfig(BlockModel):
    """When a route should take less: a latency to keep, and bounds on what runs and waits.

    With `target_latency_ms` the messages in work adapt between 1 and `max_concurrency` (without it: the
    route's `concurrency`). More than `max_queued` messages in the route's queue hold the routes before it.
    """

    target_latency_ms: Annotated[float, Field(gt=0)] | None = None
    max_concurrency: Annotated[int, Field(ge=1, le=1_000)] | None = None
    max_queued: Annotated[int, Field(ge=1)] | None = None


class CircuitBreakerConfig(BlockModel):
    """When a stage is not called for a while: after `failures` in a row that may pass; 0 is never."""

    failures: Annotated[int, Field(ge=0, le=10_000)] = 0
    probe_after_seconds: Annotated[float, Field(gt=0, le=3_600)] = 30.0


class RouteConfig(BlockModel):
    """A lane: its inbound queue, its stages in order, and where its results go."""

    name: str | None = None
    description: str = ""
    inbound: InboundConfig
    adapters: Annotated[tuple[AdapterConfig, ...], Field(min_length=1, strict=False)]
    outbound: OutboundConfig | None = None
    error_handling: ErrorHandlingConfig | None = None
    backpressure: BackpressureConfig | None = None
    circuit_breaker: CircuitBreakerConfig | None = None

    @field_validator("outbound", mode="before")
    @classmethod
    def _queue_name_alone(cls, value: Any) -> Any:
        return {"queue": value} if isinstance(value, str) else value


class InitMessageConfig(BlockModel):
    """The first message of an execution: where it enters and what it says."""

    route: Name
    payload: dict[str, Any] = Field(default_factory=dict)


class PipelineGlobalConfig(BlockModel):
    """A whole pipeline file."""

    version: Literal["1.0"]
    name: str | None = None
    description: str = ""
    routes: Annotated[dict[Name, RouteConfig], Field(min_length=1)]
    init_message: InitMessageConfig | None = None
    error_handling: ErrorHandlingConfig | None = None
    backpressure: BackpressureConfig | None = None
    circuit_breaker: CircuitBreakerConfig | None = None

    def with_concurrency(self, concurrency: int) -> PipelineGlobalConfig:
        """Return the same pipeline, with every route handling so many messages at a time in a process."""
        laid_over = {"concurrency": concurrency, "prefetch": 2 * concurrency}
        routes = {
            name: route.model_copy(update={"inbound": route.inbound.model_copy(update=laid_over)})
            for name, route in self.routes.items()
        }
        return self.model_copy(update={"routes": routes})

    def error_handling_for(self, route_id: str) -> ErrorHandlingConfig:
        """Return a route's settings: its own keys over the pipeline's over the defaults.

        Raises KeyError for a route this pipeline does not have.
        """
        return ErrorHandlingConfig(
            **(_set_keys(self.error_handling) | _set_keys(self.routes[route_id].error_handling))
        )

    def backpressure_for(self, route_id: str) -> BackpressureConfig:
        """Return a route's settings, laid over each other the same way. Raises KeyError."""
        return BackpressureConfig(
            **(_set_keys(self.backpressure) | _set_keys(self.routes[route_id].backpressure))
        )

    def circuit_breaker_for(self, route_id: str) -> CircuitBreakerConfig:
        """Return a route's settings, laid over each other the same way. Raises KeyError."""
        return CircuitBreakerConfig(
            **(_set_keys(self.circuit_breaker) | _set_keys(self.routes[route_id].circuit_breaker))
        )


def _set_keys(block: BaseModel | None) -> dict[str, Any]:
    return block.model_dump(exclude_unset=True) if block else {}
