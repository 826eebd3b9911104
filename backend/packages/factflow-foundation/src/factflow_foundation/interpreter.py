"""Python's own settings for a process that runs for long.

What is loaded at the start never becomes garbage, yet every full collection would walk over it, for tens
of milliseconds in which the event loop stands still. Messages leave hardly any cycles behind.
"""

from __future__ import annotations

import gc

YOUNG_OBJECTS = 20_000
"""New containers, less those freed, until the next collection of the youngest; Python's own is 700."""
OLDER_AFTER = 20
"""Collections of one generation until the next older one is collected with it."""


def start() -> None:
    """Collect nothing until `settle`: nearly all that is made meanwhile stays, and is looked at in vain."""
    gc.disable()


def settle() -> None:
    """Leave what exists now out of all later collections, and collect less often; once, when started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, OLDER_AFTER, OLDER_AFTER)
    gc.enable()
