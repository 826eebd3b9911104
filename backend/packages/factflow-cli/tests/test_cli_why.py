"""Causes as a tree, and what is asked for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Run = Callable[..., Any]


def test_a_chain_of_causes_is_a_tree_that_ends_in_what_to_try(
    server: Any, stub: Any, factflow: Run
) -> None:
    shown = factflow("why", stub.RUN, "--output", "table")
    assert shown.code == 0
    assert shown.text.splitlines() == [
        f"execution {stub.RUN} is running: 3 of 423 messages",
        "    have ended",
        "+- waiting: route convert has 300 messages waiting in queue convert_in",
        "   +- held_back: route convert takes nothing, since route publish behind it has",
        "      120 messages waiting, over its max_queued of 100",
        "      +- paused: route publish is paused by ann since 2026-03-01 09:30:00 UTC",
        "         (\\u202euntil it is back)",
        "         try: factflow pipeline resume publish",
    ]


def test_a_route_is_asked_about_within_an_execution(server: Any, stub: Any, factflow: Run) -> None:
    server.answers["GET /why/convert"] = stub.why()
    assert factflow("why", "convert", "--execution", "nightly").json == stub.why()
    assert server.asked[-1].query == {"execution_id": "nightly"}


def test_what_is_not_known_ends_with_6(server: Any, stub: Any, factflow: Run) -> None:
    words = "no execution, route or message 'x' is known"
    server.answers["GET /why/x"] = stub.error(
        404, "subject_not_found", words, "factflow execution list"
    )
    ended = factflow("why", "x")
    assert (ended.code, ended.out) == (6, b"")
    assert ended.err.splitlines() == [f"error: {words}", "hint: factflow execution list"]


def test_a_chain_without_end_stays_on_the_screen(server: Any, stub: Any, factflow: Run) -> None:
    answer = stub.why()
    for _ in range(40):
        answer["causes"] = [answer["causes"][0] | {"because": answer["causes"]}]
    server.answers["GET /why/deep"] = answer
    shown = factflow("why", "deep", "--output", "table")
    assert max(map(len, shown.text.splitlines())) <= 80


def test_a_command_too_long_for_the_screen_can_still_be_pasted(
    server: Any, stub: Any, factflow: Run
) -> None:
    command = f"factflow lineage list --execution {stub.RUN} --route convert --status pending"
    answer = stub.why()
    answer["causes"][0] |= {"because": [], "next": command}
    server.answers["GET /why/convert"] = answer
    shown = factflow("why", "convert", "--output", "table").text.partition("try: ")[2]
    assert " ".join(shown.replace("\\\n", "").split()) == command
    assert max(map(len, shown.splitlines())) <= 80
