"""Every command's happy path: what it asks of the server, what it prints as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def _lines(stub: Any) -> dict[str, tuple[str, str]]:
    """Return for each command line that reads: the path it asks, and what its table must show."""
    run, row, config = stub.RUN, stub.ROW, stub.CONFIG
    return {
        "config list": ("/configs", "1 config"),
        f"config get {config}": (f"/configs/{config}", "name: docs  # ünïcode"),
        "execution list": ("/executions", "2 executions"),
        f"execution get {run}": (f"/executions/{run}", "1m30s"),
        f"execution dag {run}": (f"/executions/{run}/dag", "crawl (dead letters)"),
        f"execution stats {run}": (f"/executions/{run}/stats", "97.6%"),
        f"execution monitor {run}": (f"/executions/{run}/monitor", "about 1m35s left"),
        f"execution routes {run}": (f"/executions/{run}/routes", "sitemap_scraper"),
        f"why {run}": (f"/why/{run}", "         try: factflow pipeline resume publish"),
        "pipeline list": ("/pipelines", "is back at noon"),
        f"storage list --execution {run}": ("/storage/objects", "--offset 2 for more"),
        f"storage metadata {stub.KEY}": (f"/storage/metadata/{stub.KEY}", "web_scraper"),
        f"lineage list --execution {run}": ("/lineage", "--offset 2 for more"),
        f"lineage get {row}": (f"/lineage/{row}", "sitemap_parser"),
        f"lineage get {stub.CHILD_ROW}": (f"/lineage/{stub.CHILD_ROW}", "in process"),
        f"lineage chain {row}": (f"/lineage/{row}/chain", "1 ancestors, 1 descendants"),
        f"lineage children {row}": (f"/lineage/{row}/children", "1 row"),
        "lineage batch B1": ("/lineage", "--offset 2 for more"),
        "lineage failures": ("/lineage/failures", "1 failure"),
        f"lineage stats --execution {run}": ("/lineage/stats", "web_content_storage"),
        "adapters list": ("/adapters", "1 adapter"),
        "adapters show web_scraper": ("/adapters/web_scraper", "Where to start"),
        "storage browse": ("/storage/browse", "10000+"),
        "system storage": ("/system/storage", "4000 objects of the present one"),
        "system health": ("/system/health", "1h01m"),
        "system health --debug": ("/system/health", "12.0 GiB"),
        "system metrics": ("/system/metrics", "held by crawl/parse"),
        "pipeline metrics crawl": ("/pipelines/crawl/metrics", "20 (5.0%)"),
    }


def _names() -> list[int]:
    return list(range(28))


@pytest.mark.parametrize("place", _names())
def test_reading_commands_print_the_answer_as_json_and_a_table_that_fits(
    place: int, server: Any, stub: Any, factflow: Run
) -> None:
    line, (path, shown) = list(_lines(stub).items())[place]
    as_json = factflow(*line.split())
    assert (as_json.code, as_json.err) == (0, "")
    assert as_json.json == server.answers[f"GET {path}"]
    table = factflow(*line.split(), "--output", "table")
    assert table.code == 0
    assert shown in table.text
    assert [text for text in table.text.splitlines() if len(text) > 80] == []
    assert "\x1b" not in table.text, "neither colours in a file nor escapes from the content"
    assert "\u202e" not in table.text


def test_all_reading_commands_are_covered(stub: Any) -> None:
    assert len(_lines(stub)) == len(_names())


def test_output_may_stand_before_or_after_the_command(server: Any, factflow: Run) -> None:
    before = factflow("--output", "table", "execution", "list")
    after = factflow("execution", "list", "--output", "table")
    assert before.text == after.text
    assert factflow("--output", "table", "execution", "list", "--output", "json").json


def test_the_server_may_be_named_by_option_in_either_place(
    server: Any, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FACTFLOW_SERVER_URL")
    assert factflow("--server", server.url, "execution", "list").code == 0
    assert factflow("execution", "list", "--server", f"{server.url}/api/v1/").code == 0


def test_a_proxy_in_the_environment_is_not_asked_for_a_local_server(
    server: Any, factflow: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert factflow("execution", "list").code == 0


def test_ids_are_shown_whole_where_the_next_command_needs_them(
    server: Any, stub: Any, factflow: Run
) -> None:
    assert stub.RUN in factflow("execution", "list", "--output", "table").text
    assert stub.CONFIG in factflow("config", "list", "--output", "table").text
    failures = factflow("lineage", "failures", "--output", "table")
    assert stub.CHILD_ROW in failures.text
    assert f"next: factflow lineage chain {stub.CHILD_ROW}" in failures.err


def test_lists_pass_their_filters_on(server: Any, stub: Any, factflow: Run) -> None:
    factflow("execution", "list", "--status", "failed", "--limit", "20", "--offset", "0")
    assert server.asked[-1].query == {"status": "failed", "limit": "20", "offset": "0"}
    factflow("config", "list", "--inactive")
    assert server.asked[-1].query["active"] == "false"
    factflow("config", "list", "--all")
    assert server.asked[-1].query["active"] == "all"
    factflow("lineage", "failures", "--execution", stub.RUN)
    assert server.asked[-1].query["execution_id"] == stub.RUN
    factflow("lineage", "batch", "B1")
    assert server.asked[-1].query["batch_id"] == "B1"
    factflow("storage", "list", "-e", stub.RUN, "--prefix", "crawl/")
    assert server.asked[-1].query["prefix"] == "crawl/"


def test_lineage_list_passes_every_filter_on(server: Any, stub: Any, factflow: Run) -> None:
    options = {
        "--execution": ("execution_id", stub.RUN),
        "--route": ("route_id", "crawl"),
        "--stage": ("stage", "fetch"),
        "--adapter": ("adapter", "web_scraper"),
        "--status": ("status", "failed"),
        "--message": ("message_id", stub.MESSAGE),
        "--url": ("url", "https://a.example/?b=c&d"),
        "--title": ("title", "Ünï"),
        "--error-type": ("error_type", "PermanentError"),
        "--outcome": ("outcome", "failed"),
        "--where": ("where", "lang=en"),
        "--cursor": ("cursor", "W10"),
        "--after": ("started_after", "2026-03-01T00:00:00+01:00"),
        "--before": ("started_before", "2026-03-02"),
        "--order": ("sort_order", "desc"),
    }
    line = [part for option, (_, value) in options.items() for part in (option, value)]
    assert factflow("lineage", "list", *line, "--roots").code == 0
    sent = dict(server.asked[-1].query)
    assert sent.pop("is_root") == "true"
    assert (sent.pop("limit"), sent.pop("offset")) == ("50", "0")
    assert sent == dict(options.values())


def test_a_route_is_paused_with_who_and_why_and_resumed(server: Any, factflow: Run) -> None:
    answer = {"success": True, "route_id": "embed", "status": "paused", "message": "in 1"}
    server.answers["PATCH /pipelines/embed"] = answer | {"executions": [], "pause": None}
    paused = factflow("pipeline", "pause", "embed", "--reason", "the model moves")
    assert (paused.code, paused.json["status"]) == (0, "paused")
    sent = server.asked[-1].body
    assert (sent["state"], sent["reason"]) == ("paused", "the model moves")
    assert sent["requested_by"]
    assert "until" not in sent
    until = "2999-03-01T18:00:00+00:00"
    assert factflow("pipeline", "pause", "embed", "--until", until).code == 0
    assert server.asked[-1].body["until"] == until
    assert factflow("pipeline", "resume", "embed").code == 0
    assert server.asked[-1].body == {"state": "running"}


@pytest.mark.parametrize(
    ("recovery", "told"),
    [
        ({"source": "queue", "announced": 42, "settled": 12}, "12 of 42 messages had ended"),
        ({"source": "records", "announced": None, "settled": None}, "its queue was lost"),
    ],
)
def test_an_execution_tells_how_often_and_from_where_it_was_taken_up(
    server: Any, stub: Any, factflow: Run, recovery: dict[str, Any], told: str
) -> None:
    recovery = recovery | {"at": "2026-03-01T09:31:00.000Z"}
    server.answers[f"GET /executions/{stub.RUN}"] = stub.execution(
        recoveries=3, last_recovery=recovery
    )
    shown = factflow("execution", "get", stub.RUN, "--output", "table").text
    assert "3, last 2026-03-01 09:31:00 from" in " ".join(shown.split())
    assert told in " ".join(shown.split())


def test_an_empty_list_says_so(server: Any, stub: Any, factflow: Run) -> None:
    server.answers["GET /executions"] = stub.page("executions", [])
    assert "no executions" in factflow("execution", "list", "--output", "table").text


def test_the_last_page_says_so(server: Any, stub: Any, factflow: Run) -> None:
    server.answers["GET /executions"] = stub.page("executions", [stub.execution()], 21, 20)
    shown = factflow("execution", "list", "--output", "table").text
    assert "showing 1 of 21 executions, the last ones" in shown


def test_a_config_is_stored_from_a_file(
    server: Any, stub: Any, factflow: Run, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text("name: ünï\n", encoding="utf-8")
    ended = factflow("config", "create", "-f", "p.yaml", "--name", "mine")
    assert ended.json["id"] == stub.CONFIG
    assert server.last("POST", "/configs").body == {
        "config_yaml": "name: ünï\n",
        "name": "mine",
        "source_type": "file",
        "source_path": "p.yaml",
    }


def test_a_config_with_errors_is_stored_and_its_findings_are_told(
    server: Any, stub: Any, factflow: Run, tmp_path: Path
) -> None:
    report = {"is_valid": False, "issues": [stub.ISSUE], "error_count": 1, "warning_count": 0}
    server.answers["POST /configs"] = (
        201,
        stub.config(is_runnable=False, validation_report=report),
    )
    (tmp_path / "p.yaml").write_text("name: x\n")
    ended = factflow("config", "create", "-f", "p.yaml")
    assert ended.code == 0
    assert ended.json["is_runnable"] is False
    assert "E103" in ended.err
    assert f"factflow config edit {stub.CONFIG}" in ended.err


def test_a_config_is_edited_and_deleted(
    server: Any, stub: Any, factflow: Run, tmp_path: Path
) -> None:
    (tmp_path / "p.yaml").write_text("name: y\n")
    assert factflow("config", "edit", stub.CONFIG, "-f", "p.yaml").json["version"] == 4
    assert server.last("PUT", f"/configs/{stub.CONFIG}").body == {"config_yaml": "name: y\n"}
    assert factflow("config", "delete", stub.CONFIG).json == {"id": stub.CONFIG, "deleted": True}


def test_the_yaml_of_a_config_comes_out_as_it_went_in(
    server: Any, stub: Any, factflow: Run
) -> None:
    ended = factflow("config", "get", stub.CONFIG, "--yaml")
    assert ended.text == 'version: "1.0"\nname: docs  # ünïcode\n'


def test_a_run_sends_overrides_tag_and_loaded_code(server: Any, stub: Any, factflow: Run) -> None:
    ended = factflow(
        *[
            "config",
            "run",
            stub.CONFIG,
            "--init",
            "crawl.depth=2",
            "--init",
            "url=https://a.example",
        ],
        *["--tag", "nightly", "--loaded-code"],
    )
    assert ended.json["execution_id"] == stub.RUN
    assert "config_snapshot" not in ended.json
    asked = server.last("POST", f"/configs/{stub.CONFIG}/run")
    assert asked.body == {"crawl": {"depth": 2}, "url": "https://a.example"}
    assert asked.query == {"tag": "nightly", "loaded_code": "true"}


def test_a_run_without_overrides_sends_no_body(server: Any, stub: Any, factflow: Run) -> None:
    factflow("config", "run", stub.CONFIG)
    assert server.last("POST", f"/configs/{stub.CONFIG}/run").body is None


def test_cancel_says_what_became_of_it(server: Any, stub: Any, factflow: Run) -> None:
    assert factflow("execution", "cancel", stub.RUN, "--grace", "3").code == 0
    path = f"/executions/{stub.RUN}/cancel"
    assert server.last("POST", path).body == {"grace_seconds": 3.0}
    server.answers[f"POST {path}"] |= {"success": False, "current_status": "completed"}
    too_late = factflow("execution", "cancel", stub.RUN, "--output", "table")
    assert too_late.code == 7
    assert "completed" in too_late.text


def test_replay_sends_what_was_asked_and_tells_what_was_selected(
    server: Any, stub: Any, factflow: Run
) -> None:
    line = ["execution", "replay", stub.RUN, "--from-stage", "web_scraper"]
    shown = factflow(*line, "--to-route", "markdown", "--tag", "t", "--output", "table")
    assert shown.code == 0
    assert "web_scraper is not run again for 70 messages" in shown.text
    assert "70 after stage, 2 at stage failed" in shown.text
    assert server.last("POST", f"/executions/{stub.RUN}/replay").body == {
        "from_stage": "web_scraper",
        "to_route": "markdown",
        "tag": "t",
    }


def test_replay_can_wait_for_its_own_execution(server: Any, stub: Any, factflow: Run) -> None:
    line = ["execution", "replay", stub.RUN, "--from-stage", "web_scraper", "--loaded-code"]
    ended = factflow(*line, "--wait")
    assert ended.code == 0
    assert ended.json["execution_id"] == stub.OTHER_RUN
    assert server.last("POST", f"/executions/{stub.RUN}/replay").body["loaded_code"] is True
    assert server.last("GET", f"/executions/{stub.OTHER_RUN}/events").last_id is None


def test_an_object_is_written_byte_for_byte(server: Any, stub: Any, factflow: Run) -> None:
    assert factflow("storage", "get", stub.KEY).out == stub.PAGE
    assert factflow("storage", "get", stub.BINARY_KEY).out == stub.IMAGE


def test_an_object_as_json_carries_its_record(server: Any, stub: Any, factflow: Run) -> None:
    import base64

    text = factflow("storage", "get", stub.KEY, "--output", "json").json
    assert text["content"] == stub.PAGE.decode()
    assert (text["key"], text["size"]) == (stub.KEY, len(stub.PAGE))
    assert text["metadata"]["stage"] == "web_scraper"
    binary = factflow("--output", "json", "storage", "get", stub.BINARY_KEY).json
    assert base64.b64decode(binary["content_base64"]) == stub.IMAGE
    assert "content" not in binary


def test_a_key_may_be_relative_to_an_execution(server: Any, stub: Any, factflow: Run) -> None:
    relative = stub.KEY.removeprefix(f"executions/{stub.RUN}/")
    listed = factflow("storage", "list", "-e", stub.RUN, "--output", "table")
    assert f"\n{relative} " in listed.text
    assert factflow("storage", "get", "-e", stub.RUN, relative).out == stub.PAGE
    assert factflow("storage", "get", "-e", stub.RUN, stub.KEY).out == stub.PAGE


def test_a_key_may_be_relative_to_an_execution_named_by_its_tag(
    server: Any, stub: Any, factflow: Run
) -> None:
    relative = stub.KEY.removeprefix(f"executions/{stub.RUN}/")
    server.answers["GET /executions/nightly"] = stub.execution(tag="nightly")
    assert factflow("storage", "get", "-e", "nightly", relative).out == stub.PAGE
    as_json = factflow("storage", "get", "-e", "nightly", relative, "--output", "json").json
    assert as_json["key"] == stub.KEY
    record = factflow("storage", "metadata", "-e", "nightly", relative).json
    assert record["key"] == stub.KEY
    unknown = factflow("storage", "get", "-e", "weekly", relative)
    assert (unknown.code, unknown.out) == (6, b"")


def test_json_keeps_odd_characters_without_letting_them_act(
    server: Any, stub: Any, factflow: Run
) -> None:
    odd = "\x1b]0;x\x07 \x9b31m \u202e \ud800 ü"
    server.answers[f"GET /lineage/{stub.ROW}"] = {"title": odd}
    ended = factflow("lineage", "get", stub.ROW)
    assert json.loads(ended.out)["title"] == odd
    assert not set("\x1b\x07\x9b\u202e") & set(ended.text)
    assert "ü" in ended.text


def test_a_dag_with_a_cycle_is_drawn_once(server: Any, stub: Any, factflow: Run) -> None:
    assert factflow("execution", "dag", stub.RUN, "--output", "table").text == (
        "init -> crawl_in\n"
        "\n"
        "ROUTE  FROM      STAGES  TO\n"
        "crawl  crawl_in  a > b   clean\n"
        "clean  clean_in  c       crawl (dead letters)\n"
    )


def test_a_chain_is_a_tree_from_the_root_over_the_row_to_its_descendants(
    server: Any, stub: Any, factflow: Run
) -> None:
    lines = factflow("lineage", "chain", stub.ROW, "--output", "table").text.splitlines()
    assert lines == [
        "sitemap_scraper",
        f"  {stub.ROOT_ROW}  init  stored  1s",
        f"> {stub.ROW}    sitemap_parser  stored  1s",
        f"  {stub.CHILD_ROW}      web_scraper  failed  1s",
        "    PermanentError: https://example.org/a/page/that/has/a/long/address answered",
        "      410 Gone",
        "",
        "1 ancestors, 1 descendants",
    ]
