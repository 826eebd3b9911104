"""How causes are put into words: counts, moments, errors; short, on one line, without the server's paths."""

from __future__ import annotations

import re
from datetime import UTC, datetime

LONGEST = 300
"""Characters of somebody else's words that are quoted."""

_PATH = re.compile(r"(?<![\w./:])/(?:[^\s/:,'\"()]+/)+([^\s/:,'\"()]+)")


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return `1 message`, `2 messages`."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def moment(seconds: float) -> str:
    """Return Unix seconds as `2026-03-01 09:30:12 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def length(seconds: float) -> str:
    """Return a length of time as `250 ms`, `12 s`, `3 min`, `2.5 h`."""
    if seconds < 1:
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def quoted(text: object) -> str:
    """Return somebody else's words on one line, cut when they are long."""
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def told(text: object) -> str:
    """Return words of the server's own parts as `quoted` does, with file names instead of paths."""
    return quoted(_PATH.sub(r"\1", str(text)))


def error(kind: str, message: str) -> str:
    """Return an error as `ValueError: it was empty`."""
    return quoted(f"{kind}: {message}" if message else kind)
