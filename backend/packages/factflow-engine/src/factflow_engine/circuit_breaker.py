"""Keeps a stage from being called while what it depends on is down: the circuit breaker of M. Nygard's
*Release It!* (2007), with the pause between probes doubling.

*Closed*, calls pass, and failures in a row are counted. *Open*, none passes and the route takes no message.
*Half open*, once the pause is over, the route takes one message at a time and the first to come to the stage
is the probe: its success closes the breaker, its failure opens it again for twice as long. Only what may
pass counts as a failure; a message that fails for its own sake says nothing about the service. Every call
counts for the state it began in, so what was in hand when the breaker opened changes nothing any more.

State is in memory: after a restart every breaker is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

from factflow_engine.config.models import CircuitBreakerConfig
from factflow_engine.execution_spec import BreakerRuntime
from factflow_foundation import logs
from factflow_foundation.clock import Clock

LONGEST_PAUSE = 600.0
"""Seconds to which the pause between probes grows, unless it was longer from the start."""

State = Literal["closed", "open", "half_open"]

log = logs.logger(__name__)


class BreakerOpenError(Exception):
    """The stage must not be called now; its message goes back into the queue as it is."""


class CircuitBreaker:
    """One stage's, in one execution. `on_change` is called when the route may have to take more or less."""

    def __init__(
        self, stage: str, config: CircuitBreakerConfig, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self._stage = stage
        self._failures_allowed = config.failures
        self._first_pause = self._pause = config.probe_after_seconds
        self._clock = clock
        self._on_change = on_change
        self._state: State = "closed"
        self._probing = False
        self._era = 0
        self._failures = 0
        self._opened_at = 0.0
        self._probe_at = 0.0
        self._last_error = ""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def lets_take(self) -> Literal["all", "one", "none"]:
        """Tell how many messages the route may take: one at a time to find a probe, none during it."""
        if self._state == "closed":
            return "all"
        return "one" if self._state == "half_open" and not self._probing else "none"

    @property
    def runtime(self) -> BreakerRuntime | None:
        """Return the breaker as it is shown, None while it is closed."""
        if self._state == "closed":
            return None
        return BreakerRuntime(
            stage=self._stage,
            state=self._state,
            opened_at=self._opened_at,
            probe_at=self._probe_at,
            failures=self._failures,
            last_error=self._last_error,
        )

    def admit(self) -> int:
        """Let a call pass and return the era it counts for. Raises `BreakerOpenError`."""
        if self._state == "half_open" and not self._probing:
            self._probing = True
            self._on_change()
        elif self._state != "closed":
            raise BreakerOpenError
        return self._era

    def succeeded(self, era: int) -> None:
        """Count a call that came back with a result."""
        if era != self._era:
            return
        self._failures = 0
        if self._state == "half_open":
            log.warning("breaker closed", stage=self._stage)
            self._enter("closed")

    def failed(self, era: int, error: str) -> bool:
        """Count a failure that may pass; True when its message has to wait, and loses no attempt."""
        if era == self._era:
            self._failures += 1
            if self._state == "half_open":
                self._open(error, min(self._pause * 2, max(LONGEST_PAUSE, self._first_pause)))
            elif self._failures >= self._failures_allowed:
                self._open(error, self._first_pause)
        return self._state != "closed"

    def undecided(self, era: int) -> None:
        """End a call that says nothing about the service: cut off, or failed for its message's sake."""
        if era == self._era and self._probing:
            self._probing = False
            self._on_change()

    def close(self) -> None:
        """Let the timer go; the execution ends."""
        if self._timer is not None:
            self._timer.cancel()

    def _open(self, error: str, pause: float) -> None:
        self._pause = pause
        self._last_error = error
        self._opened_at = self._clock.now()
        self._probe_at = self._opened_at + pause
        log.warning("breaker opened", stage=self._stage, seconds=pause, failures=self._failures)
        self._timer = asyncio.get_running_loop().call_later(pause, self._enter, "half_open")
        self._enter("open")

    def _enter(self, state: State) -> None:
        self._state = state
        self._probing = False
        self._era += 1
        self._on_change()
