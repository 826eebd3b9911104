"""`config validate`: by a server, or without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
GOOD, BAD = "name: good\n", "type: web_scrapper\n"
FINDING = (
    "pipelines/bad.yml:7  E103  routes.sitemap_scraper.adapters[0].type"
    "  unknown adapter type 'web_scrapper' (did you mean 'web_scraper'?)"
)


@pytest.fixture
def pipelines(tmp_path: Path) -> Path:
    folder = tmp_path / "pipelines"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (folder / "bad.yml").write_text(BAD)
    (folder / "deep" / "good.yaml").write_text(GOOD)
    (folder / ".hidden" / "bad.yaml").write_text(BAD)
    (folder / "notes.txt").write_text("no yaml")
    return folder


def test_a_valid_file_ends_with_0(server: Any, pipelines: Path, factflow: Run) -> None:
    ended = factflow("config", "validate", "pipelines/deep/good.yaml", "--output", "json")
    assert ended.code == 0
    assert ended.json["is_valid"] is True
    assert server.last("POST", "/configs/validate").body == {
        "config_yaml": GOOD,
        "source": "pipelines/deep/good.yaml",
    }


def test_findings_name_file_line_code_path_and_a_suggestion(
    server: Any, pipelines: Path, factflow: Run
) -> None:
    ended = factflow("config", "validate", "pipelines", "--output", "table")
    assert ended.code == 1
    assert ended.text.splitlines() == [
        FINDING,
        "pipelines/deep/good.yaml  ok",
        "",
        "2 checked, 1 invalid; errors: 1, warnings: 0",
    ]


def test_a_folder_as_json_has_one_report_for_each_file(
    server: Any, pipelines: Path, factflow: Run
) -> None:
    result = factflow("config", "validate", "pipelines").json
    assert [(f["source"], f["is_valid"]) for f in result["files"]] == [
        ("pipelines/bad.yml", False),
        ("pipelines/deep/good.yaml", True),
    ]
    assert (result["is_valid"], result["error_count"], result["warning_count"]) == (False, 1, 0)


def test_a_folder_without_yaml_is_an_error(server: Any, tmp_path: Path, factflow: Run) -> None:
    ended = factflow("config", "validate", str(tmp_path))
    assert ended.code == 2
    assert "no *.yaml" in ended.err


def test_without_a_server_the_installed_adapters_judge(
    with_stand_in: Path, pipelines: Path, factflow: Run
) -> None:
    ended = factflow("config", "validate", "pipelines")
    assert ended.code == 1
    assert [f["is_valid"] for f in ended.json["files"]] == [False, True]
    assert "no server answers" in ended.err


def test_a_module_that_cannot_be_loaded_is_told(
    with_stand_in: Path, pipelines: Path, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAND_IN", "refuse")
    ended = factflow("config", "validate", "pipelines", "--adapters", "nope")
    assert ended.code == 2
    assert "there is no module 'nope'" in ended.err


def test_a_report_without_a_verdict_is_no_stack_trace(
    server: Any, pipelines: Path, factflow: Run
) -> None:
    server.answers["POST /configs/validate"] = {"fine": True}
    ended = factflow("config", "validate", "pipelines")
    assert ended.code == 8
    assert "not what Factflow sends" in ended.err
