"""Configs that are wrong: each is refused with the place and what to do, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from factflow_testing.server_process import Finished, ServerProcess

Typed = Callable[..., Finished]
GOOD = """
version: "1.0"
name: good
init_message: {route: only, payload: {n: 1}}
routes:
  only:
    inbound: {queue: only}
    adapters:
      - type: increment
"""
MALFORMED = GOOD.replace("{queue: only}", "{queue: only")
UNKNOWN_ADAPTER = GOOD.replace("increment", "incremnt")
WRONG_TYPE = GOOD.replace("{queue: only}", '{queue: only, concurrency: "many"}')
UNKNOWN_FIELD = GOOD.replace("type: increment", "type: web_scraper\n        config: {timeuot: 3}")
ALIAS_BOMB = (
    GOOD
    + "\nx0: &x0 [b, b, b, b, b, b, b, b, b]\n"
    + "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 12))
)
OBJECT_TAG = GOOD.replace("{n: 1}", "!!python/object/apply:os.system ['touch harmed']")


@contextmanager
def nothing_is_left(server: ServerProcess) -> Iterator[None]:
    """Fail when the block leaves a config, an execution or a stored object behind."""
    before = _what_there_is(server)
    yield
    assert _what_there_is(server) == before


def _what_there_is(server: ServerProcess) -> tuple[int, int, dict[str, str]]:
    configs = server.get("/configs", active="all")["total"]
    return configs, server.get("/executions")["total"], server.manifest()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MALFORMED, ["E001", "8", "column 13"]),
        (ALIAS_BOMB, ["E004", "alias"]),
        (OBJECT_TAG, ["E007", "!!python"]),
    ],
    ids=["malformed", "alias bomb", "object tag"],
)
def test_text_that_is_no_pipeline_is_refused_by_every_command(
    strict_server: ServerProcess, typed: Typed, tmp_path: Path, text: str, said: list[str]
) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    with nothing_is_left(strict_server):
        validated = typed(strict_server, "config", "validate", file)
        assert validated.code == 1
        issue = next(i for i in validated.json["files"][0]["issues"] if i["code"] == said[0])
        words = f"{issue['code']} {issue['line']} {issue['message']} {issue['suggestion']}"
        assert all(word in words for word in said), words
        err = typed(strict_server, "config", "create", "-f", file).refused(7)
        assert said[0] in err
        ran = typed(strict_server, "run", file)
        assert said[0] in ran.refused(1)
        assert "nothing was run" in ran.err
    assert not (tmp_path / "harmed").exists()


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        (UNKNOWN_ADAPTER, "E103", ["routes.only.adapters[0].type", "'increment'", ":9"]),
        (WRONG_TYPE, "E102", ["routes.only.inbound.concurrency", "number", ":7"]),
        (UNKNOWN_FIELD, "E301", ["routes.only.adapters[0].config.timeuot", "`timeout`", ":10"]),
    ],
    ids=["unknown adapter", "wrong type", "unknown field"],
)
def test_a_pipeline_with_errors_names_each_with_place_and_remedy_and_does_not_run(
    strict_server: ServerProcess,
    typed: Typed,
    tmp_path: Path,
    text: str,
    code: str,
    said: list[str],
) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(text)
    with nothing_is_left(strict_server):
        table = typed(strict_server, "config", "validate", file, "--output", "table")
        assert table.code == 1
        line = next(line for line in table.out.splitlines() if code in line)
        assert all(word in line for word in said), line
        assert code in typed(strict_server, "run", file).refused(1)
    stored = typed(strict_server, "config", "create", "-f", file)
    assert stored.done()["is_runnable"] is False
    assert code in stored.err
    with nothing_is_left(strict_server):
        err = typed(strict_server, "config", "run", stored.json["id"]).refused(7)
        assert code in err
        assert "hint: " in err


def test_all_problems_are_reported_at_once(
    strict_server: ServerProcess, typed: Typed, tmp_path: Path
) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(
        UNKNOWN_ADAPTER.replace("{queue: only}", '{queue: only, concurrency: "many"}').replace(
            "route: only", "route: onyl"
        )
    )
    report = typed(strict_server, "config", "validate", file).json["files"][0]
    assert {issue["code"] for issue in report["issues"]} >= {"E102", "E103", "E107"}


@pytest.mark.parametrize(("text", "code"), [("- a\n- list\n", "E002"), ("\x00\x01", "E001")])
def test_text_of_another_kind_is_not_stored(
    strict_server: ServerProcess, text: str, code: str
) -> None:
    with nothing_is_left(strict_server):
        answer = strict_server.api.post("/configs", json={"config_yaml": text})
        assert (answer.status_code, answer.json()["error_code"]) == (400, "config_invalid")
        assert [issue["code"] for issue in answer.json()["issues"]] == [code]


@pytest.mark.parametrize(("assignment", "said"), [("no-equals", "no '='"), ("a..b=1", "empty key")])
def test_an_init_value_that_is_none_is_refused(
    strict_server: ServerProcess, typed: Typed, tmp_path: Path, assignment: str, said: str
) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(GOOD)
    with nothing_is_left(strict_server):
        err = typed(strict_server, "run", file, "--init", assignment).refused(2)
        assert assignment in err
        assert said in err
        assert "hint: " in err


def test_a_file_that_is_not_there_is_named(
    strict_server: ServerProcess, typed: Typed, tmp_path: Path
) -> None:
    for command in (["config", "validate"], ["config", "create", "-f"], ["run"]):
        err = typed(strict_server, *command, tmp_path / "absent.yaml").refused(2)
        assert "absent.yaml" in err
