"""Listings: whole however long, a row on each line when asked, and as wide as the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

Shell = Callable[..., Any]
LISTS = [
    "config list",
    "execution list",
    "pipeline list",
    "adapters list",
    "storage list --execution RUN",
    "lineage list --execution RUN",
    "lineage failures",
]


def many(server: Any, count: int) -> None:
    """Have the stub list this many executions, newest first, in pages as the server makes them."""
    names = [{"execution_id": f"{number:05}", "status": "completed"} for number in range(count)]

    def answer(asked: Any) -> Any:
        limit, offset = int(asked.query["limit"]), int(asked.query["offset"])
        found = names[offset : offset + limit]
        return {
            "total": count,
            "limit": limit,
            "offset": offset,
            "has_more": offset + len(found) < count,
            "executions": found,
        }

    server.answers["GET /executions"] = answer


def words_of(line: str, stub: Any) -> list[str]:
    return [getattr(stub, word, word) if word.isupper() else word for word in line.split()]


def test_all_turns_every_page_and_gives_one_document(server: Any, factflow: Shell) -> None:
    many(server, 2345)
    answer = factflow("execution", "list", "--all").json
    ids = [row["execution_id"] for row in answer["executions"]]
    assert ids == sorted(ids)
    assert (len(ids), answer["total"], answer["has_more"]) == (2345, 2345, False)
    assert [asked.query["offset"] for asked in server.asked] == ["0", "1000", "2000"]


def test_a_limit_above_a_page_is_kept_to_the_row(server: Any, factflow: Shell) -> None:
    many(server, 2345)
    assert len(factflow("execution", "list", "--limit", "1200").json["executions"]) == 1200
    assert [asked.query["limit"] for asked in server.asked] == ["1000", "200"]


def test_a_row_that_moved_to_the_next_page_is_shown_once(server: Any, factflow: Shell) -> None:
    """Something started while the pages were turned."""
    pages = [
        {"executions": [{"execution_id": "b"}, {"execution_id": "a"}], "has_more": True},
        {"executions": [{"execution_id": "a"}, {"execution_id": "0"}], "has_more": False},
    ]
    server.answers["GET /executions"] = lambda _: pages.pop(0)
    shown = factflow("execution", "list", "--all", "--output", "jsonl").text.splitlines()
    assert [json.loads(line)["execution_id"] for line in shown] == ["b", "a", "0"]


def test_a_server_that_says_there_is_more_for_ever_is_left(server: Any, factflow: Shell) -> None:
    server.answers["GET /executions"] = {"executions": [{"execution_id": "a"}], "has_more": True}
    assert len(factflow("execution", "list", "--all").json["executions"]) == 1
    again = {"objects": [{"key": "a"}], "has_more": True, "next_cursor": "a"}
    server.answers["GET /storage/objects"] = again
    shown = factflow("storage", "list", "--prefix", "p", "--all").json
    assert len(shown["objects"]) == 1


def test_a_listing_with_cursors_is_gone_on_with_by_them(server: Any, factflow: Shell) -> None:
    pages = [
        {"objects": [{"key": "a"}], "has_more": True, "next_cursor": "a"},
        {"objects": [{"key": "b"}], "has_more": False},
    ]
    server.answers["GET /storage/objects"] = lambda _: pages.pop(0)
    answer = factflow("storage", "list", "--prefix", "p", "--all").json
    assert [row["key"] for row in answer["objects"]] == ["a", "b"]
    assert [asked.query.get("cursor") for asked in server.asked] == [None, "a"]
    assert "offset" not in server.asked[-1].query


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("lineage list --where lang=en", "/lineage"),
        ("lineage batch B", "/lineage"),
        ("lineage failures", "/lineage/failures"),
        ("lineage children ROW", "/lineage/ROW/children"),
        ("storage browse", "/storage/browse"),
    ],
)
def test_all_goes_on_over_pages_on_which_nothing_was_found(
    line: str, asked: str, server: Any, factflow: Shell
) -> None:
    """A search looks at some thousand rows for a page, and may find its first one on the third."""
    pages = [
        {"entries": [{"id": "a"}], "has_more": True, "next_cursor": "1", "scanned": 9, "limit": 1},
        {"entries": [], "has_more": True, "next_cursor": "2", "scanned": 9, "limit": 1},
        {"entries": [{"id": "b"}], "has_more": False, "scanned": 4, "limit": 1, "total": None},
    ]
    server.answers[f"GET {asked}"] = lambda one: pages[int(one.query.get("cursor") or 0)]
    answer = factflow(*line.split(), "--all").json
    assert [row["id"] for row in answer["entries"]] == ["a", "b"]
    assert (answer["scanned"], answer["has_more"]) == (22, False)
    shown = factflow(*line.split(), "--all", "--output", "jsonl").text.splitlines()
    assert [json.loads(text)["id"] for text in shown] == ["a", "b"]


def test_a_page_is_written_before_the_next_is_asked_for(server: Any, program: Shell) -> None:
    """So a reader that has enough ends the turning of pages, and nothing is said of it."""
    many(server, 50_000)
    done = program("{} execution list --all --output jsonl | head -n 1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["execution_id"] == "00000"
    assert len(server.asked) < 50


def test_an_error_on_a_later_page_is_an_error(server: Any, stub: Any, factflow: Shell) -> None:
    first = {"executions": [{"execution_id": "a"}], "has_more": True}
    answers = [first, stub.error(503, "database_unavailable", "busy", "again")]
    server.answers["GET /executions"] = lambda _: answers.pop(0)
    ended = factflow("execution", "list", "--all")
    assert (ended.code, ended.out) == (8, b"")


@pytest.mark.parametrize("line", LISTS)
def test_jsonl_is_one_compact_document_on_each_line(
    line: str, server: Any, stub: Any, factflow: Shell
) -> None:
    shown = factflow(*words_of(line, stub), "--output", "jsonl").text.splitlines()
    assert shown
    for text in shown:
        assert isinstance(json.loads(text), dict)
        assert text.startswith('{"')
        assert '": ' not in text.partition('"metadata"')[0], "compact"


def test_jsonl_of_a_single_thing_is_one_line(server: Any, stub: Any, factflow: Shell) -> None:
    for line in (
        ["execution", "get", stub.RUN],
        ["system", "health"],
        ["storage", "get", stub.KEY],
    ):
        (shown,) = factflow(*line, "--output", "jsonl").text.splitlines()
        assert isinstance(json.loads(shown), dict)


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("line", LISTS)
def test_a_table_fits_whatever_the_width(
    line: str,
    columns: int,
    server: Any,
    stub: Any,
    factflow: Shell,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    shown = factflow(*words_of(line, stub), "--output", "table").text
    assert "\x1b" not in shown, "a pipe gets no colours"
    table = shown.partition("\n\n")[0].splitlines()
    assert max(len(text) for text in table) <= columns


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [
        ({}, False),
        ({"FORCE_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, False),
    ],
)
def test_colours_in_a_pipe_are_for_who_forces_them(
    variables: dict[str, str],
    coloured: bool,
    server: Any,
    stub: Any,
    factflow: Shell,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    shown = factflow("execution", "get", stub.RUN, "--output", "table").text
    assert ("\x1b[" in shown) is coloured
