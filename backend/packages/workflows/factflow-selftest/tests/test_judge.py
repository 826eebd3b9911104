"""A judge that cannot be deceived: every way in which a run may have gone wrong shows in its figure."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factflow_selftest.journal import Line

Tamper = Callable[[Any], None]


def lines_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines() if line]


def append(path: Path, line: Any) -> None:
    with path.open("a") as file:
        file.write("\n" + json.dumps(line))


def edit(path: Path, **fields: Any) -> None:
    record = json.loads(path.read_bytes()) | fields
    path.write_text(json.dumps(record))


@pytest.mark.long
def test_a_calm_run_is_in_order(trial: Any) -> None:
    figures = trial.verdict()
    assert figures.wrong == {}, figures.problems
    assert figures.announced == sum(figures.outcomes.values()) > 50
    assert set(figures.outcomes) == {"fanned_out", "filtered", "stored", "passed", "failed"}
    assert figures.records == figures.lineage_rows
    assert figures.invocations > figures.announced
    assert (figures.repeated, figures.in_flight, figures.set_aside) == (0, 0, 0)


def forget_an_outcome(trial: Any) -> None:
    trial.file("work/selftest_flaky/*.meta.json").unlink()


def decide_twice(trial: Any) -> None:
    record = trial.file("work/selftest_flaky/*.meta.json")
    text = record.read_text().replace("selftest_flaky", "selftest_batch")
    (record.parent.parent / "selftest_batch" / record.name).write_text(
        json.dumps(json.loads(text) | {"outcome": "filtered"})
    )


def forget_a_whole_message(trial: Any) -> None:
    message = trial.file("work/selftest_batch/*.meta.json").name
    for stage in ("selftest_batch", "selftest_flaky"):
        trial.file(f"work/{stage}/{message}").unlink()


def forget_the_init_message(trial: Any) -> None:
    trial.file("split/selftest_fan/*.meta.json").unlink()


def announce_nobody(trial: Any) -> None:
    edit(trial.file("split/selftest_vary/*.meta.json"), children=[])


def commit_twice(trial: Any) -> None:
    append(trial.evidence.commits, lines_of(trial.evidence.commits)[-1])


def commit_an_artefact_twice(trial: Any) -> None:
    line = next(line for line in lines_of(trial.evidence.commits) if line["object"])
    append(trial.evidence.commits, line | {"key": "executions/another/record"})


def replace_a_record(trial: Any) -> None:
    edit(trial.file("work/selftest_flaky/*.meta.json"), started_at=1.0)


def write_past_the_seam(trial: Any) -> None:
    lines = lines_of(trial.evidence.commits)
    trial.evidence.commits.write_text("\n".join(json.dumps(line) for line in lines[:-1]))


def damage_an_artefact(trial: Any) -> None:
    trial.file(f"split/selftest_filter/{'?' * 32}.json").write_text("{}")


def damage_a_record(trial: Any) -> None:
    record = trial.file("split/selftest_filter/*.meta.json")
    record.write_bytes(record.read_bytes()[:-9])


def start_from_elsewhere(trial: Any) -> None:
    other = json.loads(trial.file("_init.meta.json").read_bytes())
    record = trial.file("work/selftest_batch/*.meta.json")
    edit(record, input_key=other["output_key"], input_hash=other["output_hash"])


def skip_a_stage(trial: Any) -> None:
    record = trial.file("work/selftest_flaky/*.meta.json")
    (record.parent.parent / "selftest_batch" / record.name).unlink()


def call_twice(trial: Any) -> None:
    append(trial.evidence.journal, lines_of(trial.evidence.journal)[0])


def lose_a_row(trial: Any) -> None:
    del trial.rows[0]


def invent_a_row(trial: Any) -> None:
    trial.rows.append(trial.rows[0] | {"id": "0" * 32})


def misstate_a_row(trial: Any) -> None:
    trial.rows[-1]["outcome"] = "failed"


def leave_a_row_waiting(trial: Any) -> None:
    trial.rows[0]["pending_children"] = 1


def miscount(trial: Any) -> None:
    trial.execution["failed_count"] -= 1


def end_badly(trial: Any) -> None:
    trial.execution["status"] = "failed"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("tamper", "figure"),
    [
        (forget_an_outcome, "lost"),
        (forget_a_whole_message, "lost"),
        (forget_the_init_message, "lost"),
        (decide_twice, "lost"),
        (announce_nobody, "strays"),
        (commit_twice, "committed_twice"),
        (commit_an_artefact_twice, "committed_twice"),
        (replace_a_record, "committed_twice"),
        (write_past_the_seam, "committed_twice"),
        (damage_an_artefact, "mismatches"),
        (damage_a_record, "mismatches"),
        (start_from_elsewhere, "mismatches"),
        (skip_a_stage, "mismatches"),
        (call_twice, "wrongly_repeated"),
        (lose_a_row, "lineage_differs"),
        (invent_a_row, "lineage_differs"),
        (misstate_a_row, "lineage_differs"),
        (leave_a_row_waiting, "lineage_differs"),
        (miscount, "wrong_ends"),
        (end_badly, "wrong_ends"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_what_went_wrong_shows_in_its_figure(trial: Any, tamper: Tamper, figure: str) -> None:
    tamper(trial)
    figures = trial.verdict()
    assert figures.wrong.get(figure, 0) >= 1, figures.as_json()
    assert figures.as_json()["holds"] is False
    assert figures.problems


def split_at(trial: Any, at: int) -> None:
    """Pretend that the process had been killed after so many lines of the journal."""
    lines = trial.evidence.lines()
    trial.evidence.note_kill()
    kill = trial.evidence.kills[0]
    trial.evidence.kills[0] = type(kill)(lines[at - 1].at, kill.records)


def again(trial: Any, line: Line) -> None:
    append(trial.evidence.journal, [line.pid + 1, line.what, *line.unit])


def without_record(trial: Any, line: Line) -> None:
    """Pretend that the message had no outcome at the kill."""
    kill = trial.evidence.kills[0]
    unit = line.unit
    record = f"executions/{unit.execution_id}/{unit.route}/{unit.stage}/{unit.message_id}.meta.json"
    assert record in kill.records
    trial.evidence.kills[0] = type(kill)(kill.journal_end, kill.records - {record})


def test_a_call_that_a_kill_cut_off_may_be_made_again(trial: Any) -> None:
    lines = trial.evidence.lines()
    place = next(at for at in range(len(lines), 0, -1) if lines[at - 1].what == "start")
    last = lines[place - 1]
    split_at(trial, place)
    without_record(trial, last)
    again(trial, last)
    figures = trial.verdict()
    assert figures.wrong == {}, figures.problems
    assert (figures.repeated, figures.in_flight, figures.in_adapter) == (1, 1, 1)


def test_a_call_whose_outcome_stood_at_the_kill_may_not_be_made_again(trial: Any) -> None:
    start = next(line for line in trial.evidence.lines() if line.what == "start")
    split_at(trial, len(trial.evidence.lines()))
    again(trial, start)
    figures = trial.verdict()
    assert (figures.repeated, figures.wrongly_repeated, figures.in_flight) == (1, 1, 0)
    assert set(figures.wrong) == {"wrongly_repeated", "repeated_beyond_in_flight"}


def test_an_attempt_behind_a_later_one_may_not_be_made_again(trial: Any) -> None:
    lines = trial.evidence.lines()
    late = next(line for line in lines if line.what == "start" and line.unit.attempt == 2)
    first = next(
        line
        for line in lines
        if line.what == "start" and line.unit == late.unit._replace(attempt=1)
    )
    split_at(trial, len(lines))
    without_record(trial, late)
    again(trial, first)
    assert trial.verdict().wrongly_repeated == 1


def test_attempts_that_only_a_lost_queue_knew_of_begin_anew(trial: Any) -> None:
    """How often a message was tried is no outcome; until it has one, the queue alone knows."""
    lines = trial.evidence.lines()
    starts = [line for line in lines if line.what == "start"]
    late = next(line for line in starts if line.unit.attempt == 2)
    first = next(line for line in starts if line.unit == late.unit._replace(attempt=1))
    split_at(trial, len(lines))
    without_record(trial, late)
    trial.evidence.lose_queue()
    again(trial, first)
    again(trial, late)
    figures = trial.verdict()
    assert (figures.repeated, figures.wrongly_repeated) == (2, 0)
    assert figures.in_flight >= 2


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_what_stood_at_a_kill_must_stand_at_the_end(trial: Any, how: str) -> None:
    trial.evidence.note_kill()
    path = trial.file("_init.json")
    if how == "gone":
        path.unlink()
    else:
        before = path.stat()
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert trial.verdict().changed == 1
