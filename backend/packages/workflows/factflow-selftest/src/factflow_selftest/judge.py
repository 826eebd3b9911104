"""Says what became of every message, from files and answers that the server cannot embellish."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from factflow_selftest.client import Client
from factflow_selftest.evidence import Evidence
from factflow_selftest.figures import Figures
from factflow_selftest.invocations import count_invocations
from factflow_selftest.journal import read_entries
from factflow_selftest.pipeline import Shape
from factflow_selftest.stored_execution import Announced, Record, StoredExecution
from factflow_selftest.stored_objects import RECORD_SUFFIX

Row = Mapping[str, Any]
ENDED_IN_FULL = frozenset({"completed", "failed"})
SET_ASIDE = "ProcessKilledError"
COMPARED = ("status", "outcome", "input_hash", "output_hash", "input_key", "batch_id")
"""What a row and its record must agree in."""
LINEAGE_SECONDS = 60.0
"""How long after its execution's end a lineage row may come."""
LINEAGE_PAUSE = 0.5


def judge_all(evidence: Evidence, client: Client, status: str) -> Figures:
    """Judge every execution of the data folder; each should have ended with `status`."""
    executions = [client.execution(each["execution_id"]) for each in client.executions()]
    return Judge(evidence).judge(executions, client.rows, status)


class Judge:
    """Judges executions of one data folder, once all of them have ended."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._figures = Figures(kills=len(evidence.kills))

    def judge(
        self,
        executions: Iterable[Mapping[str, Any]],
        rows_of: Callable[[str], Sequence[Row]],
        status: str,
    ) -> Figures:
        """Return the figures. `executions` are the API's answers in full, `rows_of` asks for an
        execution's lineage rows, `status` is what each should have ended with."""
        figures, evidence = self._figures, self._evidence
        names = evidence.look(closely=True)
        for execution in executions:
            figures.executions += 1
            case = _Case(evidence, figures, execution)
            case.judge(status)
            self._compare_lineage(case, rows_of)
        for sentence in evidence.changed:
            figures.find("changed", sentence)
        count_invocations(evidence, figures)
        self._judge_commits(names)
        return figures

    def _compare_lineage(self, case: _Case, rows_of: Callable[[str], Sequence[Row]]) -> None:
        """Compare rows with records, once they agree or have had their time to."""
        deadline = time.monotonic() + LINEAGE_SECONDS
        while True:
            rows = rows_of(case.id)
            differences = list(case.differences(rows))
            if not differences or time.monotonic() > deadline:
                break
            time.sleep(LINEAGE_PAUSE)
        self._figures.lineage_rows += len(rows)
        for sentence in differences:
            self._figures.find("lineage_differs", sentence)

    def _judge_commits(self, names: set[str]) -> None:
        figures, evidence = self._figures, self._evidence
        lines = [entry for _, entry in read_entries(evidence.commits) if isinstance(entry, dict)]
        at_kills = evidence.kills[-1].records if evidence.kills else frozenset()
        given_up = {line["key"] for line in lines if line.get("given_up")}
        lines = [line for line in lines if not line.get("given_up")]
        for field in ("key", "object"):
            counts = Counter(line[field] for line in lines if line[field])
            for key, count in counts.items():
                if count > 1:
                    figures.find("committed_twice", f"{key} was committed {count} times")
        told = {line["key"]: line for line in lines}
        for name in names:
            if not name.endswith(RECORD_SUFFIX):
                continue
            key = name.removesuffix(RECORD_SUFFIX)
            line = told.pop(key, None)
            if line is None:
                # The process may have died between the record and its line, at a kill and not later.
                if name not in at_kills and key not in given_up:
                    figures.find("committed_twice", f"{name} was written, and not as a commit")
            elif line["record_sha256"] != _record_hash(evidence, name) or (
                line["object"] and line["object_sha256"] != evidence.sha256(line["object"])
            ):
                figures.find("committed_twice", f"{name} is not what was committed")
        for key in told:
            figures.find("changed", f"{key} was committed and is gone")


def _record_hash(evidence: Evidence, name: str) -> str:
    try:
        fields = json.loads(evidence.read(name))
    except ValueError:
        return "unreadable"
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class _Case:
    """One execution."""

    def __init__(self, evidence: Evidence, figures: Figures, execution: Mapping[str, Any]) -> None:
        self.id = str(execution["execution_id"])
        self._evidence = evidence
        self._figures = figures
        self._execution = execution
        self._shape = Shape(execution["config_snapshot"])
        self._stored = StoredExecution(evidence, self.id)
        self._in_full = execution["status"] in ENDED_IN_FULL
        self._failed = 0
        self._announced: dict[str, Announced] = {}

    def judge(self, status: str) -> None:
        """Follow every announced message through its records."""
        figures = self._figures
        figures.records += len(self._stored.records)
        for name in self._stored.damaged:
            figures.find("mismatches", f"{name} cannot be read")
        self._announce()
        figures.announced += len(self._announced)
        for message, announced in self._announced.items():
            self._judge_message(message, announced)
        for record in self._stored.records:
            if record["message_id"] not in self._announced:
                figures.find("strays", f"{record['path']} belongs to a message nobody announced")
            self._check_objects(record)
        self._judge_end(status)

    def _announce(self) -> None:
        """Gather who is announced: from the plan or the init message on, through what records name."""
        reached = list(self._started())
        while reached:
            message = reached.pop()
            for record in self._stored.by_message.get(message, []):
                for child in self._stored.children(record):
                    if child["message_id"] not in self._announced:
                        self._add(child["message_id"], record["path"], child)
                        reached.append(child["message_id"])

    def _started(self) -> Iterable[str]:
        roots = self._stored.roots()
        plan, init = self._stored.plan(), self._stored.init
        if plan is not None:
            for item in plan:
                key = (item["route"], item["origin_id"])
                self._add(roots.get(key, f"planned {item['origin_id']}"), "the plan", item)
        elif init is not None:
            route = self._shape.init_route
            entered = {"route": route, "entry_stage": self._shape.stages[route][0]}
            objects = {"input_key": init["output_key"], "input_hash": init["output_hash"]}
            found = [message for (at, _), message in roots.items() if at == route]
            self._add(found[0] if found else "the init message", "_init", entered | objects)
        elif self._in_full:
            self._figures.find(
                "lost", f"execution {self.id} has neither a plan nor an init payload"
            )
        return list(self._announced)

    def _add(self, message: str, by: str, said: Mapping[str, Any]) -> None:
        self._announced[message] = Announced(
            by, said["route"], said["entry_stage"], said["input_key"], said["input_hash"]
        )

    def _judge_message(self, message: str, announced: Announced) -> None:
        figures = self._figures
        records = self._stored.by_message.get(message, [])
        for record in records:
            if record["route"] != announced.route:
                figures.find("strays", f"{record['path']} is not in its message's route")
        finals = [record for record in records if self._is_final(record)]
        if len(finals) == 1:
            self._count_outcome(finals[0])
        elif self._in_full or len(finals) > 1:
            what = f"message {message}, announced by {announced.by}"
            figures.find("lost", f"{what}, has {len(finals)} final records in {self.id}")
        self._check_chain(announced, records)

    def _is_final(self, record: Record) -> bool:
        return record["outcome"] != "stored" or self._shape.is_last(
            record["route"], record["stage"]
        )

    def _count_outcome(self, record: Record) -> None:
        figures = self._figures
        figures.outcomes[record["outcome"]] += 1
        if record["outcome"] == "failed":
            self._failed += 1
            figures.set_aside += record["error"]["type"] == SET_ASIDE

    def _check_chain(self, announced: Announced, records: list[Record]) -> None:
        """Check that each stage started from what the one before it made, and that none was left out."""
        stages = self._shape.stages[announced.route]
        ours = [record for record in records if record["route"] == announced.route]
        ours.sort(key=lambda record: stages.index(record["stage"]))
        expected = (announced.input_key, announced.input_hash)
        position = stages.index(announced.entry_stage)
        for record in ours:
            if (record.get("input_key"), record.get("input_hash")) != expected:
                self._figures.find("mismatches", f"{record['path']} did not start from {expected}")
            place = stages.index(record["stage"])
            if record.get("passed", []) != stages[position:place]:
                self._figures.find("mismatches", f"{record['path']} comes after a gap in its route")
            position = place + 1
            if record["outcome"] == "stored":
                expected = (record["output_key"], record["output_hash"])

    def _check_objects(self, record: Record) -> None:
        """Check every hash in a record against the bytes of the object it is about."""
        claims = [
            (record.get("input_key"), record.get("input_hash")),
            (record.get("output_key"), record.get("output_hash")),
            *((child["input_key"], child["input_hash"]) for child in self._stored.children(record)),
        ]
        for key, claimed in claims:
            if key and self._evidence.sha256(key) != claimed:
                self._figures.find("mismatches", f"{record['path']} is wrong about {key}")

    def _judge_end(self, status: str) -> None:
        execution, figures = self._execution, self._figures
        if execution["status"] != status:
            told = f"{execution['status']}: {execution.get('error_info')}"
            figures.find("wrong_ends", f"execution {self.id} ended {told}")
        elif self._in_full:
            counts = (execution["message_count"], execution["failed_count"])
            if counts != (len(self._announced), self._failed):
                told = f"{counts}, by its records {(len(self._announced), self._failed)}"
                figures.find(
                    "wrong_ends", f"execution {self.id} counts {told} messages and failures"
                )

    def differences(self, rows: Sequence[Row]) -> Iterator[str]:
        """Yield what keeps the rows from being one for each record, saying the same."""
        by_id = {row["id"]: row for row in rows}
        for record in self._stored.records:
            row = by_id.pop(record["lineage_id"], None)
            if row is None:
                yield f"{record['path']} has no lineage row"
                continue
            status = "failed" if record["outcome"] == "failed" else "completed"
            if row["pending_children"] and not self._in_full:
                status = "processing"  # what was cut off below a row leaves it open
            said = tuple(row[name] for name in COMPARED)
            meant = (status, *(record.get(name) for name in COMPARED[1:]))
            if said != meant:
                yield f"{record['path']} says {meant}, its row {said}"
            elif self._in_full and row["pending_children"]:
                yield f"{record['path']}: its row awaits {row['pending_children']} children"
        for row in by_id.values() if self._in_full else ():
            yield f"row {row['id']} ({row['stage']}) has no record"
