"""While a service is down its stage is not called: messages wait, and go on when it is back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from factflow_engine.circuit_breaker import BreakerOpenError, CircuitBreaker
from factflow_engine.config.models import CircuitBreakerConfig
from factflow_engine.execution_spec import BreakerRuntime
from factflow_foundation.clock import SystemClock
from factflow_testing.engine import EngineUnderTest, engine_in
from factflow_testing.waiting import eventually

COUNT = 20


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[EngineUnderTest]:
    async with engine_in(tmp_path) as opened:
        yield opened


def pipeline(
    service: Path, *, probe_after: float, stage: str = "service", errors: str = "{max_retries: 3}"
) -> str:
    return f"""
version: "1.0"
circuit_breaker: {{failures: 3}}
routes:
  up:
    inbound: {{queue: up}}
    adapters: [{{type: fan, config: {{count: {COUNT}}}}}]
    outbound: down
  down:
    inbound: {{queue: down, concurrency: 4}}
    adapters: [{{type: echo}}, {{type: {stage}, stage: work, config: {{path: "{service}"}}}}]
    circuit_breaker: {{probe_after_seconds: {probe_after}}}
    error_handling: {errors}
init_message: {{route: up}}
"""


def breakers(engine: EngineUnderTest, execution_id: str) -> tuple[BreakerRuntime, ...]:
    routes = engine.manager.runtime(execution_id)
    return next(route.breakers for route in routes if route.route_id == "down")


@pytest.mark.parametrize("stage", ["service", "batch_service"])
async def test_messages_wait_while_the_service_is_down_and_none_fails(
    engine: EngineUnderTest, tmp_path: Path, stage: str
) -> None:
    """It opens, probes in vain, and closes once the service is back. Waiting costs no attempt."""
    service = tmp_path / "service"
    errors = "{max_retries: 2, retry_delay_seconds: 0}"
    execution = await engine.start(pipeline(service, probe_after=0.05, stage=stage, errors=errors))
    (shown,) = await eventually(lambda: [b for b in breakers(engine, execution) if b.failures >= 4])
    assert (shown.stage, shown.last_error) == ("work", "the service is down")
    assert shown.probe_at > shown.opened_at
    service.touch()
    final = await engine.end(execution)
    assert (final.status, final.progress.failed) == ("completed", 0)
    records = await engine.records(execution, "down", "work")
    assert len(records) == COUNT
    assert max(record.attempts for record in records) <= 3, "waiting costs no attempt"


async def test_an_open_breaker_calls_nothing_and_holds_the_queue(
    engine: EngineUnderTest, tmp_path: Path
) -> None:
    execution = await engine.start(pipeline(tmp_path / "service", probe_after=3600))

    def at_rest() -> bool:
        down = next(r for r in engine.manager.runtime(execution) if r.route_id == "down")
        waiting = down.ready + down.delayed
        return bool(down.breakers) and (down.in_flight, waiting) == (0, COUNT)

    await eventually(at_rest)
    (shown,) = breakers(engine, execution)
    assert (shown.state, shown.failures) == ("open", 3)
    engine.manager.pause("down")
    engine.manager.resume("down")
    assert at_rest(), "resuming a route does not get past its breaker"
    await engine.manager.cancel(execution, 0.0)
    assert (await engine.end(execution)).status == "cancelled"


async def test_permanent_failures_open_no_breaker(engine: EngineUnderTest, tmp_path: Path) -> None:
    errors = "{max_retries: 0, retry_on: [OSError]}"  # the service's errors are none of these
    _, final = await engine.run(pipeline(tmp_path / "service", probe_after=3600, errors=errors))
    assert (final.status, final.progress.failed) == ("failed", COUNT)


def lets_take(breaker: CircuitBreaker) -> str:
    """What the route may take by this breaker."""
    return breaker.lets_take


async def probing(failures: int = 1) -> CircuitBreaker:
    """A breaker that has opened and looks for a probe."""
    config = CircuitBreakerConfig(failures=failures, probe_after_seconds=0.001)
    breaker = CircuitBreaker("work", config, SystemClock(), lambda: None)
    for _ in range(failures):
        breaker.failed(breaker.admit(), "down")
    assert lets_take(breaker) == "none"
    await eventually(lambda: lets_take(breaker) == "one")
    return breaker


async def test_one_probe_at_a_time_and_only_it_decides() -> None:
    breaker = await probing(failures=2)
    late = 0  # of a call that began before the breaker opened
    era = breaker.admit()
    assert lets_take(breaker) == "none"
    with pytest.raises(BreakerOpenError):
        breaker.admit()
    breaker.succeeded(late)
    assert breaker.failed(late, "down"), "it waits like the others"
    assert breaker.runtime is not None
    breaker.undecided(era)
    assert lets_take(breaker) == "one", "a probe that was cut off decides nothing"
    breaker.succeeded(breaker.admit())
    assert lets_take(breaker) == "all"
    assert not breaker.failed(breaker.admit(), "down"), "failures are counted from the start again"
    breaker.close()


async def test_each_failed_probe_doubles_the_pause_up_to_a_bound() -> None:
    breaker = await probing()
    pauses = []
    for _ in range(2):
        await eventually(lambda: lets_take(breaker) == "one")
        breaker.failed(breaker.admit(), "still down")
        assert breaker.runtime is not None
        pauses.append(round(breaker.runtime.probe_at - breaker.runtime.opened_at, 4))
    assert pauses == [0.002, 0.004]
    breaker.close()
