"""The server's numbers as Prometheus scrapes them: made from a snapshot, kept nowhere.

Labels are names out of pipelines (route, stage, adapter) and fixed words. Execution ids are none: each run
would leave series behind for good; `GET /pipelines/{route}/metrics` tells executions apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from factflow_execution.system_metrics import SystemMetrics
from factflow_lineage.histogram import shorter_than
from factflow_lineage.tallies import StageTally
from factflow_server.component import Component

DOUBLINGS = range(8, 31, 2)
"""Edges of the duration buckets: from 2^8 microseconds (0.26 ms) by fours up to 2^30 (18 minutes)."""
_LEVEL = {"healthy": 0, "degraded": 1, "unhealthy": 2}


class _Snapshot:
    """A collector of one moment's metrics."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics."""
        return iter(self._families)


def exposition(
    metrics: SystemMetrics,
    components: Iterable[Component],
    *,
    version: str,
    uptime_seconds: float,
    accept: str,
) -> tuple[bytes, str]:
    """Return the text of a scrape and its content type, in the form that `accept` asks for."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot([*_server(components, version, uptime_seconds), *_work(metrics)]))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _server(components: Iterable[Component], version: str, uptime: float) -> Iterator[Metric]:
    yield InfoMetricFamily("factflow_build", "The version that runs.", value={"version": version})
    yield _gauge("factflow_uptime_seconds", "Seconds since the server's start.", uptime)
    health = GaugeMetricFamily(
        "factflow_component_health",
        "How a part is: 0 healthy, 1 degraded, 2 unhealthy.",
        labels=["component"],
    )
    for component in components:
        health.add_metric([component.name], _LEVEL[component.status])
    yield health


def _work(metrics: SystemMetrics) -> Iterator[Metric]:
    executions = GaugeMetricFamily(
        "factflow_executions", "Executions by status, of all times.", labels=["status"]
    )
    for status, number in metrics.executions.items():
        executions.add_metric([status], number)
    yield executions
    ended = CounterMetricFamily(
        "factflow_executions_ended", "Executions that ended here, by status.", labels=["status"]
    )
    for final, number in metrics.ended.items():
        ended.add_metric([final], number)
    yield ended
    yield CounterMetricFamily(
        "factflow_messages_received",
        "Messages announced to queues of executions that run or ran here.",
        value=metrics.messages_received,
    )
    yield from _routes(metrics)
    yield from _stages(metrics)
    yield _gauge(
        "factflow_lineage_backlog_rows", "Rows that wait to be written.", metrics.lineage_backlog
    )
    yield _gauge(
        "factflow_lineage_gap_rows",
        "Rows to be made again from records, as far as that is known.",
        metrics.lineage_gap_rows,
    )
    yield CounterMetricFamily(
        "factflow_lineage_dropped_rows",
        "Rows given up because they could not be written.",
        value=metrics.lineage_dropped,
    )
    yield CounterMetricFamily(
        "factflow_event_loop_stalls",
        "How often something held the event loop for a second or longer.",
        value=metrics.stalls,
    )
    yield CounterMetricFamily(
        "factflow_event_loop_stalled_seconds",
        "How long stalls had lasted when they were noticed, in sum.",
        value=metrics.stalled_seconds,
    )


def _routes(metrics: SystemMetrics) -> Iterator[Metric]:
    """Yield what each route has now, over all running executions."""
    for name, field, meaning in (
        ("factflow_messages_in_flight", "in_flight", "Messages in a route's hands."),
        ("factflow_queue_ready", "queued", "Messages that wait for a route."),
        ("factflow_queue_delayed", "delayed", "Messages that wait for their next attempt."),
        ("factflow_route_running", "running", "Executions in which the route takes messages."),
        ("factflow_route_paused", "paused", "Executions in which the route is paused."),
        (
            "factflow_route_held_back",
            "held_back",
            "Executions in which a full queue holds it back.",
        ),
        ("factflow_route_holding", "holding", "Executions in which storage or queue hold it up."),
        ("factflow_route_breakers_open", "breakers_open", "Executions in which a breaker is open."),
    ):
        family = GaugeMetricFamily(name, meaning, labels=["route"])
        for load in metrics.loads:
            family.add_metric([load.route_id], getattr(load, field))
        yield family


def _stages(metrics: SystemMetrics) -> Iterator[Metric]:
    """Yield what stages have done since the start; lineage says so, a fraction of a second later."""
    settled: dict[tuple[str, str], int] = {}
    duration = HistogramMetricFamily(
        "factflow_stage_duration_seconds",
        "How long a stage took for a message, waiting excluded.",
        labels=["route", "stage", "adapter"],
    )
    for key, tally in sorted(metrics.stages.items()):
        duration.add_metric(list(key), _buckets(tally), tally.duration_us / 1e6)
        for outcome, number in (
            ("completed", tally.settled - tally.failed - tally.filtered),
            ("failed", tally.failed),
            ("filtered", tally.filtered),
        ):
            settled[key.route_id, outcome] = settled.get((key.route_id, outcome), 0) + number
    messages = CounterMetricFamily(
        "factflow_messages_settled",
        "Messages whose handling in a route ended, by outcome.",
        labels=["route", "outcome"],
    )
    for (route_id, outcome), number in settled.items():
        messages.add_metric([route_id, outcome], number)
    yield messages
    yield duration


def _buckets(tally: StageTally) -> list[tuple[str, float]]:
    edges: list[tuple[str, float]] = [
        (repr(2**doublings / 1e6), shorter_than(tally.buckets, doublings))
        for doublings in DOUBLINGS
    ]
    return [*edges, ("+Inf", tally.buckets.total())]


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)
