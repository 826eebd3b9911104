"""What the services cost, as ratios to the embedded default of the same round."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from contender import CONCURRENCY, WAIT
from pipelines import fan, one_route, stage, two_routes
from rounds import Workplace, say
from services.stacks import Pipeline, Stack, embedded, shared
from table import Row, ratios

from factflow_testing.s3_server import S3Server

SIZE = 4096
WORKERS = (1, 2, 4)


def w1(count: int) -> str:
    """Fan-out and three stages in one route."""
    return one_route(fan(count, SIZE), stage("a"), stage("b"), stage("c"))


def w1p(count: int) -> str:
    """The same with a queue hop between A and B."""
    return two_routes([fan(count, SIZE), stage("a")], [stage("b"), stage("c")])


def w4(count: int) -> str:
    """W1 with a stage B that waits."""
    stages = (fan(count, SIZE), stage("a"), stage("b", wait=WAIT), stage("c"))
    return one_route(*stages, concurrency=CONCURRENCY)


class Services:
    """Measures in `rounds` rounds of `count` messages."""

    def __init__(self, place: Workplace, count: int, rounds: int, brokers: dict[str, str]) -> None:
        self._place = place
        self._count = count
        self._rounds = rounds
        self._brokers = brokers

    def hops(self) -> list[Row]:
        """What a hop from one route to the next costs with each provider of queues."""
        kinds: dict[str, Callable[[Path], object]] = {"embedded": embedded}
        for name, url in self._brokers.items():
            kinds[name] = partial(shared, workers=0, queue_url=url)
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(self._rounds):
            for name, lend in kinds.items():
                took = {
                    kind: self._once(name, lend, pipeline)
                    for kind, pipeline in (("W1", w1), ("W1p", w1p))
                }
                found[name].append(1e6 * (took["W1p"] - took["W1"]) / self._count)
        rows = []
        for name, values in found.items():
            rows.append(Row(f"H {name}", "a queue hop of a message", tuple(values), "µs"))
            if name != "embedded":
                over = ratios(values, found["embedded"])
                rows.append(Row(f"H {name}", "the same", over, against="H embedded"))
        return rows

    def scaling(self) -> list[Row]:
        """W1 and W4 with more and more workers against one process that does everything."""
        rows = []
        url = next(iter(self._brokers.values()))
        for name, pipeline in (("W1", w1), ("W4", w4)):
            alone: list[float] = []
            many: dict[int, list[float]] = {workers: [] for workers in WORKERS}
            for _ in range(self._rounds):
                alone.append(self._once(f"{name} alone", embedded, pipeline))
                for workers in WORKERS:
                    lend = partial(shared, workers=workers, queue_url=url)
                    many[workers].append(self._once(f"{name} {workers} workers", lend, pipeline))
            rows.append(Row(f"{name} alone", "one process, embedded", tuple(alone), "s"))
            for workers, values in many.items():
                what = f"rate with {workers} workers, PostgreSQL and broker"
                rows.append(
                    Row(f"{name} {workers}", what, ratios(alone, values), against=f"{name} alone")
                )
        return rows

    def puts(self) -> list[Row]:
        """What an outcome costs in a bucket, against plain files, with everything else embedded."""
        plain: list[float] = []
        bucket: list[float] = []
        with S3Server() as s3:
            for _ in range(self._rounds):
                plain.append(self._once("plain files", embedded, w1))
                there = {
                    "FACTFLOW_STORAGE_URI": f"s3://{s3.make_bucket()}/bench",
                    **s3.environment(),
                }
                lend = partial(embedded, variables=there)
                bucket.append(self._once("S3 (moto)", lend, w1))
        per_outcome = tuple(1e6 * seconds / (3 * self._count) for seconds in bucket)
        return [
            Row("S3", "an outcome of W1 in a bucket of moto, two PUTs", per_outcome, "µs"),
            Row("S3", "rate", ratios(plain, bucket), against="plain files"),
        ]

    def _once(self, what: str, lend: Callable[[Path], object], pipeline: Pipeline) -> float:
        folder = self._place.folder(what.replace(" ", "-"))
        with lend(folder / "run") as stack:  # type: ignore[attr-defined]  # each lends a Stack
            assert isinstance(stack, Stack)
            seconds = stack.seconds(pipeline, self._count)
        say(f"  {what}: {seconds:.2f} s")
        return seconds
