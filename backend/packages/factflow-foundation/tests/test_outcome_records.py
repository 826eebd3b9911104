"""The record is the commit: it must come back as it went in, and say so when it cannot."""

from __future__ import annotations

import json

import pytest

from factflow_foundation.records import Child, ErrorInfo, OutcomeRecord, from_metadata
from factflow_protocols.errors import ObjectDamagedError


def record() -> OutcomeRecord:
    child = Child(
        message_id="c", origin_id="co", route="r2", entry_stage="s2", input_key="k", input_hash="h"
    )
    return OutcomeRecord(
        execution_id="e",
        route="r",
        stage="s",
        adapter="echo",
        adapter_version="1+abc",
        message_id="m",
        origin_id="o",
        outcome="failed",
        children=[child],
        children_count=1,
        error=ErrorInfo("ValueError", "no"),
        metadata={"url": "https://example.com", "nested": {"a": [1, None]}},
    )


def test_a_record_survives_being_json() -> None:
    written = json.loads(json.dumps(record().to_metadata()))
    assert from_metadata(written) == record()


def test_a_child_of_the_record_s_own_artefact_starts_from_the_name_that_counts() -> None:
    """The write decides the name (`~2` when the plain one was taken), after the child was named."""
    written = record().to_metadata() | {"outcome": "stored", "output_key": "executions/e/r/s/m~2"}
    del written["children"][0]["input_key"]
    assert from_metadata(written).children[0].input_key == "executions/e/r/s/m~2"


def test_fields_of_a_later_version_are_ignored() -> None:
    assert from_metadata({**record().to_metadata(), "added_later": 1}) == record()


@pytest.mark.parametrize("damage", [{"outcome": "lost"}, {"message_id": 7}, {"children": "many"}])
def test_a_damaged_record_says_so(damage: dict[str, object]) -> None:
    with pytest.raises(ObjectDamagedError, match="'executions/e/r/s/m' is damaged"):
        from_metadata({**record().to_metadata(), **damage})
