"""What operators type at a server: listings to their end, keys that start once, audits, numbers of routes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factflow_testing.server_process import Finished, ServerProcess

Typed = Callable[..., Finished]

FANNING = """
version: "1.0"
name: operating
init_message: {route: split, payload: {n: 0}}
routes:
  split:
    inbound: {queue: split}
    adapters:
      - {type: fan, config: {count: 1200}}
      - {type: fail, config: {numbers: [7]}}
"""


@pytest.fixture(scope="module")
def ran(server: ServerProcess) -> str:
    """An execution of a fan-out that needs two pages to list."""
    execution = server.run(server.create(FANNING))
    server.end_of(execution)
    return execution


def _lines(ended: Finished) -> list[dict[str, Any]]:
    assert ended.code == 0, ended.err
    return [json.loads(line) for line in ended.out.splitlines()]


def test_all_lists_every_row_once(server: ServerProcess, ran: str, typed: Typed) -> None:
    """Rows, children, failures and levels of the tree of keys; as jsonl and as one document."""
    as_lines = ("--all", "--output", "jsonl")
    listed = _lines(typed(server, "lineage", "list", "--execution", ran, *as_lines))
    assert len({row["id"] for row in listed}) == len(listed) == 1201
    fan = next(row["id"] for row in listed if row["stage"] == "fan")
    children = _lines(typed(server, "lineage", "children", fan, *as_lines))
    assert {row["id"] for row in children} == {row["id"] for row in listed} - {fan}
    failures = typed(server, "lineage", "failures", "--execution", ran, "--all").done()
    assert (len(failures["entries"]), failures["has_more"]) == (1, False)
    level = typed(server, "storage", "browse", "-e", ran, "split/fail/", "--all").done()
    assert len({row["key"] for row in level["entries"]}) == len(level["entries"]) == 1199
    assert (level["has_more"], level["next_cursor"]) == (False, None)


def test_a_key_starts_one_execution_however_often_it_is_typed(
    server: ServerProcess, ran: str, typed: Typed, tmp_path: Path
) -> None:
    """`config run`, `run FILE` and `execution replay`; with another request the key is refused."""
    config = server.create(FANNING.replace("1200", "2"))
    run = ("config", "run", config, "--idempotency-key", "operating-1")
    first, again = (typed(server, *run).done()["execution_id"] for _ in range(2))
    assert first == again
    assert "idempotency" in typed(server, *run, "--tag", "other").refused(7)
    assert "ASCII" in typed(server, *run[:-1], "two words").refused(2)

    file = tmp_path / "operating.yaml"
    file.write_text(FANNING.replace("1200", "3"))
    whole = ("run", file, "--idempotency-key", "operating-2")
    first, again = (typed(server, *whole).done()["execution_id"] for _ in range(2))
    assert first == again

    replay = ("execution", "replay", ran, "--only", "failed", "--idempotency-key", "operating-3")
    first, again = (typed(server, *replay).done()["execution_id"] for _ in range(2))
    assert first == again


def test_an_audit_agrees_with_what_was_deleted_on_purpose(
    server: ServerProcess, typed: Typed
) -> None:
    """Told as deleted, with its day; a deep audit and a repair change nothing of it."""
    execution = server.run(server.create(FANNING.replace("1200", "20")))
    server.end_of(execution)
    named = typed(server, "lineage", "audit", "-e", execution).done()["artefacts"]
    typed(server, "execution", "delete", execution, "--artefacts-only", "--yes").done()
    for how in ((), ("--deep",), ("--repair",)):
        told = typed(server, "lineage", "audit", "-e", execution, *how).done()
        assert (told["clean"], told["artefacts_deleted"]) == (True, named)
        assert told["deletion"]["deleted_at"]
    typed(server, "execution", "delete", execution, "--yes").done()
    assert "deleted" in typed(server, "lineage", "audit", "-e", execution).refused(7)
