"""With packed storage a server keeps all it promises, in a handful of files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factflow_selftest.pipeline import STATUS, pipeline_yaml
from factflow_testing.crash_matrix import CASES, Case, check
from factflow_testing.server_process import Finished, ServerProcess, run_command

Typed = Callable[..., Finished]
DEATHS = (
    "storage.artefact.before:40",
    "storage.artefact.after:60",
    "storage.record.before:70",
    "storage.record.after:30",
    "queue.settle.after:1",
    "plan.write.after:1",
)
QUICK = "storage.record.before:70"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, str]]:
    """A server with packed storage, and an execution that has ended."""
    folder = tmp_path_factory.mktemp("packed")
    uri = (folder / "data" / "storage").as_uri().replace("file:", "packed:")
    with ServerProcess(folder / "data", "--storage-uri", uri, cwd=folder) as server:
        execution = server.run(server.create(pipeline_yaml(folder / "journal", 30)))
        assert server.end_of(execution)["status"] == STATUS
        yield server, execution


def listed(server: ServerProcess, execution: str) -> list[str]:
    page = server.cli("storage", "list", "-e", execution, "--limit", "1000").done()
    return [found["key"] for found in page["objects"]]


@pytest.mark.long
def test_objects_are_reached_by_the_same_keys_in_few_files(
    ran: tuple[ServerProcess, str], typed: Typed
) -> None:
    server, execution = ran
    keys = listed(server, execution)
    assert len(keys) > 100
    assert keys == sorted(keys)
    folder = server.data_dir / "storage"
    assert {path.name.partition(".pack")[0] for path in (folder / "executions").iterdir()} <= {
        found["execution_id"] for found in server.get("/executions")["executions"]
    }
    assert len(list(folder.rglob("*"))) < 20
    stored = [row for row in server.rows(execution) if row["outcome"] == "stored"]
    assert stored
    for row in stored[::9]:
        place = f"executions/{execution}/{row['route_id']}/{row['stage']}/{row['message_id']}"
        (key,) = (key for key in keys if key.startswith(place))
        record = typed(server, "storage", "metadata", key).done()
        assert record["output_hash"] == row["output_hash"]
        assert hashlib.sha256(server.read(key)).hexdigest() == row["output_hash"]


def test_a_replay_reads_and_writes_packs(ran: tuple[ServerProcess, str]) -> None:
    server, execution = ran
    replay = server.post(f"/executions/{execution}/replay", {"from_stage": "split/selftest_vary"})[
        "execution_id"
    ]
    assert server.end_of(replay)["status"] == STATUS
    assert f"executions/{replay}/_plan" in listed(server, replay)
    assert listed(server, replay) == sorted(listed(server, replay))
    for key in listed(server, replay)[::9]:
        assert server.read(key) is not None


@pytest.mark.long
def test_an_export_is_a_store_of_plain_files(
    ran: tuple[ServerProcess, str], tmp_path: Path
) -> None:
    server, execution = ran
    first = server.cli(
        "storage", "export", "-e", execution, "--output-dir", tmp_path / "out"
    ).done()
    assert first["objects"] == len(listed(server, execution)) == first["written"] - first["records"]
    assert first["left_out_count"] == 0
    for path in list((tmp_path / "out").rglob("*.json"))[::3]:
        path.unlink()
    again = server.cli(
        "storage", "export", "-e", execution, "--output-dir", tmp_path / "out"
    ).done()
    assert again["written"] > 0
    assert again["present"] + again["written"] == first["written"]
    with ServerProcess(
        tmp_path / "data", "--storage-uri", (tmp_path / "out").as_uri(), cwd=tmp_path
    ) as other:
        prefix = f"executions/{execution}"
        page = other.cli("storage", "list", "--prefix", prefix, "--limit", "1000").done()
        assert [found["key"] for found in page["objects"]] == listed(server, execution)
        for key in listed(server, execution)[::7]:
            assert other.read(key) == server.read(key)
            theirs = other.get(f"/storage/metadata/{key}")
            ours = server.get(f"/storage/metadata/{key}")
            del theirs["last_modified"], ours["last_modified"]
            assert theirs == ours or "note" in ours


def test_export_of_an_unknown_execution_is_refused(
    ran: tuple[ServerProcess, str], tmp_path: Path
) -> None:
    server, _ = ran
    said = server.cli(
        "storage", "export", "-e", "nobody", "--output-dir", tmp_path / "out"
    ).refused(6)
    assert "nobody" in said


def deaths() -> list[object]:
    """Cases in which the way things are stored matters; one of them in every run."""
    chosen = [case for case in CASES if case.point in DEATHS]
    assert len(chosen) >= len(DEATHS)
    return [
        pytest.param(case, id=str(case), marks=[] if case.point == QUICK else pytest.mark.long)
        for case in chosen
    ]


@pytest.mark.parametrize("case", deaths())
def test_the_next_server_goes_on_from_the_records(tmp_path: Path, case: Case) -> None:
    check(case, tmp_path, queue_lost=True, packed=True)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_random_kills_lose_nothing_and_commit_nothing_twice() -> None:
    ended = run_command(
        *("factflow", "selftest", "chaos", "--kills", "20", "--seed", "21", "--packed"), seconds=540
    )
    assert ended.json["problems"] == []
    figures = ended.done()
    assert (figures["holds"], figures["kills"]) == (True, 20)
    assert figures["lineage_rows"] == figures["records"] > 0
