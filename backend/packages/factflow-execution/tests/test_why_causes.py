"""Every state has its cause: the table of all codes, judged from plain facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from factflow_engine.stall_watch import Stall
from factflow_execution.why.causes import CODES, Cause
from factflow_execution.why.execution_causes import execution_causes
from factflow_execution.why.facts import ExecutionFacts, MessageFacts
from factflow_execution.why.message_causes import message_causes
from factflow_execution.why.route_causes import route_causes
from factflow_execution.workers import Share, Worker
from factflow_foundation.records import ErrorInfo
from factflow_protocols.queue import MessagePlace, Progress
from factflow_testing import why_states as states
from factflow_testing.why_states import (
    envelope,
    facts,
    failed_row,
    group,
    lineage_row,
    message,
    route,
)


def alone(reason: str = "a message that may have ended the process is handled alone first") -> Any:
    return route(in_flight=1, holding=reason)


def stalled(seconds_ago: float = 10) -> ExecutionFacts:
    stall = Stall("convert/cut", 2.5, "cut.py:7", states.NOW - seconds_ago)
    return facts("running", route(in_flight=1), stall=stall)


EXECUTIONS: dict[str, tuple[ExecutionFacts, str, str]] = {
    # what is so: the facts, the code, and a part of its words
    "all ended well": (
        facts("completed", message_count=9, failed_count=0),
        "done",
        "every message",
    ),
    "nothing to do": (facts("completed", warning="no init"), "nothing_to_do", "no init"),
    "some failed": (
        facts("failed", message_count=1000, failed_count=40, failures=(group(),)),
        "messages_failed",
        "40 of 1000 messages failed, and failure_tolerance allows only 1 %",
    ),
    "few failed": (
        facts("completed", message_count=1000, failed_count=4, failures=(group(4),)),
        "failures_tolerated",
        "failure_tolerance allows 1 %",
    ),
    "a group of failures": (
        facts("failed", message_count=9, failed_count=4, failures=(group(4),)),
        "failed",
        "4 messages failed at convert/cut after 4 attempts, last with ValueError: it was empty",
    ),
    "its objects are gone": (
        facts(
            "failed", message_count=9, failed_count=4, failures=(group(4, "ObjectNotFoundError"),)
        ),
        "artefact_missing",
        "ObjectNotFoundError",
    ),
    "its objects are damaged": (
        facts(
            "failed", message_count=9, failed_count=4, failures=(group(4, "ObjectDamagedError"),)
        ),
        "object_damaged",
        "ObjectDamagedError",
    ),
    "a fault of the engine": (
        facts("failed", message_count=9, failed_count=0, error_info={"message": "KeyError"}),
        "engine_fault",
        "KeyError",
    ),
    "an adapter did not open": (
        facts("failed", error_info={"type": "launch_failed", "message": "an adapter raised"}),
        "launch_failed",
        "an adapter raised",
    ),
    "neither init nor plan": (
        facts("failed", error_info={"message": "neither its init payload nor a plan"}),
        "not_recoverable",
        "neither its init",
    ),
    "cancelled": (
        facts("cancelled", message_count=9, failed_count=0),
        "cancelled",
        "at 1970-01-12",
    ),
    "asked to end": (
        facts("running", route(in_flight=3), cancel_requested=True),
        "cancel_requested",
        "3 messages in hand may end within the grace period",
    ),
    "asked to end while it starts": (
        facts("running", launching=True, runs_here=False, cancel_requested=True),
        "cancel_requested",
        "what is being opened may end within the grace period",
    ),
    "asked to end while interrupted": (
        facts("interrupted", cancel_requested=True),
        "cancel_requested",
        "ends it as cancelled",
    ),
    "adapters open": (facts("running", launching=True, runs_here=False), "starting", "opened"),
    "taken up now": (facts("interrupted", launching=True), "starting", "taken up again"),
    "all settled": (facts("running", progress=Progress(9, 9, 0)), "ending", "about to be written"),
    "its end has no room": (
        facts("running", runs_here=False, end_unwritten="database or disk is full"),
        "end_not_written",
        "disk is full",
    ),
    "its server does not answer": (
        facts("running", runs_here=False, silent_owner="host:17:ab"),
        "owner_silent",
        "server host:17:ab, which runs it, did not answer within 2 s",
    ),
    "nobody runs it": (facts("running", runs_here=False), "no_owner", "no server process"),
    "a plan on its way": (
        facts("running", route(ready=500), published=500, planned=9960),
        "publishing",
        "500 of the plan's 9960 messages",
    ),
    "not even the init message": (
        facts("running", route(), progress=Progress(1, 0, 0)),
        "publishing",
        "first messages",
    ),
    "the publisher holds": (
        facts("running", engine_holds={"_publisher": "cannot read /srv/data/x/_plan"}),
        "holding",
        "the publisher holds until trouble with storage or queue is over: cannot read _plan",
    ),
    "deleted": (
        facts("completed", deletion=states.DELETED),
        "deleted",
        "was deleted on 1970-01-12",
    ),
    "its server stopped": (facts("interrupted"), "interrupted", "its server stopped"),
    "its server died": (
        facts("interrupted", error_info=states.CUT_OFF),
        "interrupted",
        "the server ended",
    ),
    "no place for it": (
        facts("interrupted", slots=states.FULL),
        "waits_for_slot",
        "12 of at most 12",
    ),
    "its adapter is not here": (
        facts("interrupted", error_info={"type": "config_invalid", "message": "no adapter 'x'"}),
        "recovery_refused",
        "no adapter 'x'",
    ),
    "recovery waits": (facts("interrupted", put_off="disk full"), "recovery_put_off", "disk full"),
    "recovery met trouble": (
        facts("interrupted", error_info=states.OURS),
        "recovery_put_off",
        "no space left",
    ),
    "lineage lags": (facts("completed", lineage_gap=1), "lineage_incomplete", "made again"),
    "lineage is away": (
        facts("running", lineage_trouble="locked"),
        "lineage_unavailable",
        "could not be asked",
    ),
    "a route has messages": (
        facts("running", route(ready=300, in_flight=4, delayed=2)),
        "waiting",
        "route convert has 300 messages waiting in queue convert_in, 4 in hand, 2 waiting for another",
    ),
}

WORKER = Worker("box:7:ab", "box", 7, holding={f"{states.E}/convert": "no answer from S3"})
REFUSAL = Share(states.E, WORKER.worker_id, 1, "refused", "no adapter 'cut'")

ROUTES: dict[str, tuple[ExecutionFacts, str, str]] = {
    "no worker is there": (
        facts("running", route(ready=3, served_here=False)),
        "no_worker",
        "nobody takes messages of route convert: its server leaves them to workers, and no worker",
    ),
    "a worker lacks an adapter": (
        facts("running", route(served_here=False), workers=(WORKER,), shares=(REFUSAL,)),
        "worker_refused",
        "worker box:7:ab cannot work on",
    ),
    "a worker waits for storage": (
        facts("running", route(ready=3), workers=(WORKER,)),
        "holding",
        "route convert holds in worker box:7:ab until trouble",
    ),
    "paused": (
        facts("running", route(ready=3, pause=states.PAUSED, state="paused")),
        "paused",
        "paused by ann since 1970-01-12 13:45:40 UTC until 1970-01-12 13:47:10 UTC (until upstream",
    ),
    "held back": (
        facts("running", states.HELD_BACK, states.BEHIND),
        "held_back",
        "route publish behind it has 120 messages waiting, over its max_queued of 100",
    ),
    "breaker open": (
        facts("running", route(ready=3, breakers=(states.OPEN,))),
        "breaker_open",
        "is open until 1970-01-12 13:47:10 UTC, since 1970-01-12 13:45:40 UTC, after 5 failures",
    ),
    "breaker probes": (
        facts("running", route(breakers=(states.PROBING,))),
        "breaker_probing",
        "probes",
    ),
    "trouble": (facts("running", route(holding="no space left")), "holding", "no space left"),
    "a suspect": (facts("running", alone()), "handled_alone", "handled alone first"),
    "stopped": (facts("running", route(ready=1, state="stopped")), "no_consumer", "convert_in"),
    "between attempts": (
        facts("running", route(delayed=2, next_attempt=states.RETRY)),
        "retry",
        "attempt 2 of 4 at convert/cut at 1970-01-12 13:47:10 UTC, after TransientError: 503",
    ),
    "a batch fills": (facts("running", route(in_flight=3, gathering={"cut": 3})), "gathering", "3"),
    "at work": (
        facts("running", route(in_flight=6, in_work=states.WORK)),
        "in_work",
        "4 of 4 places of route convert are in work: the oldest message is at convert/cut since 1970",
    ),
    "the loop stalled": (stalled(), "loop_stalled", "held the event loop for 2 s"),
    "nothing to do": (facts("running", route()), "idle", "no message waits"),
    "about to take": (facts("running", route(ready=2)), "idle", "about to take its 2 messages"),
    "starved": (
        facts("running", route("fetch", ready=1, pause=states.PAUSED), route()),
        "waiting",
        "fetch",
    ),
}

MESSAGES: dict[str, tuple[MessageFacts, str, str]] = {
    "queued": (message(place=states.READY, envelope=envelope()), "in_queue", "behind 12 others"),
    "next": (message(place=MessagePlace("convert_in", "ready")), "in_queue", "and is next"),
    "queued where nobody consumes": (
        message(place=MessagePlace("elsewhere", "ready")),
        "no_consumer",
        "nothing consumes queue elsewhere",
    ),
    "queued in an interrupted execution": (
        message(facts("interrupted"), place=states.READY, envelope=envelope()),
        "interrupted",
        "its server stopped",
    ),
    "between attempts": (
        message(
            place=states.DELAYED,
            envelope=envelope(attempt=2),
            rows=(lineage_row(status="pending", outcome=None, error=ErrorInfo("OSError", "gone")),),
        ),
        "retry",
        "attempt 2 of 4 at convert/cut at 1970-01-12 13:47:10 UTC, after OSError: gone",
    ),
    "in hand": (
        message(place=states.HELD, rows=(lineage_row(status="processing", outcome=None),)),
        "in_work",
        "at stage cut since 1970-01-12 13:45:40 UTC, for 60 s",
    ),
    "in hand, not begun": (
        message(place=states.HELD, envelope=envelope()),
        "in_work",
        "which it entered at stage cut",
    ),
    "its batch fills": (
        message(place=states.HELD, gathering_at="cut"),
        "gathering",
        "batch to fill",
    ),
    "its turn has not come": (
        message(facts("running", alone()), place=states.HELD, envelope=envelope()),
        "handled_alone",
        "handled alone first",
    ),
    "trouble before it": (
        message(facts("running", alone("disk full")), place=states.HELD, envelope=envelope()),
        "holding",
        "disk full",
    ),
    "failed": (
        message(place=states.GONE, rows=(failed_row(),)),
        "failed",
        "failed at convert/cut after 4 attempts of 4 with ValueError: it was empty",
    ),
    "its input is gone": (
        message(rows=(failed_row("ObjectNotFoundError"),)),
        "artefact_missing",
        "ObjectNotFoundError",
    ),
    "its input is damaged": (
        message(rows=(failed_row("ObjectDamagedError"),)),
        "object_damaged",
        "ObjectDamagedError",
    ),
    "its record is damaged": (message(damaged_record="executions/x"), "object_damaged", "record"),
    "its result is gone": (
        message(rows=(lineage_row(),), missing_key="executions/x/y"),
        "artefact_missing",
        "executions/x/y is not in storage",
    ),
    "its artefacts were deleted": (
        message(facts("completed", deletion=states.DELETED), missing_key="executions/x"),
        "deleted",
        "was deleted on 1970-01-12",
    ),
    "filtered": (message(rows=(lineage_row(outcome="filtered"),)), "filtered", "convert/cut"),
    "a stage was passed by": (
        message(rows=(lineage_row(metadata={"passed": ["clean"]}),)),
        "skipped",
        "its condition `kind equals 'html'` did not hold",
    ),
    "children are open": (
        message(facts("running", states.BEHIND), rows=(lineage_row(pending_children=3),)),
        "waits_for_children",
        "3 children of it have not ended",
    ),
    "cut off at work": (
        message(facts("cancelled"), rows=(lineage_row(status="processing", outcome=None),)),
        "cut_off",
        "was in work at convert/cut when",
    ),
    "children cut off": (
        message(facts("cancelled"), rows=(lineage_row(pending_children=3),)),
        "cut_off",
        "3 children of it had not ended",
    ),
    "done": (message(rows=(lineage_row(),)), "done", "all that came of it has ended"),
    "children failed": (
        message(rows=(lineage_row(),), failures_below=(group(4),)),
        "failed",
        "4 messages failed at convert/cut",
    ),
    "no row": (message(place=states.GONE), "lineage_incomplete", "no row of it yet"),
    "from a record": (
        message(rows=(lineage_row(),), from_record=True),
        "lineage_incomplete",
        "read from its outcome record",
    ),
    "storage is away": (message(storage_trouble="no answer"), "holding", "no answer"),
    "the queue is away": (message(queue_trouble="no answer"), "holding", "no answer"),
}


def every(causes: Iterable[Cause]) -> Iterator[Cause]:
    """Causes with all that is below them."""
    for cause in causes:
        yield cause
        yield from every(cause.because)


def judged(state: ExecutionFacts | MessageFacts, *, of_route: bool = False) -> list[Cause]:
    if isinstance(state, MessageFacts):
        return list(every(message_causes(state)))
    return list(every(route_causes(state, "convert") if of_route else execution_causes(state)))


def check(causes: list[Cause], code: str, words: str) -> None:
    """The cause is among them, and each says what to do, of this execution."""
    told = [cause.sentence for cause in causes if cause.code == code]
    assert any(words in sentence for sentence in told), [(c.code, c.sentence) for c in causes]
    assert all(cause.next.startswith("factflow ") for cause in causes)
    assert {cause.execution_id for cause in causes} == {states.E}


@pytest.mark.parametrize("name", EXECUTIONS)
def test_an_execution_tells_why(name: str) -> None:
    state, code, words = EXECUTIONS[name]
    check(judged(state), code, words)


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_tells_why(name: str) -> None:
    state, code, words = ROUTES[name]
    check(judged(state, of_route=True), code, words)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_tells_why(name: str) -> None:
    state, code, words = MESSAGES[name]
    check(judged(state), code, words)


def test_every_code_is_in_the_tables() -> None:
    tables = (*EXECUTIONS.values(), *ROUTES.values(), *MESSAGES.values())
    assert {code for _, code, _ in tables} == set(CODES)
