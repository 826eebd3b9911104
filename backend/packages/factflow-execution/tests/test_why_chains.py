"""What hangs together is told as a chain, once, and only as long as it is so."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from factflow_engine.execution_spec import HeldBack
from factflow_engine.stall_watch import Stall
from factflow_execution.why.causes import Cause
from factflow_execution.why.execution_causes import execution_causes
from factflow_execution.why.route_causes import route_causes
from factflow_testing import why_states as states
from factflow_testing.why_states import facts, route


def every(causes: Iterable[Cause]) -> Iterator[Cause]:
    """Causes with all that is below them."""
    for cause in causes:
        yield cause
        yield from every(cause.because)


def test_a_chain_ends_where_somebody_can_do_something() -> None:
    """Running, since convert waits, since publish is too full, since it is paused."""
    state = facts("running", route("fetch"), states.HELD_BACK, states.BEHIND)
    chain, causes = [], execution_causes(state)
    while causes:
        [cause] = causes
        chain.append((cause.code, cause.route))
        causes = cause.because
    assert chain == [("waiting", "convert"), ("held_back", "convert"), ("paused", "publish")]
    assert cause.next == "factflow pipeline resume publish"
    assert (cause.since, cause.until) == (states.SINCE, states.LATER)


def test_routes_that_hold_each_other_back_are_told_once_around() -> None:
    circle = facts(
        "running",
        route("convert", ready=9, held_back=HeldBack("publish", 9, 5)),
        route("publish", ready=9, held_back=HeldBack("convert", 9, 5)),
    )
    codes = [cause.code for cause in every(execution_causes(circle))]
    assert codes.count("held_back") <= 4
    assert "waiting" in codes


def test_a_stall_of_long_ago_is_no_reason() -> None:
    long_ago = Stall("convert/cut", 2.5, "cut.py:7", states.NOW - 3600)
    stalled = facts("running", route(in_flight=1), stall=long_ago)
    assert "loop_stalled" not in [cause.code for cause in every(route_causes(stalled, "convert"))]


def test_a_path_of_the_server_is_in_no_sentence() -> None:
    held = route(ready=1, holding="cannot write /srv/data/storage/x.json: full")
    told = list(every(execution_causes(facts("running", held))))
    assert not [cause for cause in told if "/srv" in cause.sentence]
    assert [cause for cause in told if "cannot write x.json: full" in cause.sentence]
