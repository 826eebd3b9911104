"""Runs the peers on W1's work, each against the limit and Factflow in the same rounds."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from rounds import Entry, Workplace, say
from table import Row, ratios, skipped

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".peers" / "bin" / "python"
SIZE = 4096
STAGES = 3
LONGEST = 600
PEERS = {
    "dbos": "DBOS Transact on SQLite",
    "prefect": "Prefect, results persisted",
    "faststream": "FastStream on NATS JetStream",
    "dramatiq": "Dramatiq on Redis",
}


class PeerError(Exception):
    """A peer cannot be measured; the message says why, in a few words."""


def peer_rows(place: Workplace, count: int, rounds: int) -> list[Row]:
    """Return a row for each peer: its rate against L3's, and how many times Factflow does it."""
    if not PYTHON.exists():
        why = "not installed: make bench-peers"
        return [skipped(f"P {name}", what, why) for name, what in PEERS.items()]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in ("L3", "W1", *PEERS)}
    failed: dict[str, str] = {}
    for number in range(rounds):
        say(f"peers, round {number + 1} of {rounds}: {count} messages of {SIZE} bytes")
        for name in ("L3", "W1"):
            results[name].append(place.run(Entry(name, name), count, SIZE))
        for name in (peer for peer in PEERS if peer not in failed):
            try:
                results[name].append(_run(name, place.folder(name), count))
            except PeerError as error:
                failed[name] = str(error)
                say(f"  {name}: {error}")
    limit = [result["seconds"] for result in results["L3"]]
    own = [result["seconds"] for result in results["W1"]]
    return [
        Row("P", f"Factflow (W1) with {count} messages", ratios(limit, own), against="L3"),
        *(
            skipped(f"P {name}", what, failed[name])
            if name in failed
            else _row(name, results[name], limit, own, count)
            for name, what in PEERS.items()
        ),
    ]


def _row(
    name: str, results: list[dict[str, Any]], limit: list[float], own: list[float], count: int
) -> Row:
    seconds = [result["seconds"] for result in results]
    processor = [result["cpu"] for result in results]
    wall, cpu = (median(each) / (STAGES * count) * 1e6 for each in (seconds, processor))
    return Row(
        f"P {name}",
        PEERS[name],
        ratios(limit, seconds),
        against="L3",
        per_call_us=(wall, cpu),
        note=f"Factflow: {median(ratios(seconds, own)):.1f} times as fast",
    )


def _run(name: str, folder: Path, count: int) -> dict[str, Any]:
    with tempfile.TemporaryFile("w+") as said:
        try:
            done = subprocess.run(
                [PYTHON, HERE / f"with_{name}.py", str(count), str(SIZE), str(folder)],
                env={**os.environ, "PYTHONPATH": str(HERE.parent)},
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                timeout=LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PeerError(f"took longer than {LONGEST} s") from None
        said.seek(0)
        if done.returncode:
            lines = said.read().strip().splitlines() or ["no word"]
            raise PeerError(f"failed: {lines[-1][:100]}")
    answers = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
    if not answers:
        raise PeerError("gave no answer")
    result: dict[str, Any] = json.loads(answers[-1])
    say(f"  {name}: {result['seconds']:.2f} s, {result['cpu']:.2f} s of processor time")
    return result
