"""Measures Factflow against the cost of the durable work itself, and against its peers.

    make bench                              everything, in about ten minutes
    make bench ARGS="--only W1,W4 --rounds 3"
    make bench ARGS=--scale                 W2 with 50,000 messages, W3 with 100,000

Contenders alternate, each run in a process of its own; every figure is the median of its rounds, with the
range. bench/README.md tells what the rows mean. All that is measured goes to bench/results/latest.json, too.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from latency import latency_rows
from machine import facts
from peers.contest import peer_rows
from recovery import recovery_rows
from rounds import Workplace, say
from storage_kinds import packed_missing
from table import Row, show, write
from throughput import Throughput

RESULTS = Path(__file__).parent / "results" / "latest.json"
GROUPS = ("W1", "W1m", "W4", "W2", "W3", "E", "peers")


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=5000, help="messages per run (5,000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of W1, W1m, W2, W4 (5)")
    parser.add_argument("--kills", type=int, default=2, help="rounds of W3 (2)")
    parser.add_argument("--kill-count", type=int, default=10_000, help="messages of W3 (10,000)")
    parser.add_argument("--peer-count", type=int, default=300, help="messages per peer's run (300)")
    parser.add_argument("--only", default=",".join(GROUPS), help=f"groups: {', '.join(GROUPS)}")
    parser.add_argument(
        "--scale", action="store_true", help="W2 with 50,000 and W3 with 100,000 messages, once"
    )
    parser.add_argument("--folder", type=Path, help="where runs make their files (temporary)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where figures go, as JSON")
    parser.add_argument(
        "--delete", action="store_true", help="delete the files at the end; this may take minutes"
    )
    given = parser.parse_args()
    unknown = set(given.only.split(",")) - set(GROUPS)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}: {', '.join(GROUPS)}")
    return given


def main() -> None:
    """Measure, print the table, write the JSON."""
    given = arguments()
    place = Workplace(given.folder)
    about = facts(place.root)
    throughput = Throughput(place, given.count, given.rounds, packed_missing())
    once = Throughput(place, given.count, 1, packed_missing())
    kill_count, kills = (100_000, 1) if given.scale else (given.kill_count, given.kills)
    groups: dict[str, Callable[[], list[Row]]] = {
        "W1": throughput.w1,
        "W1m": throughput.w1m,
        "W4": throughput.w4,
        "W2": lambda: once.w2(50_000) if given.scale else throughput.w2(given.count),
        "W3": lambda: recovery_rows(place, kill_count, kills),
        "E": lambda: latency_rows(place, given.count, min(given.rounds, 3)),
        "peers": lambda: peer_rows(place, given.peer_count, min(given.rounds, 3)),
    }
    begun = time.monotonic()
    rows: list[Row] = []
    for name in GROUPS:
        if name in given.only.split(","):
            rows += groups[name]()
            options = {name: str(value) for name, value in vars(given).items()}
            write(rows, given.json, machine=about, options=options)
    show(rows, f"{given.count} messages, {given.rounds} rounds; ratios of rates or times")
    say(f"{time.monotonic() - begun:.0f} s; figures in {given.json}")
    if given.delete:
        shutil.rmtree(place.root)
    else:
        say(f"The runs' files are left in {place.root}: deleting them slows the disk for minutes.")


if __name__ == "__main__":
    main()
