"""Python's own settings for a process that runs for long, with a busy event loop and some threads beside it.

What is loaded at the start never becomes garbage, yet every full collection would walk over it, for tens
of milliseconds in which the event loop stands still. Messages leave hardly any cycles behind.

A database's thread needs the interpreter lock for a moment, many times for one question. While the loop
computes it gets it after the switch interval, whose default of 5 ms would make of twenty moments a tenth of a
second.
"""

from __future__ import annotations

import gc
import sys

YOUNG_OBJECTS = 20_000
"""New containers, less those freed, until the next collection of the youngest; Python's own is 700."""
OLDER_AFTER = 20
"""Collections of one generation until the next older one is collected with it."""
SWITCH_SECONDS = 0.0005


def settle() -> None:
    """Leave what exists now out of all later collections, collect less often, and have threads take turns
    sooner; once, when started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, OLDER_AFTER, OLDER_AFTER)
    sys.setswitchinterval(SWITCH_SECONDS)
