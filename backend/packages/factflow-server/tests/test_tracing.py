"""Traces: one for each execution, one span for each stage call, ids made from ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from factflow_engine.tracing import StageCall
from factflow_server.app import create_app
from factflow_server.settings import ServerSettings
from factflow_server.startup import running
from factflow_server.tracing import (
    ExecutionTracer,
    TracingUnavailableError,
    open_tracing,
    root_span_id,
    trace_id_of,
)

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


def call(execution: str, **changes: Any) -> StageCall:
    made = StageCall(
        execution_id=execution,
        route_id="crawl",
        stage="fetch",
        adapter="web_scraper",
        message_id="m" * 32,
        lineage_id="ab" * 16,
        parent_id=None,
        attempt=1,
        outcome="stored",
        error_type=None,
        started_at=100.0,
        ended_at=101.5,
    )
    return made._replace(**changes)


async def test_every_stage_call_is_a_span_under_the_one_that_made_its_input(
    settings: ServerSettings, numbers_yaml: str, tmp_path: Path
) -> None:
    """Across queues too; the trace is the execution's, and a span leads to its lineage row."""
    file = tmp_path / "spans.jsonl"
    settings = settings.model_copy(update={"otel": f"file:{file}"})
    async with running(settings) as container:
        transport = httpx2.ASGITransport(app=create_app(container))
        base = "http://127.0.0.1:8000/api/v1"
        async with httpx2.AsyncClient(transport=transport, base_url=base, timeout=60) as client:
            config_yaml = numbers_yaml.replace("upto: 2", "upto: 3")
            stored = (await client.post("/configs", json={"config_yaml": config_yaml})).json()
            started = (await client.post("/executions", json={"config_id": stored["id"]})).json()
            execution = started["execution_id"]
            await client.post(f"/executions/{execution}/wait", json={"timeout": 30})
            rows = (await client.get("/lineage", params={"execution_id": execution})).json()
    spans = [json.loads(line) for line in file.read_text().splitlines()]
    calls = {s["context"]["span_id"]: s for s in spans if s["name"] != "execution"}
    [root] = [span for span in spans if span["name"] == "execution"]
    trace_id = f"0x{trace_id_of(execution):032x}"
    assert {span["context"]["trace_id"] for span in spans} == {trace_id}
    assert root["attributes"]["factflow.status"] == "failed"
    by_row = {f"0x{row['id'][:16]}": row for row in rows["entries"]}
    assert calls.keys() == by_row.keys()
    for span_id, row in by_row.items():
        span, told = calls[span_id], calls[span_id]["attributes"]
        parent = row["parent_id"]
        expected = f"0x{parent[:16]}" if parent else root["context"]["span_id"]
        assert span["parent_id"] == expected
        assert (told["factflow.outcome"], told["factflow.stage"]) == (row["outcome"], row["stage"])
    [failed] = [s for s in calls.values() if s["attributes"]["factflow.outcome"] == "failed"]
    assert failed["attributes"]["error.type"] == "PermanentError"
    assert failed["status"]["status_code"] == "ERROR"


def test_attempts_are_spans_of_their_own_and_the_last_one_is_the_parent() -> None:
    kept = InMemorySpanExporter()
    tracer = ExecutionTracer(SimpleSpanProcessor(kept), "1")
    tracer.stage_ended(call("run", outcome="retried", error_type="TransientError"))
    tracer.stage_ended(call("run", attempt=2))
    tracer.stage_ended(call("run", lineage_id="cd" * 16, parent_id="ab" * 16, stage="store"))
    first, second, child = kept.get_finished_spans()
    assert second.context.span_id == int("ab" * 8, 16)
    assert first.context.span_id != second.context.span_id
    assert first.parent is not None
    assert child.parent is not None
    assert first.parent.span_id == root_span_id("run")
    assert child.parent.span_id == second.context.span_id
    assert (second.start_time, second.end_time) == (100 * 10**9, 101_500_000_000)


def test_a_sampler_keeps_an_execution_whole_or_leaves_it_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.5")
    kept = InMemorySpanExporter()
    tracer = ExecutionTracer(SimpleSpanProcessor(kept), "1")
    for number in range(40):
        tracer.stage_ended(call(f"run {number}"))
        tracer.stage_ended(call(f"run {number}", lineage_id="cd" * 16, parent_id="ab" * 16))
        tracer.execution_ended(f"run {number}", "completed", 1.0, 2.0)
    by_trace: dict[int, int] = {}
    for span in kept.get_finished_spans():
        by_trace[span.context.trace_id] = by_trace.get(span.context.trace_id, 0) + 1
    assert set(by_trace.values()) == {3}
    assert 0 < len(by_trace) < 40


@pytest.mark.parametrize(
    ("choice", "environ"),
    [("auto", {}), ("off", ENDPOINT), ("otlp", {"OTEL_SDK_DISABLED": "true"})],
)
def test_without_being_asked_there_are_no_traces(choice: str, environ: dict[str, str]) -> None:
    assert open_tracing(choice, "1", environ) is None


def test_a_choice_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TracingUnavailableError, match="jaeger"):
        open_tracing("jaeger", "1", {})
    with pytest.raises(TracingUnavailableError, match="cannot be written"):
        open_tracing(f"file:{tmp_path}", "1", {})


def test_missing_libraries_are_told_and_under_auto_only_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A variable that is set for all programs of a machine keeps no server from starting."""
    monkeypatch.setitem(__import__("sys").modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(TracingUnavailableError) as refused:
        open_tracing("otlp", "1", {})
    assert "factflow-server[otel]" in refused.value.hint
    assert open_tracing("auto", "1", ENDPOINT) is None
