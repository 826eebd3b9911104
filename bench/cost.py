"""What a piece of work costs: seconds on the clock, and seconds of processor time of all own processes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """`seconds` on the clock; `cpu` seconds of this process and of those it started."""

    seconds: float
    cpu: float


class Meter:
    """Measures from the call of `start` to that of `stop`.

    The clock of a busy machine with a slow disk varies by a factor of two; processor time varies less, so
    both are told.
    """

    def __init__(self) -> None:
        self._wall = 0.0
        self._cpu = 0.0

    def start(self) -> None:
        self._cpu = cpu_seconds()
        self._wall = time.perf_counter()

    def stop(self) -> Cost:
        return Cost(time.perf_counter() - self._wall, cpu_seconds() - self._cpu)


def cpu_seconds() -> float:
    """Return the processor time of this process, of its children that live and of those it has reaped."""
    spent = os.times()
    own = spent.user + spent.system + spent.children_user + spent.children_system
    return own + sum(process_cpu(pid) for pid in descendants(os.getpid()))


def process_cpu(pid: int) -> float:
    """Return the processor time of a process and of the children it has reaped; 0 when it has gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def descendants(pid: int) -> list[int]:
    """Return the living processes below this one (Linux; none elsewhere)."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in path.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *descendants(child)]
    return found


def tree_cpu(pid: int) -> float:
    """Return the processor time of a process and all that live below it."""
    return process_cpu(pid) + sum(process_cpu(child) for child in descendants(pid))


def tree_memory(pid: int) -> int:
    """Return the resident bytes of a process and all that live below it."""
    return sum(resident(each) for each in [pid, *descendants(pid)])


def resident(pid: int) -> int:
    """Return the bytes that a process has in memory; 0 when it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
