"""Traces for OpenTelemetry: one for each execution, one span for each stage call.

Ids are made, not carried: a trace's from the execution's id, a span's from the first half of the
`lineage_id` of what it did. So whoever has a lineage row has its span, across queue hops and restarts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from factflow_engine.tracing import StageCall
from factflow_foundation import ids, logs
from factflow_server.settings import ServerStartError

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.sdk.trace.id_generator import IdGenerator

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
FILE = "file:"
LAST_SPANS_MS = 5_000

_log = logs.logger(__name__)


class TracingUnavailableError(ServerStartError):
    """Traces were asked for, and cannot be made."""

    code = "tracing_unavailable"


def open_tracing(
    choice: str, version: str, environ: Mapping[str, str] = os.environ
) -> ExecutionTracer | None:
    """Return the tracer that is configured, None when none is.

    `choice`: `auto` sends traces when the environment names an OTLP endpoint, `otlp` in any case,
    `file:PATH` appends them to a file as JSON lines, `off` makes none. `OTEL_SDK_DISABLED=true` counts as
    `off`. Raises `TracingUnavailableError` for another choice, and when the libraries are missing; under
    `auto` these are only warned of.
    """
    asked = choice == "otlp" or choice.startswith(FILE)
    if not asked and choice not in {"auto", "off"}:
        raise TracingUnavailableError(
            f"FACTFLOW_OTEL={choice!r} is no way to make traces",
            hint="auto, off, otlp, or file:PATH",
        )
    disabled = environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if disabled or choice == "off" or not (asked or any(environ.get(name) for name in ENDPOINTS)):
        return None
    try:
        if choice.startswith(FILE):
            return _to_file(Path(choice.removeprefix(FILE)), version)
        return _to_collector(version)
    except ImportError as error:
        refusal = TracingUnavailableError(
            f"traces need libraries that are not installed: {error.name}",
            hint="install factflow-server[otel], or set FACTFLOW_OTEL=off",
        )
        if asked:
            raise refusal from error
        _log.warning("no traces", reason=refusal.message, hint=refusal.hint)
        return None
    except OSError as error:
        raise TracingUnavailableError(
            f"the file for traces cannot be written: {error}", hint="choose another FACTFLOW_OTEL"
        ) from error


def _resource(version: str) -> Resource:
    """Return what the spans are of; what `OTEL_SERVICE_NAME` and the like say wins."""
    from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource

    named = Resource({SERVICE_NAME: "factflow", SERVICE_VERSION: version})
    told = Resource.create()
    if str(told.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return told.merge(named)
    return named.merge(told)


def _to_collector(version: str) -> ExecutionTracer:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return ExecutionTracer(BatchSpanProcessor(OTLPSpanExporter()), version)


def _to_file(path: Path, version: str) -> ExecutionTracer:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

    file = path.open("a", encoding="utf-8")
    exporter = ConsoleSpanExporter(
        out=file, formatter=lambda span: f"{span.to_json(indent=None)}\n"
    )
    return ExecutionTracer(BatchSpanProcessor(exporter), version, file)


class ExecutionTracer:
    """Fulfils `StageTracer`: a span is made whole when its stage call has ended.

    Of the attempts at a message the last one has the span id that others name as their parent. The
    sampler is asked once for each execution: its spans are kept all or none.
    """

    def __init__(self, processor: SpanProcessor, version: str, file: IO[str] | None = None) -> None:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider

        self._trace = trace
        self._file = file
        self._given = _GivenIds()
        self._provider = TracerProvider(
            resource=_resource(version),
            shutdown_on_exit=False,
            id_generator=cast("IdGenerator", self._given),
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("factflow", version)
        self._parent_flags = lru_cache(maxsize=1000)(self._flags)

    def stage_ended(self, call: StageCall) -> None:
        """Make the span of one call."""
        own = call.lineage_id
        if call.outcome == "retried":
            own = ids.derive("attempt", call.lineage_id, str(call.attempt))
        self._span(
            f"{call.route_id}/{call.stage}",
            call.execution_id,
            span_id=_span_id(own),
            parent_id=_span_id(call.parent_id)
            if call.parent_id
            else root_span_id(call.execution_id),
            times=(call.started_at, call.ended_at),
            error=call.error_type,
            attributes={
                "factflow.execution": call.execution_id,
                "factflow.route": call.route_id,
                "factflow.stage": call.stage,
                "factflow.adapter": call.adapter,
                "factflow.message": call.message_id,
                "factflow.lineage": call.lineage_id,
                "factflow.attempt": call.attempt,
                "factflow.outcome": call.outcome,
            },
        )

    def execution_ended(
        self, execution_id: str, status: str, started_at: float, ended_at: float
    ) -> None:
        """Make the span that all others of an execution hang under."""
        self._span(
            "execution",
            execution_id,
            span_id=root_span_id(execution_id),
            parent_id=None,
            times=(started_at, max(started_at, ended_at)),
            error=status if status == "failed" else None,
            attributes={"factflow.execution": execution_id, "factflow.status": status},
        )

    def close(self) -> None:
        """Send what was made and let go of exporter and file. Blocks for some seconds at most."""
        self._provider.force_flush(LAST_SPANS_MS)
        self._provider.shutdown()
        if self._file is not None:
            self._file.close()

    def _span(
        self,
        name: str,
        execution_id: str,
        *,
        span_id: int,
        parent_id: int | None,
        times: tuple[float, float],
        error: str | None,
        attributes: Mapping[str, Any],
    ) -> None:
        from opentelemetry.context import Context

        trace = self._trace
        trace_id = trace_id_of(execution_id)
        self._given.trace_id, self._given.span_id = trace_id, span_id
        context = Context()
        if parent_id is not None:
            flags = self._parent_flags(trace_id)
            parent = trace.SpanContext(trace_id, parent_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(parent), context)
        span = self._tracer.start_span(
            name, context, attributes=attributes, start_time=_nanoseconds(times[0])
        )
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(trace.StatusCode.ERROR)
        span.end(_nanoseconds(times[1]))

    def _flags(self, trace_id: int) -> Any:
        from opentelemetry.sdk.trace.sampling import Decision

        decided = self._provider.sampler.should_sample(None, trace_id, "execution").decision
        flags = self._trace.TraceFlags
        kept = decided is Decision.RECORD_AND_SAMPLE
        return flags(flags.SAMPLED if kept else flags.DEFAULT)


class _GivenIds:
    """Gives the SDK the ids that were decided on; nothing else asks for any meanwhile."""

    trace_id = 0
    span_id = 0

    def generate_span_id(self) -> int:
        """Return the id of the span about to be made."""
        return self.span_id

    def generate_trace_id(self) -> int:
        """Return the id of the trace it belongs to."""
        return self.trace_id

    def is_trace_id_random(self) -> bool:
        """Tell that the ids are not drawn."""
        return False


def trace_id_of(execution_id: str) -> int:
    """Return the id of an execution's trace (128 bits)."""
    return int(ids.derive("trace", execution_id)[:32], 16)


def root_span_id(execution_id: str) -> int:
    """Return the id of the span that stands for the execution itself (64 bits)."""
    return _span_id(ids.derive("root-span", execution_id))


def _span_id(derived: str) -> int:
    return int(derived[:16], 16)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
