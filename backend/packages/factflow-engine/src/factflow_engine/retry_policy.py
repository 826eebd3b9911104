"""Which failures are tried again, and when."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from factflow_engine.config.models import ErrorHandlingConfig
from factflow_protocols.errors import PermanentError, StorageError, TransientError

LONGEST_DELAY = 3600.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A route's `error_handling`: exponential back-off with full jitter over the upper half."""

    max_retries: int
    delay_seconds: float
    jitter: Callable[[], float] = random.random

    @classmethod
    def of(cls, config: ErrorHandlingConfig) -> RetryPolicy:
        """Return the policy that a route's settings describe."""
        return cls(config.max_retries, config.retry_delay_seconds)

    def delay_before_next(self, error: BaseException, attempt: int) -> float | None:
        """Return the seconds until the next attempt, None when this failure is final.

        `attempt` is the one that failed, counted from 1. An error's own `retry_after` wins over the
        back-off; a `PermanentError`, or an artefact that is missing or damaged, is final at once.
        """
        if isinstance(error, (PermanentError, StorageError)) or attempt > self.max_retries:
            return None
        if isinstance(error, TransientError) and error.retry_after is not None:
            return min(error.retry_after, LONGEST_DELAY)
        full = min(self.delay_seconds * 2.0 ** (attempt - 1), LONGEST_DELAY)
        return full * (0.5 + self.jitter() / 2)
