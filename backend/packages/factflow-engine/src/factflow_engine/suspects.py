"""Which messages may have ended the process, and what is done about them.

The queue counts for every message at how many crashes it was claimed, from its execution's second crash
on. One that was claimed at two is a *suspect*: it runs alone (see `run_gate`), and it is claimed only once
it does. So a third crash says that the process ended while nothing else was handled, and the message is
set aside as failed. Suspicion ends with the message's handling in this route; its children start afresh.
"""

from __future__ import annotations

from typing import ClassVar

from factflow_protocols.errors import PermanentError
from factflow_protocols.queue import Delivery

SUSPECT_AT = 2
SET_ASIDE_AT = SUSPECT_AT + 1
ALONE = "handled alone"


class ProcessKilledError(PermanentError):
    """A message was handled alone when the process ended without notice; it is not tried again."""

    code: ClassVar[str] = "process_killed"

    def __init__(self, crashes: int) -> None:
        super().__init__(
            f"the process ended {crashes} times while it handled this message, at last while it handled "
            "nothing else: the message is set aside and not tried again; its input is kept",
            hint="mend the adapter, or give it more memory, and replay the failed messages",
        )
        self.crashes = crashes


def is_suspect(delivery: Delivery) -> bool:
    """Tell whether a message has to be handled alone."""
    return delivery.crashes >= SUSPECT_AT


def turn_reason(delivery: Delivery) -> str:
    """Say what a message waits for whose turn has not come."""
    if is_suspect(delivery):
        return f"a message that was handled at {delivery.crashes} crashes waits to be {ALONE}"
    return f"a message that may have ended the process is {ALONE} first"


def is_turn_reason(reason: str) -> bool:
    """Tell whether a route holds for a suspect, as against trouble with storage or queue."""
    return ALONE in reason


def is_set_aside(crashes: int) -> bool:
    """Tell whether no adapter may be called for a message any more."""
    return crashes >= SET_ASIDE_AT


def is_too_dangerous_to_read(crashes: int) -> bool:
    """Tell whether the process ended even while the message was set aside: its input may be the cause."""
    return crashes > SET_ASIDE_AT
