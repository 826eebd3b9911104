"""`factflow system` and `pipeline metrics`: what is asked, what is told, how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def test_debug_is_asked_of_the_server_only_when_wanted(server: Any, factflow: Run) -> None:
    factflow("system", "health")
    assert server.asked[-1].query == {}
    factflow("system", "health", "--debug")
    assert server.asked[-1].query == {"debug": "true"}


def test_what_to_do_stands_below_the_part_that_wants_it(server: Any, factflow: Run) -> None:
    [part] = server.answers["GET /system/health"]["components"]
    part |= {"status": "degraded", "hint": "make room", "debug": None}
    server.answers["GET /system/health"]["status"] = "degraded"
    shown = factflow("system", "health", "--output", "table")
    assert shown.code == 11
    assert "  hint: make room" in shown.text.splitlines()


def test_a_diagnosis_shows_each_round_trip_and_each_queue(server: Any, factflow: Run) -> None:
    shown = factflow("system", "mq-diagnostic", "--output", "table")
    assert shown.code == 0
    lines = [line.split() for line in shown.text.splitlines()]
    assert ["diagnostic", "ok", "0.40ms", "0.10ms", "0.30ms"] in lines
    assert ["crawl_in", "ok", "0.40ms", "0.10ms", "0.30ms"] in lines
    assert "the queue works, after 2.50ms" in shown.text
    assert max(map(len, shown.text.splitlines())) <= 80


def test_a_queue_that_does_not_work_fails_and_says_at_which_step(
    server: Any, factflow: Run
) -> None:
    answer = server.answers["POST /system/mq-diagnostic"]
    answer["ok"] = False
    answer["round_trips"][0] |= {"ok": False, "take_ms": None, "settle_ms": None}
    answer["round_trips"][0]["error"] = "take: no answer within 5 s"
    shown = factflow("system", "mq-diagnostic", "--output", "table")
    assert shown.code == 8
    assert "take: no answer within 5 s" in shown.text
    assert "the queue does not work" in shown.text
    assert factflow("system", "mq-diagnostic").json["ok"] is False


def test_a_route_tells_what_keeps_it(server: Any, stub: Any, factflow: Run) -> None:
    shown = factflow("pipeline", "metrics", "crawl", "-e", stub.RUN, "--output", "table")
    assert server.asked[-1].query == {"execution_id": stub.RUN}
    text = " ".join(shown.text.split())
    assert "held back by clean" in text
    assert "breaker of web_scraper is open after 5 failures: 503 from example.org" in text
    assert "12.5 messages/s" in text
