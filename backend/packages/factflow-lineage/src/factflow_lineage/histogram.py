"""Durations in log-spaced buckets: quantiles of any number of rows from a few dozen counts.

Bucket b >= 0 holds durations from 2^(b/4) up to 2^((b+1)/4) microseconds; bucket -1 what is shorter than
one. A bucket stands for its geometric middle, so a quantile is within a factor of 2^(1/8), 9.1 %, of
the duration it names (or within 1 microsecond, for bucket -1).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

PER_DOUBLING = 4
ERROR_BOUND = 2 ** (1 / (2 * PER_DOUBLING)) - 1
LONGEST_US = 2**53


def microseconds(duration_ms: float | None) -> float:
    """Return a duration in microseconds, within 0 and 2^53 (285 years) whatever was given."""
    if duration_ms is None or not duration_ms > 0:  # also catches NaN
        return 0.0
    return min(duration_ms * 1000, float(LONGEST_US))


def bucket_of(duration_us: float) -> int:
    """Return the bucket a duration falls into."""
    return -1 if duration_us < 1 else math.floor(PER_DOUBLING * math.log2(duration_us))


def bucket_ms(bucket: int) -> float:
    """Return the milliseconds a bucket stands for."""
    return 0.0 if bucket < 0 else float(2 ** ((bucket + 0.5) / PER_DOUBLING)) / 1000


def quantile_ms(histogram: Mapping[int, int], share: float) -> float | None:
    """Return the nearest-rank quantile (`share` in 0..1) in milliseconds; None without durations."""
    needed = math.ceil(share * sum(histogram.values()))
    seen = 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= max(needed, 1):
            return bucket_ms(bucket)
    return None


def shorter_than(histogram: Mapping[int, int], doublings: int) -> int:
    """Return how many durations were shorter than 2^`doublings` microseconds; exact, as that is an edge."""
    edge = PER_DOUBLING * doublings
    return sum(number for bucket, number in histogram.items() if bucket < edge)
