"""The work that every contender does: three stages over small payloads."""

from __future__ import annotations

import functools
import hashlib
import json
import random
from typing import Any

Payload = dict[str, Any]
WORDS = [f"word{number:03d}" for number in range(400)]


VARIANTS = 64
"""Texts are drawn once and used in turn, so that making payloads costs next to nothing while a clock runs."""


def payload(number: int, size: int) -> Payload:
    """Return payload `number`: JSON of about `size` bytes, the same in every run."""
    return {"n": number, "text": _text(number % VARIANTS, size)}


@functools.cache
def _text(variant: int, size: int) -> str:
    chooser = random.Random(variant)
    return " ".join(chooser.choices(WORDS, k=max(size - 40, 8) // 8))


def stage_a(data: Payload) -> Payload:
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


def stage_b(data: Payload) -> Payload:
    """Transform: reverse the words."""
    return {"n": data["n"], "text": " ".join(reversed(data["text"].split())), "top": data["top"]}


def stage_c(data: Payload) -> Payload:
    """Sink: a digest of what arrived."""
    return {"n": data["n"], "sha": hashlib.sha256(json.dumps(data).encode()).hexdigest()}
