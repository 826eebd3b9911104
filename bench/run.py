"""Measures a fan-out pipeline against the cost of the durable work itself.

    make bench                      five rounds of 2,000 messages
    python bench/run.py --count 500 --rounds 3

Contenders alternate within each round; every figure is a ratio to L3 of its round (1.0 = as fast as the
bare durable loop), as median and range. Results go to bench/results/latest.json too.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from limits import bare_loop, durable_loop
from pipelines import one_route, two_routes
from rich.console import Console
from rich.table import Table

Run = Callable[[int, int, Path], float]

ROWS: list[tuple[str, str, Run, int]] = [
    ("L3", "loop with files, records and rows", durable_loop, 4096),
    ("L1", "bare loop", bare_loop, 4096),
    ("W1", "Factflow, one route, 4 KiB", one_route, 4096),
    ("W1p", "Factflow, two routes, 4 KiB", two_routes, 4096),
]
SMALL: list[tuple[str, str, Run, int]] = [
    ("L3m", "loop with files, 256 bytes", durable_loop, 256),
    ("W1m", "Factflow, one route, 256 bytes", one_route, 256),
]


def measure(
    rows: list[tuple[str, str, Run, int]], count: int, rounds: int, parent: Path
) -> dict[str, list[float]]:
    """Return each contender's seconds per round."""
    seconds: dict[str, list[float]] = {name: [] for name, *_ in rows}
    for _ in range(rounds):
        for name, _, run, size in rows:
            # Folders are left until the end: deleting many files slows the creation of the next ones.
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
            seconds[name].append(run(count, size, folder))
    return seconds


def main() -> None:
    """Run, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000, help="messages per run")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    table = Table("", "what", "rate / L3", "range", "µs per stage call")
    results = {}
    parent = Path(tempfile.mkdtemp(prefix="factflow-bench-"))
    for rows in (ROWS, SMALL):
        seconds = measure(rows, arguments.count, arguments.rounds, parent)
        limit = seconds[rows[0][0]]
        for name, what, _, _ in rows:
            ratios = [base / own for base, own in zip(limit, seconds[name], strict=True)]
            per_call = statistics.median(seconds[name]) / (3 * arguments.count) * 1e6
            median = statistics.median(ratios)
            table.add_row(
                name,
                what,
                f"{median:.2f}",
                f"{min(ratios):.2f}-{max(ratios):.2f}",
                f"{per_call:.0f}",
            )
            results[name] = {"ratio": median, "ratios": ratios, "seconds": seconds[name]}
    shutil.rmtree(parent)
    Console().print(table)
    target = Path(__file__).parent / "results" / "latest.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps({"count": arguments.count, "rows": results}, indent=1))


if __name__ == "__main__":
    main()
