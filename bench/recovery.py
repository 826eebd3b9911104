"""W3: a server that is killed with messages under way, and the next one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from pipelines import fan, one_route, stage
from rounds import Workplace, say
from servers import Journal, Server, wait_until
from table import Row

SIZE = 4096
STAGES = 3
CLAIMED = 64
"""Messages that the route holds ready or runs at a time: its prefetch."""
ROWS_SECONDS = 30.0
"""How long lineage rows may take to come after the end."""


@dataclass(slots=True)
class Figures:
    """What was seen of the kills, one value for each."""

    undisturbed: list[float] = field(default_factory=list)
    ready: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    pending: list[int] = field(default_factory=list)
    to_end: list[float] = field(default_factory=list)
    lost: int = 0
    repeated: list[int] = field(default_factory=list)
    rows_missing: int = 0
    rows_after: list[float] = field(default_factory=list)


def recovery_rows(place: Workplace, count: int, rounds: int) -> list[Row]:
    """Kill a server with all messages pending, and another one half-way; `rounds` times."""
    figures = Figures()
    for number in range(rounds):
        say(f"kill {number + 1} of {rounds}: {count} messages")
        figures.undisturbed.append(_undisturbed(place.folder("W3-undisturbed"), count))
        _killed(place.folder("W3-pending"), count, calls=1, figures=figures)
        _killed(place.folder("W3-half"), count, calls=STAGES * count // 2, figures=figures)
    half = figures.to_end[1::2]
    shares = tuple(end / whole for end, whole in zip(half, figures.undisturbed, strict=True))
    pending = f"{min(figures.pending[::2])} pending"
    return [
        Row("W3", f"kill -9 half-way of {count}: start to end", shares, "", "undisturbed", "≤ 0.6"),
        Row("W3f", "start to first new message", tuple(figures.first[::2]), "s", pending, "≤ 5 s"),
        Row("W3r", "start to ready", tuple(figures.ready), "s", "", "≤ 2 s"),
        Row("W3l", "messages lost, over all kills", (figures.lost,), target="0"),
        Row(
            "W3d",
            "calls repeated after a kill",
            tuple(figures.repeated),
            "",
            f"{CLAIMED} claimed",
            f"≤ {CLAIMED}",
        ),
        Row(
            "W3g",
            "lineage rows missing after recovery",
            (figures.rows_missing,),
            target="0",
            note=f"complete {max(figures.rows_after):.1f} s after the end at the latest",
        ),
    ]


def _pipeline(count: int, journal: Path) -> str:
    noted = {"journal": str(journal)}
    return one_route(fan(count, SIZE), *(stage(name, **noted) for name in ("a", "b", "c")))


def _undisturbed(folder: Path, count: int) -> float:
    with Server(folder) as server:
        begun = time.time()
        server.finish(server.begin(_pipeline(count, folder / "journal")))
        seconds = time.time() - begun
        server.stop()
    return seconds


def _killed(folder: Path, count: int, calls: int, figures: Figures) -> None:
    """Kill the server after so many calls, start another, and see what came of the messages."""
    journal = Journal(folder / "journal")
    with Server(folder) as server:
        execution_id = server.begin(_pipeline(count, journal.path))
        journal.wait_for(calls)
        server.kill()
    before = journal.counts()
    figures.pending.append(count - sum(stage == "c" for stage, _ in before))
    with Server(folder) as server:
        execution = server.finish(execution_id)
        ended = time.time()
        figures.ready.append(server.ready)
        figures.to_end.append(ended - server.spawned)
        figures.first.append(_first_new(journal, before.total(), set(before)) - server.spawned)
        expected = STAGES * count + 1
        late = time.monotonic() + ROWS_SECONDS
        wait_until(
            "lineage rows",
            lambda: server.row_count(execution_id) >= expected or time.monotonic() > late,
        )
        figures.rows_after.append(time.time() - ended)
        figures.rows_missing += expected - server.row_count(execution_id)
        server.stop()
    calls_in_all = journal.counts()
    figures.repeated.append(sum(number - 1 for number in calls_in_all.values()))
    records = len(
        list((folder / "data/storage/executions" / execution_id).glob("*/bench_c/*.meta.json"))
    )
    figures.lost += max(count - records, count + 1 - execution["message_count"], 0)
    say(f"  {figures.pending[-1]} pending, {figures.repeated[-1]} repeated, {figures.lost} lost")


def _first_new(journal: Journal, skip: int, known: set[tuple[str, int]]) -> float:
    """Return when the first call was made that had not been made before the kill."""
    lines = journal.path.read_text().splitlines()[skip:]
    for stage_name, number, at in (line.split() for line in lines):
        if (stage_name, int(number)) not in known:
            return float(at)
    raise SystemExit("nothing was left to do after the kill")
