"""Lineage and storage of a real execution are damaged in every way, found out, and repaired."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from factflow_engine.outcome_store import OutcomeStore
from factflow_execution.audit_report import AuditReport
from factflow_execution.execution_deleter import DeletionRequest
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.lineage_audit import LineageAudit
from factflow_execution.models import PipelineExecution
from factflow_lineage.hex_text import packed
from factflow_testing.execution_database import execution_database
from factflow_testing.platform import Platform, platform_in
from factflow_testing.waiting import eventually

FANNING = """
version: "1.0"
init_message: {route: split, payload: {n: 0}}
routes:
  split:
    inbound: {queue: split}
    adapters:
      - {type: fan, config: {count: 9}}
      - {type: fail, config: {numbers: [4]}}
    outbound: doubled
  doubled:
    inbound: {queue: doubled}
    adapters:
      - {type: batch_double, batch: {size: 4, wait_ms: 20}, config: {tell: false}}
      - {type: keep, config: {below: 9}}
"""
HANGING = """
version: "1.0"
init_message: {route: hang, payload: {n: 0}}
routes:
  hang:
    inbound: {queue: hang}
    adapters: [{type: echo}, {type: hang}]
"""


@dataclass
class Audited:
    """An execution that ended, its folder, and who audits it."""

    folder: Path
    platform: Platform
    audit: LineageAudit
    execution: PipelineExecution

    @property
    def id(self) -> str:
        return self.execution.execution_id

    async def report(self, **how: Any) -> AuditReport:
        return await self.audit.audit(self.execution, **how)

    async def repair(self, **how: Any) -> AuditReport:
        return await self.audit.repair(self.execution, **how)

    async def told(self) -> Any:
        """All that lineage tells: rows, statistics, counts, and the chain from the root."""
        rows = await self.platform.engine.lineage_rows(self.id)
        root = next(row for row in rows if row.parent_id is None)
        chain = await self.platform.engine.rows.chain(root.id)
        return (
            sorted((row.to_row() for row in rows), key=lambda row: str(row["id"])),
            await self.platform.engine.rows.stats(self.id),
            await self.platform.engine.rows.counts(self.id),
            [(below.depth, below.entry.id) for below in chain.descendants].sort(),
        )

    def sql(self, statement: str, *values: Any) -> None:
        with sqlite3.connect(self.folder / "lineage.db") as database:
            assert database.execute(statement, values).rowcount > 0

    def path(self, key: str) -> Path:
        return self.folder / "storage" / key


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with platform_in(tmp_path) as opened:
        yield opened


@pytest.fixture
async def audit(platform: Platform, tmp_path: Path) -> AsyncIterator[LineageAudit]:
    database = await execution_database(tmp_path)
    engine = platform.engine
    yield LineageAudit(
        repository=ExecutionRepository(database),
        rows=engine.rows,
        lineage=engine.lineage,
        store=OutcomeStore(engine.storage),
        manager=engine.manager,
        filler=platform.filler,
        deletions=platform.executions.deletions,
    )
    await database.dispose()


@pytest.fixture
async def audited(platform: Platform, audit: LineageAudit, tmp_path: Path) -> Audited:
    execution = await platform.run(FANNING)
    assert (execution.status, execution.failed_count) == ("failed", 1)
    return Audited(tmp_path, platform, audit, execution)


async def _row(audited: Audited, stage: str, outcome: str = "stored") -> Any:
    rows = await audited.platform.engine.lineage_rows(audited.id)
    return next(row for row in rows if (row.stage, row.outcome) == (stage, outcome))


async def test_an_execution_that_nobody_touched_is_clean(audited: Audited) -> None:
    """Failed and filtered messages are no gaps; a repair of it changes nothing."""
    before = await audited.told()
    report = await audited.report(deep=True)
    assert report.clean, report
    assert (report.records, report.gaps, report.notes) == (1 + 9 + 8 + 8, [], [])
    repaired = await audited.repair()
    assert (repaired.clean, repaired.rows_rebuilt, repaired.litter_deleted) == (True, 0, 0)
    assert await audited.told() == before


@pytest.mark.parametrize(
    ("damage", "kinds"),
    [
        ("DELETE FROM lineage_rows WHERE id = ?", {"row_missing": 1}),
        ("DELETE FROM lineage_rows WHERE id != ?", {"row_missing": 25}),
        ("UPDATE lineage_rows SET output_hash = x'00' WHERE id = ?", {"row_differs": 1}),
        ("UPDATE lineage_rows SET outcome = 'filtered' WHERE id = ?", {"row_differs": 1}),
        (
            "UPDATE lineage_rows SET id = x'0123456789abcdef0123456789abcdef' WHERE id = ?",
            {"row_missing": 1},
        ),
    ],
)
async def test_damaged_rows_are_found_and_made_again(
    audited: Audited, damage: str, kinds: dict[str, int]
) -> None:
    """After the repair the audit is clean, and rows, statistics and chains are those from before."""
    before = await audited.told()
    audited.sql(damage, packed((await _row(audited, "fail")).id))
    report = await audited.report()
    assert {kind: count for kind, count in report.counts.items() if count} == kinds
    assert {gap.kind for gap in report.gaps} == set(kinds)
    repaired = await audited.repair()
    assert (repaired.clean, repaired.rows_rebuilt) == (True, 26)
    assert await audited.told() == before
    stored = await audited.platform.executions.get(audited.id)
    assert stored.lineage_gap == 0


async def test_a_row_whose_record_is_gone_goes_with_it(audited: Audited) -> None:
    """Storage is the truth: nothing vouches for the row any longer."""
    row = await _row(audited, "keep", "filtered")
    await audited.platform.engine.storage.delete(
        f"executions/{audited.id}/{row.route_id}/{row.stage}/{row.message_id}"
    )
    assert dict((await audited.report()).counts) == {"row_without_record": 1}
    assert (await audited.repair()).clean
    assert len(await audited.platform.engine.lineage_rows(audited.id)) == 25


async def test_artefacts_that_are_gone_are_named_and_stay_gone(audited: Audited) -> None:
    """What a stage stored, and what one emitted; a repair cannot bring them back."""
    stored, emitted = await _row(audited, "batch_double"), await _row(audited, "fail")
    for key in (stored.output_key, emitted.input_key):
        audited.path(key).unlink()
    report = await audited.repair()
    assert not report.clean
    missing = {gap.key for gap in report.gaps if gap.kind == "artefact_missing"}
    assert missing == {stored.output_key, emitted.input_key}
    assert list(report.counts) == ["artefact_missing"]


async def test_artefacts_that_were_deleted_on_purpose_are_not_missed(audited: Audited) -> None:
    """The day is told, a deep audit reads none of them, and damaged rows are made again all the same."""
    before = await audited.told()
    named = (await audited.report()).artefacts
    deleter = audited.platform.deleter
    await deleter.request(DeletionRequest(execution_ids=(audited.id,), kind="artefacts"))
    gone = (await deleter.progress(audited.id, wait=30)).deletion
    assert gone.deleted_at is not None
    report = await audited.report(deep=True)
    assert report.clean, report.gaps
    assert (report.deletion, report.artefacts_deleted) == (gone, named)
    audited.sql("DELETE FROM lineage_rows WHERE outcome = 'stored'")
    repaired = await audited.repair(deep=True)
    assert (repaired.clean, repaired.artefacts_deleted) == (True, named)
    assert await audited.told() == before


async def test_an_audit_tells_how_far_it_is(audited: Audited) -> None:
    """Records out of about as many as rows stand, step by step."""
    seen: list[tuple[str, int, int]] = []
    await audited.repair(tell=lambda now: seen.append((now.step, now.records, now.rows)))
    assert seen == [("records", 26, 26), ("litter", 26, 26)] * 2


async def test_a_repair_that_is_left_makes_its_rows_all_the_same(audited: Audited) -> None:
    """Whoever asked may be gone; rows and counters are those from before."""
    before = await audited.told()
    audited.sql("DELETE FROM lineage_rows WHERE outcome = 'stored'")
    work: list[asyncio.Task[AuditReport]] = []

    def leave(now: AuditReport) -> None:
        if now.step == "rows":
            work[0].cancel()

    work.append(asyncio.create_task(audited.repair(tell=leave)))
    with pytest.raises(asyncio.CancelledError):
        await work[0]
    assert await audited.told() == before


async def test_counters_that_are_off_are_found_and_made_again(audited: Audited) -> None:
    """As a server leaves them that is killed between taking rows away and making them again."""
    before = await audited.told()
    audited.sql("UPDATE lineage_stages SET completed = completed + 1 WHERE stage = 'fan'")
    report = await audited.report()
    assert [(gap.kind, gap.detail) for gap in report.gaps] == [
        ("counts_differ", "27 are counted, 26 there are")
    ]
    assert (await audited.repair()).clean
    assert await audited.told() == before


async def test_changed_bytes_are_found_by_a_deep_audit_only(audited: Audited) -> None:
    """Reading everything costs; so it is asked for."""
    row = await _row(audited, "batch_double")
    audited.path(row.output_key).write_bytes(json.dumps({"n": 13}).encode())
    assert (await audited.report()).clean
    deep = await audited.report(deep=True)
    assert list(deep.counts) == ["hash_mismatch"]
    assert deep.gaps[0].key == row.output_key


async def test_what_no_record_names_is_deleted_when_the_execution_has_ended(
    audited: Audited,
) -> None:
    """Objects of a try that died, in a stage and in one that never was; payloads and plans are no litter."""
    litter = [
        f"executions/{audited.id}/split/fan/{'0' * 32}.json",
        f"executions/{audited.id}/split/fail/{'1' * 32}~2.json",
    ]
    for key in litter:
        await audited.platform.engine.storage.write(key, b"{}")
    report = await audited.report()
    assert (list(report.counts), report.litter_deleted) == (["litter"], 0)
    assert sorted(gap.key for gap in report.gaps) == sorted(litter)
    repaired = await audited.repair()
    assert (repaired.clean, repaired.litter_deleted) == (True, 2)
    assert audited.path(f"executions/{audited.id}/_init.json").exists()


async def test_a_record_that_cannot_be_read_keeps_everything(audited: Audited) -> None:
    """It may name what looks like litter."""
    row = await _row(audited, "keep")
    place = f"executions/{audited.id}/{row.route_id}/{row.stage}/{row.message_id}"
    audited.path(f"{place}.meta.json").write_text("{")
    report = await audited.repair()
    assert report.counts["record_damaged"] == 1
    assert report.counts["litter"] == 1, "its artefact"
    assert report.litter_deleted == 0
    assert audited.path(row.output_key).exists()


async def test_a_running_execution_loses_nothing(
    platform: Platform, audit: LineageAudit, tmp_path: Path
) -> None:
    """What no record names may be work under way; its rows are compared all the same."""
    execution = await platform.start(HANGING)
    audited = Audited(tmp_path, platform, audit, execution)
    await eventually(lambda: any((tmp_path / "storage").rglob("echo/*.meta.json")))
    key = f"executions/{audited.id}/hang/echo/{'0' * 32}.json"
    await platform.engine.storage.write(key, b"{}")
    report = await audited.repair()
    assert (report.clean, report.records, report.litter_deleted) == (True, 1, 0)
    assert "has not ended" in report.notes[0]
    assert audited.path(key).exists()
    await platform.executions.cancel(audited.id, 0.0)


async def test_a_report_names_few_and_counts_all(audited: Audited) -> None:
    """However many gaps there are, the answer stays small."""
    audited.sql("DELETE FROM lineage_rows")
    report = await audited.report(shown=3)
    assert (len(report.gaps), report.counts["row_missing"]) == (3, 26)
