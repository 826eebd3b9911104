"""The work that every contender does: three stages over small payloads."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from typing import Any

WORDS = [f"word{number:03d}" for number in range(400)]


@functools.cache
def payload(number: int, size: int) -> dict[str, Any]:
    """Return payload `number`: JSON of about `size` bytes, the same in every run and made only once."""
    chooser = random.Random(number)
    text = " ".join(chooser.choice(WORDS) for _ in range(max(size - 40, 8) // 8))
    return {"n": number, "text": text}


def stage_a(data: dict[str, Any]) -> dict[str, Any]:
    """Parse and transform: split, count, sort."""
    words = data["text"].split()
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return {
        "n": data["n"],
        "text": data["text"].upper(),
        "top": sorted(counts, key=counts.__getitem__)[-5:],
    }


def stage_b(data: dict[str, Any]) -> dict[str, Any]:
    """Transform: reverse the words."""
    return {"n": data["n"], "text": " ".join(reversed(data["text"].split())), "top": data["top"]}


def stage_c(data: dict[str, Any]) -> dict[str, Any]:
    """Sink: a digest of what arrived."""
    return {"n": data["n"], "sha": hashlib.sha256(json.dumps(data).encode()).hexdigest()}
