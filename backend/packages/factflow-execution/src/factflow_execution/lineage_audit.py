"""Compares what lineage tells of an execution with what storage holds, and makes the rows right again.

Records are the truth: a row is right when it is what its record says. One pass over the records asks for
their rows and for the artefacts they name, some tens at a time; memory does not grow with the execution.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence

from factflow_engine.config.graph import PipelineGraph
from factflow_engine.lineage_rows import row_of
from factflow_engine.manager import OrchestratorManager
from factflow_engine.outcome_store import OutcomeStore
from factflow_engine.record_scan import Scanned, scan
from factflow_execution.audit_report import AuditReport, Gap, Tell, quiet
from factflow_execution.execution_deletions import ExecutionDeletions
from factflow_execution.execution_repository import ExecutionRepository
from factflow_execution.lineage_filler import LineageFiller
from factflow_execution.models import PipelineExecution
from factflow_execution.named_keys import NamedKeys
from factflow_execution.snapshot import snapshot_config
from factflow_execution.transitions import FINAL
from factflow_foundation import keys
from factflow_foundation.records import OutcomeRecord
from factflow_foundation.whole import whole
from factflow_lineage.filters import LineageFilter
from factflow_lineage.models import PipelineLineageEntry
from factflow_lineage.repository import PipelineLineageRepository
from factflow_lineage.writer import LineageService
from factflow_protocols.errors import (
    ObjectDamagedError,
    ObjectNotFoundError,
    RecordDamagedError,
)

SHOWN_GAPS = 20
"""Gaps of one kind that a report names."""
AT_ONCE = 64
COMPARED = (
    *("message_id", "origin_id", "parent_id", "root_id", "replayed_from", "adapter_version"),
    *("outcome", "attempts", "input_key", "input_hash", "output_key", "output_hash"),
    *("output_count", "batch_id"),
)
"""Fields of a row that its record decides."""


class LineageAudit:
    """Audits executions and repairs their rows. What was deleted of one on purpose is not missed."""

    def __init__(
        self,
        *,
        repository: ExecutionRepository,
        rows: PipelineLineageRepository,
        lineage: LineageService,
        store: OutcomeStore,
        manager: OrchestratorManager,
        filler: LineageFiller,
        deletions: ExecutionDeletions,
    ) -> None:
        self._repository = repository
        self._rows = rows
        self._lineage = lineage
        self._store = store
        self._manager = manager
        self._filler = filler
        self._deletions = deletions

    async def audit(
        self,
        execution: PipelineExecution,
        *,
        deep: bool = False,
        shown: int = SHOWN_GAPS,
        tell: Tell = quiet,
    ) -> AuditReport:
        """Return how rows, records and artefacts disagree; with `deep` every artefact is read and its
        SHA-256 compared. Raises `LineageUnavailableError`."""
        report = AuditReport(execution.execution_id, deep, shown)
        await self._compare(execution, report, tell, delete_litter=False)
        return report

    async def repair(
        self,
        execution: PipelineExecution,
        *,
        deep: bool = False,
        shown: int = SHOWN_GAPS,
        tell: Tell = quiet,
    ) -> AuditReport:
        """Make the rows again from the records where they disagree, delete what no record names of an
        execution that has ended, and return what is left. Artefacts that are gone stay gone.

        A cancellation is felt once the rows are made again.
        """
        first = AuditReport(execution.execution_id, deep=False, shown=0)
        await self._compare(execution, first, tell, delete_litter=True)
        rebuilt = 0
        if first.rows_have_gaps:
            first.step = "rows"
            tell(first)
            await whole(self._make_rows_again(first))
            rebuilt = first.records
        report = await self.audit(execution, deep=deep, shown=shown, tell=tell)
        report.rows_rebuilt, report.litter_deleted = rebuilt, first.litter_deleted
        return report

    async def _make_rows_again(self, report: AuditReport) -> None:
        # Counters and rows move together: deleting both and counting anew is the one way to be sure.
        # Noted before, so that a server that dies on the way fills the gap when it starts again.
        await self._repository.update(report.execution_id, lineage_gap=max(1, report.records))
        await self._lineage.delete_execution(report.execution_id)
        await self._filler.fill(report.execution_id)

    async def _compare(
        self, execution: PipelineExecution, report: AuditReport, tell: Tell, *, delete_litter: bool
    ) -> None:
        graph = PipelineGraph(snapshot_config(execution.config_snapshot))
        await self._lineage.flush(execution.execution_id)
        await self._note_deletion(report)
        report.rows = await self._committed(execution.execution_id)
        matched = 0
        with NamedKeys() as named:
            async for some in self._records(execution.execution_id):
                records: list[OutcomeRecord] = []
                for found in some:
                    if isinstance(found.record, RecordDamagedError):
                        report.add(Gap("record_damaged", found.key, None, found.record.message))
                    else:
                        records.append(found.record)
                report.records += len(records)
                matched += await self._compare_rows(report, graph, records)
                for record in records:
                    await self._look_for_artefacts(report, record, named)
                tell(report)
            report.step = "litter"
            tell(report)
            await self._find_litter(report, execution, named, delete=delete_litter)
        await self._find_rows_alone(report, matched, has_ended=self._has_ended(execution))

    def _has_ended(self, execution: PipelineExecution) -> bool:
        return execution.status in FINAL and not self._manager.is_running(execution.execution_id)

    async def _note_deletion(self, report: AuditReport) -> None:
        if report.deletion is None:
            found = await self._deletions.find([report.execution_id])
            report.deletion = found.get(report.execution_id)

    async def _committed(self, execution_id: str) -> int:
        stats = await self._rows.stats(execution_id)
        return sum(stage.completed + stage.failed for stage in stats)

    async def _records(self, execution_id: str) -> AsyncIterator[list[Scanned]]:
        some: list[Scanned] = []
        prefix = keys.execution_prefix(execution_id)
        async for found in scan(
            self._store, prefix, wanted=lambda item: keys.is_stage_key(execution_id, item.key)
        ):
            some.append(found)
            if len(some) == AT_ONCE:
                yield some
                some = []
        if some:
            yield some

    async def _compare_rows(
        self, report: AuditReport, graph: PipelineGraph, records: Sequence[OutcomeRecord]
    ) -> int:
        """Report rows that are missing or differ; return how many committed rows there are."""
        expected = {record.lineage_id: row_of(graph, record) for record in records}
        found = await self._rows.of_execution(report.execution_id, list(expected))
        late = [id_ for id_ in expected if id_ not in found or found[id_].outcome is None]
        if late and self._manager.is_running(report.execution_id):
            await self._lineage.flush(report.execution_id)  # rows follow by a fraction of a second
            found |= await self._rows.of_execution(report.execution_id, late)
        matched = 0
        for record in records:
            row, wanted = found.get(record.lineage_id), expected[record.lineage_id]
            if row is None or row.outcome is None:
                report.add(Gap("row_missing", record.key, record.lineage_id))
                continue
            matched += 1
            different = _different(row, wanted)
            if different:
                detail = ", ".join(different)
                report.add(Gap("row_differs", record.key, record.lineage_id, detail))
        return matched

    async def _look_for_artefacts(
        self, report: AuditReport, record: OutcomeRecord, named: NamedKeys
    ) -> None:
        """Note what a record names, and report what of it is not stored, or not as it was."""
        own = {key: record.output_hash for key in [record.output_key] if key is not None}
        listing: dict[str, str | None] = dict.fromkeys(record.children_keys)
        given = {key: record.input_hash for key in [record.input_key] if key is not None}
        await self._check(report, record, {**given, **listing, **own}, named)
        parts = self._store.children(record)
        try:
            async for part in parts:
                for start in range(0, len(part), AT_ONCE):
                    some = part[start : start + AT_ONCE]
                    hashes: dict[str, str | None] = {
                        child.input_key: child.input_hash or None for child in some
                    }
                    await self._check(report, record, hashes, named)
        except ObjectNotFoundError:
            return  # the list of children itself: reported above
        except ObjectDamagedError as error:
            report.add(Gap("hash_mismatch", record.key, record.lineage_id, error.message))

    async def _check(
        self,
        report: AuditReport,
        record: OutcomeRecord,
        hashes: dict[str, str | None],
        named: NamedKeys,
    ) -> None:
        own = f"{keys.execution_prefix(report.execution_id)}/"  # a replay's source is audited by itself
        hashes = {key: expected for key, expected in hashes.items() if key.startswith(own)}
        await named.add(hashes)
        report.artefacts += len(hashes)
        missing = set(await self._store.storage.missing(list(hashes)))
        detail = f"named by {record.key}"
        to_read = [key for key in hashes if report.deep and hashes[key] and key not in missing]
        for key in to_read:
            digest = await self._digest(key)
            if digest is None:
                missing.add(key)
            elif digest != hashes[key]:
                report.add(Gap("hash_mismatch", key, record.lineage_id, detail))
        if missing:
            await self._note_deletion(report)  # it may have been entered since
        if report.deletion is not None:
            report.artefacts_deleted += len(missing)
            return
        for key in sorted(missing):
            report.add(Gap("artefact_missing", key, record.lineage_id, detail))

    async def _digest(self, key: str) -> str | None:
        """Return the SHA-256 of an object; None when it is gone by now."""
        try:
            return hashlib.sha256(await self._store.storage.read(key)).hexdigest()
        except ObjectNotFoundError:
            return None

    async def _find_litter(
        self, report: AuditReport, execution: PipelineExecution, named: NamedKeys, *, delete: bool
    ) -> None:
        """Report objects that no record names; delete them if that is safe."""
        execution_id = execution.execution_id
        if not self._has_ended(execution):
            report.notes.append(
                "what no record names was not looked for: it may be work under way, as the "
                "execution has not ended"
            )
            return
        if report.deletion is not None and report.deletion.deleted_at is None:
            # What is left goes as well, and lists that name some of it may be gone already.
            report.notes.append(
                "what no record names was not looked for: artefacts are being deleted"
            )
            return
        if delete and report.counts["record_damaged"]:
            delete = False
            report.notes.append("nothing was deleted: a record that cannot be read may name it")
        some: list[str] = []
        async for item in self._store.storage.list(keys.execution_prefix(execution_id)):
            if keys.is_stage_key(execution_id, item.key):
                some.append(item.key)
            if len(some) == AT_ONCE:
                await self._judge(report, some, named, delete=delete)
                some = []
        await self._judge(report, some, named, delete=delete)

    async def _judge(
        self, report: AuditReport, some: Sequence[str], named: NamedKeys, *, delete: bool
    ) -> None:
        for key in await named.without(some):
            report.add(Gap("litter", key))
            if delete:
                await self._store.storage.delete(key)
                report.litter_deleted += 1

    async def _find_rows_alone(self, report: AuditReport, matched: int, *, has_ended: bool) -> None:
        """Report rows whose record is gone; only looked for when more rows are counted than records had.
        When there are none, the counters are wrong."""
        counted = await self._committed(report.execution_id)
        if counted == matched and not report.rows_have_gaps:
            return
        cursor, more = None, True
        while more:
            page = await self._rows.list(
                LineageFilter(execution_id=report.execution_id, limit=AT_ONCE, cursor=cursor)
            )
            committed = [row for row in page.entries if row.outcome is not None]
            places = [
                keys.stage_key(row.execution_id, row.route_id, row.stage, row.message_id)
                for row in committed
            ]
            stored = await self._store.storage.metadata_of(places)
            for row, place, record in zip(committed, places, stored, strict=True):
                if record is None:
                    report.add(Gap("row_without_record", place, row.id))
            cursor = page.next_cursor
            more = cursor is not None
        if has_ended and not report.rows_have_gaps and not report.counts["record_damaged"]:
            detail = f"{counted} are counted, {matched} there are"
            report.add(
                Gap("counts_differ", keys.execution_prefix(report.execution_id), None, detail)
            )


def _different(row: PipelineLineageEntry, wanted: PipelineLineageEntry) -> list[str]:
    """Return the names of fields in which a row is not what its record says."""
    different = [name for name in COMPARED if getattr(row, name) != getattr(wanted, name)]
    kinds = [entry.error.type if entry.error else None for entry in (row, wanted)]
    return different + (["error"] if kinds[0] != kinds[1] else [])
