"""Measures what PostgreSQL, brokers, S3 and workers cost beside the embedded default.

    make bench-services                                 hops, scaling and puts, in about ten minutes
    make bench-services ARGS="--only scaling --rounds 3"

Needs PostgreSQL and a broker: FACTFLOW_TEST_POSTGRES_URL, FACTFLOW_TEST_AMQP_URL, or those of this machine.
Figures go to bench/results/services.json, too.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

from machine import facts
from rounds import Workplace, say
from services.rows import Services
from table import Row, show, write

from factflow_testing.broker_service import amqp_url

RESULTS = Path(__file__).parent / "results" / "services.json"
GROUPS = ("hops", "scaling", "puts")


def main() -> None:
    """Measure, print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1_000, help="messages per run (1,000)")
    parser.add_argument("--rounds", type=int, default=3, help="of each group (3)")
    parser.add_argument("--only", default=",".join(GROUPS), help=f"groups: {', '.join(GROUPS)}")
    parser.add_argument("--folder", type=Path, help="where files are made (temporary)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where figures go, as JSON")
    given = parser.parse_args()
    os.environ["FACTFLOW_TEST_FORK"] = "0"  # servers and workers as users start them
    place = Workplace(given.folder)
    services = Services(place, given.count, given.rounds, {"RabbitMQ": amqp_url()})
    groups: dict[str, Callable[[], list[Row]]] = {
        "hops": services.hops,
        "scaling": services.scaling,
        "puts": services.puts,
    }
    begun = time.monotonic()
    rows: list[Row] = []
    for name in GROUPS:
        if name in given.only.split(","):
            rows += groups[name]()
            write(rows, given.json, machine=facts(place.root))
    show(rows, "Services")
    say(f"{time.monotonic() - begun:.0f} s; figures in {given.json}")


if __name__ == "__main__":
    main()
