"""What an adapter receives, may return and must survive.

An adapter is one class and one config model::

    class ShoutConfig(AdapterConfigModel):
        suffix: str = "!"

    @register_adapter_type("shout", config=ShoutConfig)
    class ShoutAdapter:
        def __init__(self, config: ShoutConfig) -> None:
            self._config = config

        async def process(self, context: PipelineContext) -> AdapterResult | None:
            return AdapterResult(context.payload.upper() + self._config.suffix)

`process` may be cancelled at any await (shutdown, cancel): let `asyncio.CancelledError` pass. A plain
`def process` runs in a thread. The same message may be handed in again after a crash.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import msgspec
from pydantic import BaseModel, ConfigDict

Payload = Any
"""JSON-able object (dict, list, number, bool), text (str) or bytes. `None` is not a payload."""

T = TypeVar("T")


class AdapterConfigModel(BaseModel):
    """Base of adapter configs: unknown keys are errors, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ArtefactReader(Protocol):
    """Read access to what other stages stored."""

    async def read(self, key: str) -> bytes:
        """Return the object's bytes; raise `ObjectNotFoundError`."""
        ...


class PipelineContext(msgspec.Struct, frozen=True):
    """One message at one stage.

    `payload` is decoded by its content type: JSON to objects, text to str, anything else bytes.
    `metadata` is what the stages so far attached (url, title, …); it travels with the message.
    `idempotency_key` is the same for every attempt at this message and stage: give it to services
    that cost money. `attempt` counts from 1.
    """

    payload: Payload
    metadata: Mapping[str, Any] = {}
    content_type: str = "application/json"
    execution_id: str = ""
    route: str = ""
    stage: str = ""
    message_id: str = ""
    origin_id: str = ""
    correlation_id: str = ""
    input_key: str | None = None
    attempt: int = 1
    is_replay: bool = False
    idempotency_key: str = ""
    storage: ArtefactReader | None = None


class Emitted(msgspec.Struct, frozen=True):
    """One child message. `key` names it among its siblings (a URL, say): the same key gives the
    child the same origin in every run, so that two executions can be compared child by child."""

    payload: Payload
    key: str | None = None
    metadata: Mapping[str, Any] = {}
    content_type: str | None = None


EmittedItems = Iterable["Emitted | Payload"] | AsyncIterable["Emitted | Payload"]


class AdapterResult(msgspec.Struct, frozen=True):
    """What a stage made of a message: either one `payload` (goes on down the chain) or `emitted`
    children (each a message of its own, through the queue; none counts as filtered).

    `metadata` is merged over the message's own. `content_type` defaults by the payload's type.
    Raises ValueError when both or neither are given.
    """

    payload: Payload = None
    emitted: EmittedItems | None = None
    metadata: Mapping[str, Any] = {}
    content_type: str | None = None

    def __post_init__(self) -> None:
        if (self.payload is None) == (self.emitted is None):
            raise ValueError(
                "an AdapterResult carries either payload or emitted, not both and not neither; "
                "return None to end the chain for this message"
            )


@runtime_checkable
class PipelineAdapter(Protocol):
    """One message in; a result, children, or None (filtered) out."""

    async def process(self, context: PipelineContext) -> AdapterResult | None:
        """Do the stage's work for one message; any exception fails or retries that message only."""
        ...


@runtime_checkable
class BatchAdapter(Protocol):
    """Many messages in, one outcome each out, in the same order.

    The engine gathers up to `batch.size` messages within `batch.wait_ms` (both set in the YAML). An
    exception in a position fails that message; one raised fails the batch, which is then halved until
    the culprit stands alone.
    """

    async def process_batch(
        self, contexts: Sequence[PipelineContext]
    ) -> Sequence[AdapterResult | None | Exception]:
        """Do the stage's work for all contexts."""
        ...


@dataclass(frozen=True, slots=True)
class AdapterEnvironment:
    """What a stateful adapter is given once per execution and stage, before its first message."""

    execution_id: str
    route: str
    stage: str
    allow_private_networks: bool = False
    shared: dict[str, Any] = field(default_factory=dict)
    """One dictionary per execution, for what its adapters share (a per-host pace, a client)."""


@runtime_checkable
class StatefulAdapter(Protocol):
    """An adapter that holds something open: `open` before the first message, `close` after the last.

    Both may be `async def`, or plain functions, which run in a thread.
    """

    def open(self, environment: AdapterEnvironment) -> Awaitable[None] | None:
        """Acquire what the adapter needs; an error here fails the execution's start.

        It may be cancelled at any await (shutdown, cancel). A thread is left behind then.
        """
        ...

    def close(self) -> Awaitable[None] | None:
        """Release it; called once, also when `open` failed half-way, was cancelled, or was left behind."""
        ...


@dataclass(frozen=True, slots=True)
class AdapterSpec:
    """What `@register_adapter_type` writes on the class."""

    type_name: str
    config_model: type[BaseModel]
    description: str


ADAPTER_SPEC_ATTRIBUTE = "__factflow_adapter__"


class _EmptyConfig(AdapterConfigModel):
    """For adapters without settings."""

    title: ClassVar[str] = "no settings"


def register_adapter_type(
    type_name: str, *, config: type[BaseModel] = _EmptyConfig
) -> Callable[[type[T]], type[T]]:
    """Name a class as the adapter for `type: <type_name>` in YAML.

    The class is constructed as `cls(config=<config instance>)`. Registration is a mark on the class;
    the engine finds marked classes through the entry-point group `factflow.adapters` or in the modules
    given with `--adapters`. The class docstring's first line is the description users see.
    """

    def mark(cls: type[T]) -> type[T]:
        description = (cls.__doc__ or "").strip().splitlines()
        spec = AdapterSpec(type_name, config, description[0] if description else "")
        setattr(cls, ADAPTER_SPEC_ATTRIBUTE, spec)
        return cls

    return mark
