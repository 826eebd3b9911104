"""Stages with one awkward property each. Every call is told to a journal outside of the process.

None does the same twice: each adds noise that another call would not add, so that a second outcome
can be told from the first.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any, ClassVar

from factflow_protocols.errors import PermanentError, TransientError
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterEnvironment,
    AdapterResult,
    Emitted,
    PipelineContext,
    register_adapter_type,
)
from factflow_selftest.journal import Journal

NOISE_BYTES = (4, 4, 4, 64, 3000)
"""The longest makes a payload that is too large to ride along with its message."""

_chance = random.SystemRandom()


class JournalledConfig(AdapterConfigModel):
    """What all stages of the self-test are told."""

    journal: str | None = None
    """File that a line is appended to at the start and the end of every call."""
    seconds: float = 0.0
    """How long a call takes."""


class JournalledAdapter:
    """Tells the journal when a call starts and how it ends; what it does in between is `work`."""

    def __init__(self, config: JournalledConfig) -> None:
        self._seconds = config.seconds
        self._path = config.journal
        self.journal = Journal(None)

    async def open(self, environment: AdapterEnvironment) -> None:
        """Open the journal."""
        del environment
        self.journal = Journal(self._path)

    async def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    async def process(self, context: PipelineContext) -> AdapterResult | None:
        """Work, between two lines of the journal."""
        self.journal.tell("start", context)
        await asyncio.sleep(self._seconds)
        try:
            result = self.work(context)
        except Exception:
            self.journal.tell("error", context)
            raise
        self.journal.tell("end", context)
        return result

    def work(self, context: PipelineContext) -> AdapterResult | None:
        """Return what the stage makes of a message."""
        return AdapterResult(noisy(context.payload))


def noisy(payload: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the payload with fields added, and bytes that no other call makes."""
    return {**payload, **fields, "noise": secrets.token_hex(_chance.choice(NOISE_BYTES))}


class FanConfig(JournalledConfig):
    """How many messages a pipeline gets."""

    count: int = 20
    """Messages to emit."""


@register_adapter_type("selftest_fan", config=FanConfig)
class FanAdapter(JournalledAdapter):
    """Emits numbered messages, one by one while they are stored."""

    ends_messages: ClassVar[bool] = True

    def __init__(self, config: FanConfig) -> None:
        super().__init__(config)
        self._count = config.count

    async def process(self, context: PipelineContext) -> AdapterResult:
        """Start; the end is told when the last message has been taken."""
        self.journal.tell("start", context)
        return AdapterResult(emitted=self._messages(context))

    async def _messages(self, context: PipelineContext) -> AsyncIterator[Emitted]:
        for number in range(self._count):
            yield Emitted(noisy({"n": number}), key=f"item-{number}")
        await asyncio.sleep(self._seconds)
        self.journal.tell("end", context)


@register_adapter_type("selftest_vary", config=JournalledConfig)
class VaryAdapter(JournalledAdapter):
    """Emits one to three messages, as many and with such content as chance has it."""

    ends_messages: ClassVar[bool] = True

    def work(self, context: PipelineContext) -> AdapterResult:
        """Return another number of outputs in every call."""
        copies = range(_chance.randint(1, 3))
        slow = context.payload["n"] % 3 == 0
        return AdapterResult(emitted=[noisy(context.payload, copy=n, slow=slow) for n in copies])


@register_adapter_type("selftest_filter", config=JournalledConfig)
class FilterAdapter(JournalledAdapter):
    """Drops every fifth message."""

    ends_messages: ClassVar[bool] = True

    def work(self, context: PipelineContext) -> AdapterResult | None:
        """Return nothing for what is dropped."""
        return None if context.payload["n"] % 5 == 4 else super().work(context)


@register_adapter_type("selftest_slow", config=JournalledConfig)
class SlowAdapter(JournalledAdapter):
    """Takes its time; stands behind a condition."""


@register_adapter_type("selftest_batch", config=JournalledConfig)
class BatchAdapter:
    """Handles messages together."""

    def __init__(self, config: JournalledConfig) -> None:
        self._one = JournalledAdapter(config)
        self._seconds = config.seconds

    async def open(self, environment: AdapterEnvironment) -> None:
        """Open the journal."""
        await self._one.open(environment)

    async def close(self) -> None:
        """Close the journal."""
        await self._one.close()

    async def process_batch(self, contexts: Sequence[PipelineContext]) -> list[AdapterResult]:
        """Work on all, with a line of the journal for each."""
        for context in contexts:
            self._one.journal.tell("start", context)
        await asyncio.sleep(self._seconds)
        together = len(contexts)
        results = [AdapterResult(noisy(context.payload, batch=together)) for context in contexts]
        for context in contexts:
            self._one.journal.tell("end", context)
        return results


@register_adapter_type("selftest_flaky", config=JournalledConfig)
class FlakyAdapter(JournalledAdapter):
    """Fails some messages once or twice, some for good, and some until nobody tries again."""

    def work(self, context: PipelineContext) -> AdapterResult | None:
        """Fail by the message's number, so that every run fails the same ones."""
        number = context.payload["n"] % 10
        if number == 3:
            raise PermanentError("fails for good")
        if number == 7:
            raise TransientError("fails every time")
        if number in {1, 2} and context.attempt <= number:
            raise TransientError(f"fails the first {number}")
        return super().work(context)


class RoundConfig(JournalledConfig):
    """How long a cycle is."""

    rounds: int = 2
    """A message leaves the cycle in this round."""


@register_adapter_type("selftest_round", config=RoundConfig)
class RoundAdapter(JournalledAdapter):
    """Counts a message's rounds and ends it in the last."""

    ends_messages: ClassVar[bool] = True

    def __init__(self, config: RoundConfig) -> None:
        super().__init__(config)
        self._rounds = config.rounds

    def work(self, context: PipelineContext) -> AdapterResult | None:
        """Return nothing in the last round: the cycle's exit."""
        rounds = context.payload.get("rounds", 0) + 1
        return (
            None if rounds >= self._rounds else AdapterResult(noisy(context.payload, rounds=rounds))
        )
