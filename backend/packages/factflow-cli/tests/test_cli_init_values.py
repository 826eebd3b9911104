"""`--init KEY=VALUE`."""

from __future__ import annotations

from typing import Any

import pytest

from factflow_cli.errors import CliError
from factflow_cli.init_values import parse_init


@pytest.mark.parametrize(
    ("assignments", "value"),
    [
        ([], None),
        (["url=https://a.example/?q=1"], {"url": "https://a.example/?q=1"}),
        (["n=3", "ok=true", "none=null"], {"n": 3, "ok": True, "none": None}),
        (['list=[1, "a"]'], {"list": [1, "a"]}),
        (['text="3"'], {"text": "3"}),
        (["empty="], {"empty": ""}),
        (["crawl.depth=2", "crawl.host.name=x"], {"crawl": {"depth": 2, "host": {"name": "x"}}}),
        (['crawl={"depth": 1}', "crawl.host=x"], {"crawl": {"depth": 1, "host": "x"}}),
        (["n=NaN", "m=-Infinity"], {"n": "NaN", "m": "-Infinity"}),
        (["broken={oops"], {"broken": "{oops"}),
        (["deep=" + "[" * 100_000], {"deep": "[" * 100_000}),
    ],
)
def test_values_are_json_when_they_parse_and_dots_nest(
    assignments: list[str], value: dict[str, Any] | None
) -> None:
    assert parse_init(assignments) == value


@pytest.mark.parametrize(
    "assignments", [["url"], ["=1"], ["a..b=1"], [".a=1"], ["a=1", "a=2"], ["a=1", "a.b=2"]]
)
def test_slips_are_refused_before_anything_runs(assignments: list[str]) -> None:
    with pytest.raises(CliError, match="--init"):
        parse_init(assignments)
