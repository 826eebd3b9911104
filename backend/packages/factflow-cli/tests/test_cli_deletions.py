"""`execution delete` asks before it deletes, waits until all is gone, and names what stays; `storage
download` writes what is left as plain files."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factflow_cli.plain_files import SUMMARY

Run = Callable[..., Any]


def archive(members: dict[str, bytes], **more: Any) -> bytes:
    """A server's archive with these members, and `more` in its summary."""
    records = sum(name.endswith(".meta.json") for name in members)
    counts = {"objects": len(members) - records, "records": records}
    summary = {**counts, "left_out": [], "left_out_count": 0, **more}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in {**members, SUMMARY: json.dumps(summary).encode()}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_deleting_waits_for_the_end_and_says_what_went(
    server: Any, stub: Any, factflow: Run
) -> None:
    path = f"GET /executions/{stub.RUN}/deletion"
    states = [stub.deletion("deleting", trouble="no room"), stub.deletion("deleted")]
    server.answers[path] = lambda _: states.pop(0)
    done = factflow("execution", "delete", stub.RUN, "--yes")
    assert (done.code, states) == (0, [])
    assert "waiting: no room" in done.err
    assert done.json["executions"][0]["deletion"]["state"] == "deleted"
    asked = server.last("POST", "/executions/delete").body
    assert asked == {
        "execution_ids": [stub.RUN],
        "statuses": [],
        "artefacts_only": False,
        "dry_run": False,
    }
    table = factflow("execution", "delete", stub.RUN, "--dry-run", "--output", "table")
    assert table.code == 0
    assert "1 would go, 1 stay" in table.text
    assert stub.RUN in table.text
    assert max(len(line) for line in table.text.splitlines()) <= 80


def test_a_named_one_that_stays_is_a_refusal(server: Any, stub: Any, factflow: Run) -> None:
    done = factflow("execution", "delete", stub.RUN, stub.OTHER_RUN, "-y", "--output", "table")
    assert done.code == 7
    assert "is still needed by" in done.text
    matched = factflow("execution", "delete", "--older-than", "30d", "--status", "failed", "-y")
    assert matched.code == 0
    body = server.last("POST", "/executions/delete").body
    assert (body["older_than_seconds"], body["statuses"]) == (30 * 86400, ["failed"])


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ([], "--older-than"),
        (["--status", "running", "--yes"], "completed,failed,cancelled"),
        (["--older-than", "soon", "--yes"], "90s"),
        (["some"], "--yes"),
    ],
)
def test_nothing_is_asked_of_the_server_that_makes_no_sense(
    server: Any, factflow: Run, line: list[str], hint: str
) -> None:
    done = factflow("execution", "delete", *line)
    assert (done.code, server.asked) == (2, [])
    assert hint in done.err


def test_a_person_is_asked_first(server: Any, stub: Any, on_terminal: Run) -> None:
    screen = on_terminal("execution", "delete", stub.RUN)
    screen.read_until("Delete 1 of them?")
    assert [asked.body["dry_run"] for asked in server.asked] == [True]
    screen.type("n")
    code, _ = screen.finish()
    assert code == 130
    assert [asked.body["dry_run"] for asked in server.asked] == [True]


def test_a_download_is_named_after_routes_and_stages(
    server: Any, stub: Any, factflow: Run, tmp_path: Path
) -> None:
    below = f"executions/{stub.RUN}"
    members = {f"{below}/crawl/fetch/m.html": b"<p>", f"{below}/crawl/fetch/m.meta.json": b"{}"}
    server.answers["GET /storage/archive"] = archive(members)
    line = ("storage", "download", stub.RUN, "--output-dir", "out", "--stage", "fetch")
    for written in (2, 0):
        done = factflow(*line)
        assert (done.code, done.json["written"]) == (0, written)
        assert files_in(tmp_path / "out") == {
            "crawl/fetch/m.html": b"<p>",
            "crawl/fetch/m.meta.json": b"{}",
        }
    assert server.last("GET", "/storage/archive").query == {
        "execution_id": stub.RUN,
        "stage": "fetch",
    }


@pytest.mark.parametrize("name", ["../x", "/x", "a/../../x", "C:/x", "executions/other/x", "..\\x"])
def test_a_download_stays_in_its_folder(
    server: Any, stub: Any, factflow: Run, tmp_path: Path, name: str
) -> None:
    server.answers["GET /storage/archive"] = archive({name: b"x"})
    done = factflow("storage", "download", stub.RUN, "--output-dir", "deep/out")
    assert done.code == 2
    assert "no name of a stored object" in done.err
    assert files_in(tmp_path) == {}


def test_another_file_of_the_same_size_is_not_taken_for_the_one(
    server: Any, stub: Any, factflow: Run, tmp_path: Path
) -> None:
    (tmp_path / "_init.json").write_bytes(b"[]")
    name = f"executions/{stub.RUN}/_init.json"
    server.answers["GET /storage/archive"] = archive({name: b"{}"})
    done = factflow("storage", "download", stub.RUN, "--output-dir", ".")
    assert done.code == 2
    assert (tmp_path / "_init.json").read_bytes() == b"[]"


def test_what_is_missing_or_deleted_is_told(server: Any, stub: Any, factflow: Run) -> None:
    missing = {"missing": ["executions/e/crawl/fetch/m.html"], "missing_count": 1}
    server.answers["GET /storage/archive"] = archive({}, **missing)
    done = factflow("storage", "download", stub.RUN, "--output-dir", "out", "--output", "table")
    assert done.code == 1
    assert "- executions/e/crawl/fetch/m.html" in done.text
    server.answers[f"GET /executions/{stub.RUN}"] = stub.execution(
        deletion=stub.deletion("deleted", kind="artefacts")
    )
    done = factflow("storage", "download", stub.RUN, "--output-dir", "out")
    assert done.code == 7
    assert "were deleted on 2026-04-01" in done.err
    shown = factflow("execution", "get", stub.RUN, "--output", "table")
    assert "its artefacts, on 2026-04-01 09:31:00: 340 objects, 3.2 MiB" in shown.text
