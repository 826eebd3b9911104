"""Whatever state an execution is in: unless it is completed, something is the cause."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from factflow_engine.execution_spec import BreakerRuntime, ExecutionSlots, HeldBack
from factflow_engine.stall_watch import Stall
from factflow_execution.why.causes import CODES, Cause
from factflow_execution.why.execution_causes import execution_causes
from factflow_execution.why.facts import Pause, RouteFacts
from factflow_execution.why.route_causes import route_causes
from factflow_protocols.queue import Progress
from factflow_testing.why_states import LATER, NOW, SINCE, facts, group, route

NAMES = ("fetch", "convert", "publish")
words = st.text(max_size=20)
small = st.integers(0, 5)
breakers = st.builds(
    BreakerRuntime,
    st.just("cut"),
    st.sampled_from(["open", "half_open"]),
    st.just(SINCE),
    st.just(LATER),
    small,
    words,
)


def routes(name: str) -> st.SearchStrategy[RouteFacts]:
    return st.builds(
        route,
        st.just(name),
        state=st.sampled_from(["running", "paused", "stopped"]),
        ready=small,
        in_flight=small,
        delayed=small,
        pause=st.none() | st.builds(Pause, st.just(SINCE), st.none() | words, st.none() | words),
        held_back=st.none() | st.builds(HeldBack, st.sampled_from([*NAMES, "gone"]), small, small),
        breakers=st.lists(breakers, max_size=2).map(tuple),
        holding=st.none() | words,
        gathering=st.dictionaries(st.just("cut"), small),
    )


errors = st.none() | st.fixed_dictionaries({"message": words}, optional={"type": words})
states = st.fixed_dictionaries(
    {
        "cancel_requested": st.booleans(),
        "error_info": errors,
        "message_count": st.none() | small,
        "failed_count": st.none() | small,
        "lineage_gap": small,
        "runs_here": st.booleans(),
        "launching": st.booleans(),
        "slots": st.builds(ExecutionSlots, small, small, st.lists(words, max_size=2).map(tuple)),
        "progress": st.none() | st.builds(Progress, small, small, small),
        "published": st.none() | small,
        "planned": st.none() | small,
        "end_unwritten": st.none() | words,
        "put_off": st.none() | words,
        "lineage_trouble": st.none() | words,
        "failures": st.lists(st.builds(group, small, words), max_size=2).map(tuple),
        "stall": st.none() | st.just(Stall("convert/cut", 2.0, "x:1", NOW)),
    }
)
statuses = st.sampled_from(["running", "interrupted", "failed", "cancelled", "completed"])


def sound(cause: Cause) -> bool:
    told = cause.code in CODES and cause.sentence and cause.next.startswith("factflow ")
    return bool(told) and all(sound(below) for below in cause.because)


@given(statuses, st.tuples(*map(routes, NAMES)), states)
def test_whatever_is_not_completed_has_a_cause(
    status: Any, some: tuple[RouteFacts, ...], state: dict[str, Any]
) -> None:
    """Each in words, with a next command; and so has every route, in whatever circle it stands."""
    execution = facts(status, *some, **state)
    causes = execution_causes(execution)
    assert causes
    assert all(sound(cause) for cause in causes)
    for name in execution.routes:
        told = route_causes(execution, name)
        assert told
        assert all(sound(cause) for cause in told)
