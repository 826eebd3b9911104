"""Which calls were made twice, and whether a kill excuses them."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from factflow_selftest.evidence import Evidence, Kill
from factflow_selftest.figures import Figures
from factflow_selftest.journal import Line, Unit

Message = tuple[str, str, str, str]
"""Execution, route, stage, message."""


@dataclass(slots=True)
class _History:
    """What is known of one message at one stage: the processes, counted, that did something to it."""

    starts: list[tuple[int, Unit]] = field(default_factory=list)
    ends: set[tuple[int, Unit]] = field(default_factory=set)
    errors: set[tuple[int, Unit]] = field(default_factory=set)


def count_invocations(evidence: Evidence, figures: Figures) -> None:
    """Count calls, repeats, and what was in flight at the kills.

    A call may be made again by a later process alone, and only if the process that made it was killed
    before its outcome was committed: before the record stood, or the next attempt was queued.
    """
    kills = evidence.kills
    histories = _histories(evidence.lines(), kills)
    for history in histories.values():
        figures.invocations += len(history.starts)
        _judge_repeats(history, kills, figures)
        _count_in_flight(history, kills, figures)


def _histories(lines: Sequence[Line], kills: Sequence[Kill]) -> dict[Message, _History]:
    ends = [kill.journal_end for kill in kills]
    histories: dict[Message, _History] = defaultdict(_History)
    for line in lines:
        process = bisect_left(ends, line.at)
        history = histories[line.unit[:4]]
        if line.what == "start":
            history.starts.append((process, line.unit))
        elif line.what == "end":
            history.ends.add((process, line.unit))
        else:
            history.errors.add((process, line.unit))
    return histories


def _judge_repeats(history: _History, kills: Sequence[Kill], figures: Figures) -> None:
    last: dict[Unit, int] = {}
    later: tuple[int, int] = (0, 0)
    """The highest attempt so far, and the process that made it."""
    for process, unit in history.starts:
        before = last.get(unit)
        last[unit] = process
        if before is not None:
            figures.repeated += 1
            if before == process:
                figures.find("wrongly_repeated", f"{unit} was called twice by one process")
            elif kills[process - 1].had_committed(unit):
                figures.find("wrongly_repeated", f"{unit} was called again, its record stood")
            elif unit.attempt < later[0] and not _queue_was_lost(kills[later[1] : process]):
                figures.find("wrongly_repeated", f"{unit} was called again, after a later attempt")
        later = max(later, (unit.attempt, process))


def _queue_was_lost(kills: Sequence[Kill]) -> bool:
    return any(kill.queue_lost for kill in kills)


def _count_in_flight(history: _History, kills: Sequence[Kill], figures: Figures) -> None:
    for place, (process, unit) in enumerate(history.starts):
        if process == len(kills):
            continue  # its process ended in order
        cut_off = _was_cut_off(history, place, kills[process])
        # How often a message was tried is known to the queue alone until its outcome is committed.
        forgotten = any(
            kill.queue_lost and not kill.had_committed(unit) for kill in kills[process:]
        )
        if cut_off or forgotten:
            figures.in_flight += 1
            ended = (process, unit) in history.ends | history.errors
            figures.in_adapter += not ended


def _was_cut_off(history: _History, place: int, kill: Kill) -> bool:
    """Tell whether neither the outcome of a call nor the next attempt was committed at the kill."""
    process, unit = history.starts[place]
    following = history.starts[place + 1 :]
    if kill.had_committed(unit) or any(same == process for same, _ in following):
        return False
    failed = (process, unit) in history.errors
    return not (failed and following and following[0][1].attempt > unit.attempt)
