"""W1 to W4 without crashes: how fast messages go through, as ratios to the limits."""

from __future__ import annotations

import statistics
from typing import Any

from contender import CONCURRENCY, WAIT
from replays import FAIL_EVERY
from rounds import PACKED, Entry, Workplace
from table import Row, ratios, skipped

Results = dict[str, list[dict[str, Any]]]
LARGE, SMALL = 4096, 256
STAGES = 3


class Throughput:
    """Measures in `rounds` rounds of `count` messages; `packed` is why there is no packed storage."""

    def __init__(self, place: Workplace, count: int, rounds: int, packed_missing: str) -> None:
        self._place = place
        self._count = count
        self._rounds = rounds
        self._packed_missing = packed_missing

    def w1(self) -> list[Row]:
        """W1, W1p, with lineage and without, on plain files and packed; and what L1 does."""
        entries = [Entry(name, name) for name in ("L3", "L1", "W1", "W1n", "W1p")]
        results = self._run(entries, "W1", LARGE)
        row = _Rows(results, self._count)
        return [
            row.of("L3", "L3", "the limit: a loop that keeps as much"),
            row.of("L1", "L3", "a loop that keeps nothing"),
            row.of("W1", "L3", "fan-out and three stages, 4 KiB", "≥ 1.25"),
            self._packed(row, "W1k", "L3", "W1 on packed storage", "≥ 1.5"),
            row.of("W1p", "W1", "W1 with a queue hop behind A", "≥ 0.8"),
            row.of("W1n", "L3", "W1 whose lineage rows are forgotten"),
            row.of("W1", "W1n", "W1 with lineage, against without", "≥ 0.88", name="W1l"),
        ]

    def w1m(self) -> list[Row]:
        """The same with small payloads."""
        results = self._run([Entry("L3m", "L3"), Entry("W1m", "W1")], "W1", SMALL, "W1mk")
        row = _Rows(results, self._count)
        return [
            row.of("L3m", "L3m", "the limit with 256 bytes"),
            row.of("W1m", "L3m", "W1 with 256 bytes", "≥ 1.3"),
            self._packed(row, "W1mk", "L3m", "W1m on packed storage", "≥ 2.5"),
        ]

    def w4(self) -> list[Row]:
        """A stage that waits."""
        entries = [Entry("W4", "W4"), Entry("L4", "L4"), Entry("W1 beside W4", "W1")]
        results = self._run(entries, "W4", LARGE, "W4k")
        ideal = self._count * WAIT / CONCURRENCY
        results["ideal"] = [{"seconds": ideal, "cpu": 0.0}] * self._rounds
        row = _Rows(results, self._count)
        return [
            row.of(
                "W4",
                "ideal",
                f"stage B waits {WAIT * 1000:.0f} ms, {CONCURRENCY} at a time",
                "≥ 0.7",
            ),
            self._packed(row, "W4k", "ideal", "W4 on packed storage", "≥ 0.8"),
            row.of("L4", "ideal", "a bare loop of that"),
            row.of("W4", "L4", "W4 against the bare loop", name="W4l"),
            row.of("W4", "W1 beside W4", "W4 against W1 (the processor's limit)", name="W4w"),
        ]

    def w2(self, count: int) -> list[Row]:
        """Replays."""
        results = []
        for number in range(self._rounds):
            run = "W2s" if number % 2 else "W2"
            results.append(self._place.run(Entry("W2", run), count, LARGE))
        failed = results[0]["failed"]
        needed = {"b": failed, "c": failed}
        exact = all(
            result["only_failed_calls"] == needed
            and result["whole_calls"] == {"b": count, "c": count}
            for result in results
        )
        return [
            Row(
                "W2",
                f"replay of the {100 // FAIL_EVERY} % that failed at B, of {count}",
                _quotients(results, "only_failed", "first"),
                against="first run",
                target="≤ 0.06",
                note="calls exactly the needed" if exact else "WRONG NUMBER OF CALLS",
                per_call_us=_per_call([result["only_failed"] for result in results], 2 * failed),
            ),
            Row(
                "W2a",
                "replay of everything behind A",
                _quotients(results, "fresh", "whole"),
                against="fresh B, C",
                target="≥ 1.0",
                per_call_us=_per_call([result["whole"] for result in results], 2 * count),
            ),
        ]

    def _run(self, entries: list[Entry], run: str, size: int, packed_name: str = "W1k") -> Results:
        if not self._packed_missing:
            entries = [*entries, Entry(packed_name, run, PACKED)]
        return self._place.alternate(entries, self._rounds, self._count, size)

    def _packed(self, rows: _Rows, name: str, limit: str, what: str, target: str) -> Row:
        if self._packed_missing:
            return skipped(name, what, self._packed_missing)
        return rows.of(name, limit, what, target)


class _Rows:
    """Makes rows of results: the rate of one against the rate of another."""

    def __init__(self, results: Results, count: int) -> None:
        self._results = results
        self._calls = STAGES * count

    def of(self, contender: str, limit: str, what: str, target: str = "", name: str = "") -> Row:
        own = self._results[contender]
        costs = [[result["seconds"], result["cpu"]] for result in own]
        return Row(
            name or contender,
            what,
            ratios(_seconds(self._results[limit]), _seconds(own)),
            against=limit.partition(" ")[0],
            target=target,
            per_call_us=_per_call(costs, self._calls),
        )


def _seconds(results: list[dict[str, Any]]) -> list[float]:
    return [result["seconds"] for result in results]


def _quotients(results: list[dict[str, Any]], over: str, under: str) -> tuple[float, ...]:
    return tuple(result[over][0] / result[under][0] for result in results)


def _per_call(costs: list[list[float]], calls: int) -> tuple[float, float]:
    """Return the median microseconds of clock and processor for a call of a stage."""
    wall, cpu = (statistics.median(cost[which] for cost in costs) / calls * 1e6 for which in (0, 1))
    return wall, cpu
