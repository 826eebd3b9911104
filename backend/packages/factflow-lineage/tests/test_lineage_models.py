"""Rows made from outcome records."""

from __future__ import annotations

from typing import Any

import pytest

from factflow_foundation.records import Child, ErrorInfo, OutcomeRecord
from factflow_lineage import entry_from_record

ROW_FIELDS = {
    *("id", "execution_id", "route_id", "stage", "adapter", "adapter_version", "message_id"),
    *("origin_id", "parent_id", "replayed_from", "root_id", "status", "outcome", "attempts"),
    *("input_hash", "output_hash", "input_key", "output_key", "output_size", "content_type"),
    "output_count",
    *("pending_children", "error", "started_at", "completed_at", "duration_ms", "batch_id"),
    "metadata",
}


def _record(outcome: str, **fields: Any) -> OutcomeRecord:
    return OutcomeRecord(
        execution_id="exec",
        route="crawl",
        stage="fetch",
        adapter="web_scraper",
        adapter_version="1",
        message_id="m",
        origin_id="o",
        outcome=outcome,  # type: ignore[arg-type]  # the tests name outcomes as plain text
        started_at=10.0,
        completed_at=10.25,
        **fields,
    )


@pytest.mark.parametrize(
    ("outcome", "children", "expected", "status", "output_count", "waits_for", "continues"),
    [
        ("stored", 0, None, "completed", 1, 0, False),
        ("stored", 0, 1, "completed", 1, 1, True),
        ("stored", 1, None, "completed", 1, 1, False),
        ("stored", 3, 0, "completed", 3, 0, False),
        ("fanned_out", 7, None, "completed", 7, 7, False),
        ("filtered", 0, None, "completed", 0, 0, False),
        ("passed", 0, None, "completed", 0, 0, False),
        ("passed", 1, None, "completed", 1, 1, False),
        ("failed", 0, None, "failed", 0, 0, False),
    ],
)
def test_outcome_decides_status_and_children(
    outcome: str,
    children: int,
    expected: int | None,
    status: str,
    output_count: int,
    waits_for: int,
    continues: bool,
) -> None:
    """Only a failed outcome makes a failed row; children are those announced unless told otherwise."""
    record = _record(outcome, children_count=children)
    entry = entry_from_record(record, expected_children=expected)
    assert entry.id == record.lineage_id
    assert (entry.status, entry.outcome) == (status, outcome)
    assert (entry.output_count, entry.expected_children) == (output_count, waits_for)
    assert entry.continues is continues


def test_metadata_names_the_input_and_what_was_skipped() -> None:
    """The row's metadata leads to the input's object, and the record's own is left alone."""
    child = Child("c", "o", "next", "parse", "k", "h")
    record = _record(
        "stored",
        input_key="executions/exec/_init",
        passed=["cache"],
        metadata={"url": "https://a"},
        children=[child],
    )
    entry = entry_from_record(record)
    assert entry.metadata == {
        "url": "https://a",
        "input_key": "executions/exec/_init",
        "passed": ["cache"],
    }
    assert record.metadata == {"url": "https://a"}


def test_row_for_the_api_has_all_fields_of_the_contract() -> None:
    """Times are ISO 8601 in UTC; an error always has its three fields."""
    record = _record("failed", error=ErrorInfo("ValueError", "no title"))
    row = entry_from_record(record).to_row()
    assert row["error"] == {"type": "ValueError", "message": "no title", "traceback": ""}
    assert row["started_at"] == "1970-01-01T00:00:10.000000+00:00"
    assert row["duration_ms"] == 250.0
    assert set(row) == ROW_FIELDS
