"""What a peer's script is told, and how it answers."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from cost import Cost

WARM_UP = 10
"""Messages that go through before the clock starts, as with Factflow."""
CONCURRENCY = 16


@dataclass(frozen=True, slots=True)
class Assignment:
    """`count` payloads of about `size` bytes from one seed through A, B and C; files go to `folder`."""

    count: int
    size: int
    folder: Path


def assignment() -> Assignment:
    """Return what the command line asks for."""
    count, size, folder = sys.argv[1:]
    return Assignment(int(count), int(size), Path(folder))


def answer(cost: Cost) -> None:
    """Print the result as the last line."""
    print(json.dumps(asdict(cost)), flush=True)
