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
    retry_on: frozenset[str] | None = None
    """Error classes by name; None stands for all that are not final."""
    jitter: Callable[[], float] = random.random

    @classmethod
    def of(cls, config: ErrorHandlingConfig) -> RetryPolicy:
        """Return the policy that a route's settings describe."""
        retry_on = None if config.retry_on is None else frozenset(config.retry_on)
        return cls(config.max_retries, config.retry_delay_seconds, retry_on)

    def delay_before_next(self, error: BaseException, attempt: int) -> float | None:
        """Return the seconds until the next attempt, None when this failure is final.

        `attempt` is the one that failed, counted from 1. An error's own `retry_after` wins over the
        back-off. A `PermanentError`, or an artefact that is missing or damaged, is final at once, as is
        an error of which neither the class nor one it derives from is in `retry_on`.
        """
        if attempt > self.max_retries or not self.may_pass(error):
            return None
        if isinstance(error, TransientError) and error.retry_after is not None:
            return min(error.retry_after, LONGEST_DELAY)
        full = min(self.delay_seconds * 2.0 ** (attempt - 1), LONGEST_DELAY)
        return full * (0.5 + self.jitter() / 2)

    def may_pass(self, error: BaseException) -> bool:
        """Tell whether the same input may succeed later: not after a final failure, nor after one that
        `retry_on` leaves out."""
        if isinstance(error, (PermanentError, StorageError)):
            return False
        if self.retry_on is None:
            return True
        return any(kind.__name__ in self.retry_on for kind in type(error).__mro__)
