"""Statistics, chains and failures of a pipeline with names as people give them, on 80 columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Run = Callable[..., Any]

SCRAPER, PROCESSOR = "sitemap_scraper", "markdown_processor"
STAGES = (
    (SCRAPER, "sitemap_parser"),
    (SCRAPER, "url_expander"),
    (SCRAPER, "web_scraper"),
    (SCRAPER, "web_content_storage"),
    (PROCESSOR, "html_to_markdown"),
    (PROCESSOR, "smart_segmenter"),
    (PROCESSOR, "markdown_storage_writer"),
)


def _counts(stub: Any, **changes: Any) -> list[dict[str, Any]]:
    known = stub.stages()[0]
    return [
        {**known, "route_id": route, "stage": stage, "adapter": stage, **changes}
        for route, stage in STAGES
    ]


def _shown(done: Any) -> list[str]:
    lines: list[str] = done.text.splitlines()
    assert done.code == 0
    assert [line for line in lines if len(line) > 80] == []
    return lines


@pytest.mark.parametrize("command", ["execution stats RUN", "lineage stats --execution RUN"])
def test_statistics_have_every_name_whole_and_the_order_of_the_answer(
    command: str, server: Any, stub: Any, factflow: Run
) -> None:
    answer = {"execution_id": stub.RUN, "stages": _counts(stub, count=12345, completed=12345)}
    server.answers[f"GET /executions/{stub.RUN}/stats"] = answer
    server.answers["GET /lineage/stats"] = answer
    lines = _shown(factflow(*command.replace("RUN", stub.RUN).split(), "--output", "table"))
    heads = lines.index(next(line for line in lines if line.startswith("ROUTE ")))
    assert lines[heads].split() == ["ROUTE", "ADAPTER", "COUNT", "COMPLETED", "FAILED", "P95"]
    assert [tuple(line.split()[:2]) for line in lines[heads + 1 :]] == list(STAGES)


def test_statistics_show_what_was_filtered_and_adapters_under_other_names(
    server: Any, stub: Any, factflow: Run
) -> None:
    stages = _counts(stub)
    stages[2].update(filtered=7, stage="fetch")
    server.answers["GET /lineage/stats"] = {"execution_id": stub.RUN, "stages": stages}
    asked = ("lineage", "stats", "--execution", stub.RUN, "--output", "table")
    lines = _shown(factflow(*asked))
    assert lines[0].split()[:3] == ["ROUTE", "STAGE", "COUNT"], "names go before numbers"
    stages = [{**stage, "route_id": "r"} for stage in stages[:3]]
    server.answers["GET /lineage/stats"] = {"execution_id": stub.RUN, "stages": stages}
    lines = _shown(factflow(*asked))
    assert lines[0].split()[:3] == ["ROUTE", "STAGE", "ADAPTER"]
    assert lines[3].split()[:3] == ["r", "fetch", "web_scraper"]
    assert lines[0].split()[6] == "FILTERED"
    assert lines[3].split()[6] == "7"


def _chain(stub: Any, stages: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    rows = [
        stub.row(f"{place:032x}", stage, f"{place - 1:032x}" if place else None, route_id=route)
        for place, (route, stage) in enumerate(stages)
    ]
    *ancestors, entry = rows
    return {
        "id": entry["id"],
        "ancestors": ancestors,
        "entry": entry,
        "descendants": [],
        "truncated": False,
    }


def test_a_chain_names_a_route_where_it_begins_and_every_id_and_stage_whole(
    server: Any, stub: Any, factflow: Run
) -> None:
    server.answers[f"GET /lineage/{stub.ROW}/chain"] = _chain(stub, STAGES)
    lines = _shown(factflow("lineage", "chain", stub.ROW, "--output", "table"))
    assert [line for line in lines if line in {SCRAPER, PROCESSOR}] == [SCRAPER, PROCESSOR]
    rows = [line for line in lines[:-2] if line not in {SCRAPER, PROCESSOR}]
    for place, (line, (_, stage)) in enumerate(zip(rows, STAGES, strict=True)):
        mark = ">" if place == len(STAGES) - 1 else " "
        assert line == f"{mark} {place:032x}  {' ' * place}{stage}  stored  1s"


def test_a_chain_of_any_depth_and_names_of_any_length_stay_on_the_screen(
    server: Any, stub: Any, factflow: Run
) -> None:
    deep = tuple((SCRAPER, f"stage_{place}_{'x' * (place % 60)}") for place in range(120))
    server.answers[f"GET /lineage/{stub.ROW}/chain"] = _chain(stub, deep)
    lines = _shown(factflow("lineage", "chain", stub.ROW, "--output", "table"))
    assert len([line for line in lines if "  stage_" in line]) == 120


def test_a_chain_across_replays_says_which_execution_a_row_is_of(
    server: Any, stub: Any, factflow: Run
) -> None:
    answer = _chain(stub, STAGES[:2])
    answer["descendants"] = [
        stub.row("f" * 32, "again", answer["id"], execution_id=stub.OTHER_RUN, route_id=SCRAPER)
    ]
    server.answers[f"GET /lineage/{stub.ROW}/chain"] = answer
    lines = _shown(factflow("lineage", "chain", stub.ROW, "--across-replays", "--output", "table"))
    assert lines[0] == SCRAPER
    assert lines[3] == f"{SCRAPER}  in {stub.OTHER_RUN}"


def test_failures_tell_which_and_why_below_each_row(server: Any, stub: Any, factflow: Run) -> None:
    """The reason with its class; the page's address unless the reason names it already."""
    url = "https://example.org/guide/install.html"
    error = {"type": "PermanentError", "message": f"{url} answered 410 Gone", "traceback": ""}
    short = {"type": "ValueError", "message": "no \x1b[31mtitle", "traceback": ""}
    long = {"type": "TransientError", "message": "it was refused again " * 40, "traceback": ""}
    server.answers["GET /lineage/failures"] = stub.page(
        "entries",
        [
            stub.row("1" * 32, "web_scraper", error=error, metadata={"url": url}),
            stub.row("2" * 32, "web_content_storage", error=short, metadata={"url": url}),
            stub.row("3" * 32, "web_scraper", error=long, metadata={}),
            stub.row("4" * 32, "web_scraper", error=None, metadata=None),
        ],
    )
    lines = _shown(factflow("lineage", "failures", "--output", "table"))
    assert lines[0].split() == ["LINEAGE", "ROUTE", "STAGE"]
    assert lines[1].split() == ["1" * 32, SCRAPER, "web_scraper"]
    assert lines[2] == f"  PermanentError: {url} answered 410 Gone"
    assert lines[3].startswith("2" * 32)
    assert lines[4:6] == ["  ValueError: no \\x1b[31mtitle", f"  {url}"]
    assert lines[6].startswith("3" * 32)
    assert lines[7].startswith("  TransientError: it was refused again it")
    assert lines[9].endswith("…")
    assert lines[10].startswith("4" * 32)
    assert lines[11:] == ["", "4 failures"]
