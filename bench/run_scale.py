"""Measures what much of everything costs: messages in one execution, deleting it, lineage rows, executions.

    make bench-scale                                    100,000 messages, 1,000,000 rows: some minutes
    make bench-scale ARGS="--messages 1000000 --rows 10000000 --objects 1000000"
                                                        the sizes of the targets: an hour or so
    make bench-scale ARGS="--only starts"

Figures go to bench/results/scale.json, too. Files are left behind unless --delete is given.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from machine import facts
from rounds import Workplace, say
from scale.deletions import deletion_rows
from scale.lineage_table import table_rows
from scale.many_executions import execution_rows
from scale.many_messages import message_rows
from scale.starts import start_rows
from storage_kinds import packed_missing
from table import Row, show, write

RESULTS = Path(__file__).parent / "results" / "scale.json"
GROUPS = ("starts", "messages", "deletions", "lineage", "executions")


def arguments() -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=100_000, help="in one execution (100,000)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of lineage (1,000,000)")
    parser.add_argument("--executions", type=int, default=100_000, help="in the list (100,000)")
    parser.add_argument("--objects", type=int, default=100_000, help="to delete (100,000)")
    parser.add_argument("--rounds", type=int, default=5, help="of starts (5)")
    parser.add_argument(
        "--storage",
        choices=("plain", "packed"),
        help="where artefacts go: packed where there is such storage, else plain files; deletions: both",
    )
    parser.add_argument("--only", default=",".join(GROUPS), help=f"groups: {', '.join(GROUPS)}")
    parser.add_argument("--folder", type=Path, help="where files are made (temporary)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where figures go, as JSON")
    parser.add_argument("--delete", action="store_true", help="delete the files at the end")
    given = parser.parse_args()
    unknown = set(given.only.split(",")) - set(GROUPS)
    if unknown:
        parser.error(f"no group {', '.join(sorted(unknown))}: {', '.join(GROUPS)}")
    if given.storage == "packed" and packed_missing():
        parser.error(packed_missing())
    return given


def main() -> None:
    """Measure, print the table, write the JSON."""
    given = arguments()
    place = Workplace(given.folder)
    about = facts(place.root)
    packed = given.storage == "packed" or (given.storage is None and not packed_missing())
    kinds = [False, True] if given.storage is None and packed else [packed]
    groups: dict[str, Callable[[], list[Row]]] = {
        "starts": lambda: start_rows(place, given.rounds),
        "messages": lambda: message_rows(place, given.messages, packed=packed),
        "deletions": lambda: deletion_rows(place, given.objects, kinds),
        "lineage": lambda: table_rows(place, given.rows),
        "executions": lambda: execution_rows(place, given.executions),
    }
    begun = time.monotonic()
    rows: list[Row] = []
    for name in GROUPS:
        if name in given.only.split(","):
            rows += groups[name]()
            options = {name: str(value) for name, value in vars(given).items()}
            write(rows, given.json, machine=about, options=options)
    show(rows, "Much of everything")
    say(f"{time.monotonic() - begun:.0f} s; figures in {given.json}")
    if given.delete:
        shutil.rmtree(place.root)
    else:
        say(f"What was made is left in {place.root}: deleting it slows the disk for minutes.")


if __name__ == "__main__":
    main()
