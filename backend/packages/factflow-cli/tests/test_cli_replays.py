"""Replays, their plans, trees and differences: what is asked, what is shown, how the command ends."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factflow_cli.private_server import private_server

Run = Callable[..., Any]


def plan(stub: Any) -> dict[str, Any]:
    return {
        "dry_run": True,
        "can_run": True,
        "from_execution_id": stub.RUN,
        "from_stage": "sitemap_scraper/web_scraper",
        "to_route": None,
        "to_queue": "sitemap_scraper_in",
        "with": [stub.OTHER_RUN],
        "objects_found": 72,
        "plan_hash": "ab" * 32,
        "entries": [{"route": "sitemap_scraper", "stage": "clean", "queue": "in", "messages": 72}],
        "selected": {"after_stage": 70, "at_stage_failed": 2},
        "not_selected": {"filtered": 5},
        "stages": [
            {
                "route": "sitemap_scraper",
                "stage": "clean",
                "adapter": "html_to_markdown",
                "version": "0.2.0+bbb",
                "source_adapter": "html_to_markdown",
                "source_version": "0.1.0+aaa",
                "changed": True,
                "changed_on_disk": False,
            }
        ],
        "config_id": stub.CONFIG,
        "config_name": "docs",
        "config_version": 4,
        "config_differences": [
            {"path": "routes.a.adapters.clean.config.depth", "kind": "changed", "old": 1, "new": 2}
        ],
        "missing": [],
        "missing_count": 0,
        "note": "web_scraper is not run again for 70 messages; --rerun runs it",
    }


def test_every_option_is_sent(server: Any, stub: Any, factflow: Run, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("# mine\nm1\n\n  m2 \nm1\n")
    path = f"/executions/{stub.RUN}/replay"
    server.answers[f"POST {path}"] = plan(stub)
    line = ["execution", "replay", stub.RUN, "--from-stage", "a/b", "--rerun", "--only", "failed"]
    line += ["--with", "R1,R2", "--with", "R3", "--message", "m0", "--messages-file", "ids.txt"]
    line += ["--where", "url~/blog/", "--where", "status=failed", "--sample", "7"]
    line += ["--set", "a.b.n=3", "--set", "a.b.text=to: be", "--set", 'a.b.list=["x"]']
    ended = factflow(*line, "--config", "C", "--tag", "t", "--dry-run", "--loaded-code")
    assert ended.code == 0
    assert ended.json == plan(stub)
    assert server.last("POST", path).body == {
        "from_stage": "a/b",
        "rerun": True,
        "only": "failed",
        "with": ["R1", "R2", "R3"],
        "messages": ["m0", "m1", "m2"],
        "where": ["url~/blog/", "status=failed"],
        "sample": 7,
        "set": {"a.b.n": 3, "a.b.text": "to: be", "a.b.list": ["x"]},
        "config_id": "C",
        "tag": "t",
        "loaded_code": True,
        "dry_run": True,
    }


def test_a_plan_is_drawn_and_one_that_cannot_run_is_refused(
    server: Any, stub: Any, factflow: Run
) -> None:
    path = f"POST /executions/{stub.RUN}/replay"
    server.answers[path] = plan(stub)
    line = ["execution", "replay", stub.RUN, "--from-stage", "x", "--dry-run", "--output", "table"]
    shown = factflow(*line)
    assert shown.code == 0
    for part in (
        "nothing was started",
        "no artefact",
        "70 after stage",
        "0.1.0+aaa",
        "0.2.0+bbb",
        "changed",
    ):
        assert part in shown.text
    assert "routes.a.adapters.clean.config" in shown.text
    assert max(map(len, shown.text.splitlines())) <= 80
    server.answers[path] |= {"can_run": False, "missing": ["executions/k"], "missing_count": 1}
    refused = factflow(*line)
    assert refused.code == 7
    assert "executions/k" in refused.text


def test_a_server_that_starts_instead_of_planning_is_not_believed(
    server: Any, stub: Any, factflow: Run
) -> None:
    ended = factflow("execution", "replay", stub.RUN, "--from-stage", "x", "--dry-run")
    assert ended.code == 8


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["--set", "a.b.c"], "has no NAME="),
        (["--set", "a.b.c=1", "--set", "a.b.c=2"], "given twice"),
        (["--messages-file", "none.txt"], "cannot read none.txt"),
        (["--messages-file", "empty.txt"], "names no message"),
        (["--only", "broken"], "--only"),
        (["--sample", "0"], "--sample"),
    ],
)
def test_a_wrong_command_line_asks_nothing(
    line: list[str], said: str, factflow: Run, tmp_path: Path
) -> None:
    (tmp_path / "empty.txt").write_text("# nothing\n")
    ended = factflow("execution", "replay", "x", "--from-stage", "y", *line)
    assert ended.code == 2
    assert said in ended.err


def test_a_running_replay_shows_how_much_is_published(
    server: Any, stub: Any, factflow: Run
) -> None:
    line = ["execution", "get", stub.RUN, "--output", "table"]
    assert "published" not in factflow(*line).text
    path = f"/executions/{stub.RUN}"
    running = {"execution_id": stub.RUN, "status": "running", "routes": []}
    server.answers[f"GET {path}"] = {**running, "plan": {"published": 500, "planned": 960}}
    assert "500 of 960 planned" in factflow(*line).text


def test_a_tree_is_drawn(server: Any, stub: Any, factflow: Run) -> None:
    def node(name: str, *replays: dict[str, Any]) -> dict[str, Any]:
        source = {"from_stage": f"route/{name}"}
        return {
            "execution_id": name,
            "status": "completed",
            "tag": None,
            "replay_source": source,
            "started_at": "2026-03-01T09:30:12+00:00",
            "message_count": 3,
            "failed_count": 0,
            "replays": list(replays),
        }

    tree = {**node("root", node("one", node("two")), node("three")), "asked": "two"}
    server.answers[f"GET /executions/{stub.RUN}/tree"] = tree
    assert factflow("execution", "tree", stub.RUN).json == tree
    drawn = factflow("execution", "tree", stub.RUN, "--output", "table").text.splitlines()
    shape = [line.partition("completed")[0].rstrip() for line in drawn]
    assert shape == ["root", "|- one", "|  `- two", "`- three"]
    assert "this one" in drawn[2]


def test_a_difference_is_drawn_and_tells_by_its_exit_code(
    server: Any, stub: Any, factflow: Run
) -> None:
    path = f"/executions/{stub.RUN}/diff/{stub.OTHER_RUN}"
    stage = {"route_id": "r", "stage": "s", "same": 4, "changed": 0, "only_a": 0, "only_b": 0}
    server.answers[f"GET {path}"] = {"same": True, "stages": [stage], "changes": []}
    line = ["execution", "diff", stub.RUN, stub.OTHER_RUN]
    assert factflow(*line).code == 0
    change = {
        "kind": "changed",
        "route_id": "r",
        "stage": "s",
        "origin_id": "o",
        "label": "https://example.com/",
        "a": {"outcome": "stored", "output_key": "k1", "error": None},
        "b": {"outcome": "failed", "error": {"type": "E", "message": "no\x1b[2J"}},
        "diff": "--- k1\n+++ k2\n-old\x1b[2J\n+new\n",
    }
    server.answers[f"GET {path}"] |= {"same": False, "changes": [change], "changes_left": 2}
    shown = factflow(*line, "--stage", "s", "--content", "--limit", "1", "--output", "table")
    assert shown.code == 1
    asked = server.last("GET", path).query
    assert {name: asked[name] for name in ("stage", "content", "limit")} == {
        "stage": "s",
        "content": "true",
        "limit": "1",
    }
    for part in ("different", "https://example.com/", "E: no", "-old", "+new", "2 more differ"):
        assert part in shown.text
    assert "\x1b" not in shown.text


PIPELINE = """\
version: "1.0"
name: numbers
routes:
  numbers:
    inbound: {queue: numbers}
    adapters:
      - {type: fan, config: {count: 6}}
      - {type: fail, config: {numbers: [3], message: "Timeout: 30 s"}}
    outbound: rest
  rest:
    inbound: {queue: rest}
    adapters: [{type: echo}]
init_message: {route: numbers}
"""


@pytest.fixture
def real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "p.yaml").write_text(PIPELINE)
    with private_server(["--adapters", "factflow_testing.adapters"]) as server:
        monkeypatch.setenv("FACTFLOW_SERVER_URL", server.url)
        yield


def test_the_whole_way_with_the_real_server(real_server: None, factflow: Run) -> None:
    """Look at the plan, repair what failed, go on with both, and see what changed."""
    assert factflow("run", "p.yaml", "--tag", "first").code == 1
    replay = ["execution", "replay", "first"]
    repair = [*replay, "--only", "failed", "--where", "error~timeout"]
    repair += ["--set", "numbers.fail.numbers=[99]", "--tag", "repair"]
    planned = factflow(*repair, "--dry-run")
    assert (planned.code, planned.json["objects_found"]) == (0, 1)
    difference = {"path": "routes.numbers.adapters.fail.config.numbers", "kind": "changed"}
    (found,) = planned.json["config_differences"]
    assert found == {**difference, "old": [3], "new": [99]}
    assert factflow("execution", "list").json["total"] == 1
    assert factflow(*repair, "--wait").code == 0

    assert factflow(*replay, "--from-stage", "fail", "--wait").code == 1, "3 fails once more"
    both = factflow(*replay, "--from-stage", "fail", "--with", "repair", "--tag", "both", "--wait")
    assert both.code == 0
    assert both.json["message_count"] == 6
    tree = factflow("execution", "tree", "both").json
    assert [node["tag"] for node in tree["replays"]] == ["repair", None, "both"]

    assert factflow("execution", "diff", "both", "both").code == 0
    more = factflow("execution", "diff", "first", "both", "--stage", "echo")
    assert more.code == 1
    assert [(s["same"], s["only_b"]) for s in more.json["stages"]] == [(5, 1)]
    changed = factflow("execution", "diff", "first", "repair", "--content")
    assert changed.code == 1
    assert "-failed with ValueError" in changed.json["changes"][0]["diff"]
    refused = factflow(*replay, "--from-stage", "fail", "--with", "first")
    assert refused.code == 7
    assert re.search(r"its replays are repair, \S+, both", refused.err)
    assert factflow("execution", "diff", "first", "nobody").code == 6
