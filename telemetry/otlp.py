"""Spans and metrics of finished calls, sent on by OpenTelemetry's SDK. Needs the extra `otel`.

The request path puts one object into a bounded queue; a thread of its own makes spans of it, and the SDK's threads
send them. A collector that is away costs calls nothing: what does not fit into the queue is dropped and counted.
"""

import importlib.util
import queue
import threading
from typing import Any

from telemetry.metrics import METRICS
from telemetry.spans import EndedCall, Span, measured, spans_of

QUEUE_CALLS = 4_096
STOP_S = 5
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKENS = (
    1,
    4,
    16,
    64,
    256,
    1_024,
    4_096,
    16_384,
    65_536,
    262_144,
    1_048_576,
    4_194_304,
    16_777_216,
    67_108_864,
)
FIRST = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    30.0,
    60.0,
)
HISTOGRAMS = {
    "gen_ai.client.operation.duration": ("s", "GenAI operation duration.", SECONDS),
    "gen_ai.client.operation.time_to_first_chunk": ("s", "Time to receive the first chunk.", FIRST),
    "gen_ai.client.token.usage": ("{token}", "Number of input and output tokens used.", TOKENS),
}
"""Unit, description and bucket bounds, as the conventions advise; the first chunk's are finer and end at a minute."""


def is_installed() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ModuleNotFoundError:
        return False


class Exporter:
    """`endpoint`: base URL of an OTLP/HTTP collector, for example http://127.0.0.1:4318. Times in seconds."""

    def __init__(self, endpoint: str, *, version: str, every_s: float = 15, batch_s: float = 2) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        base = endpoint.rstrip("/")
        resource = Resource.create({"service.name": "llm-caller", "service.version": version})
        self._ids = _given_ids()
        self._tracers = TracerProvider(
            resource=resource, sampler=ALWAYS_ON, id_generator=self._ids, shutdown_on_exit=False
        )
        sender = OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=STOP_S)
        self._tracers.add_span_processor(BatchSpanProcessor(sender, schedule_delay_millis=batch_s * 1000))
        reader = PeriodicExportingMetricReader(
            OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=STOP_S),
            export_interval_millis=every_s * 1000,
        )
        self._meters = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
        self._tracer = self._tracers.get_tracer("llm-caller", version)
        meter = self._meters.get_meter("llm-caller", version)
        self._histograms = {
            name: meter.create_histogram(name, unit, told, explicit_bucket_boundaries_advisory=bounds)
            for name, (unit, told, bounds) in HISTOGRAMS.items()
        }
        self._queue: queue.SimpleQueue[EndedCall | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="otel", daemon=True)
        self._thread.start()

    def offer(self, call: EndedCall) -> None:
        """Never waits."""
        if self._queue.qsize() >= QUEUE_CALLS:
            METRICS.count("otel_calls_dropped")
            return
        self._queue.put(call)

    def stop(self) -> None:
        """Sends what is left, for a few seconds at most."""
        self._queue.put(None)
        self._thread.join(STOP_S)
        self._tracers.force_flush(STOP_S * 1000)
        self._tracers.shutdown()
        self._meters.shutdown(timeout_millis=STOP_S * 1000)

    def _run(self) -> None:
        while (call := self._queue.get()) is not None:
            try:
                self._tell(call)
            except Exception:  # the outermost edge of this thread, which must outlive any call
                METRICS.count("otel_calls_failed")

    def _tell(self, call: EndedCall) -> None:
        for one in measured(call):
            self._histograms[one.name].record(one.value, one.attributes)
        if call.sampled:
            for span in spans_of(call):
                self._span(span)

    def _span(self, span: Span) -> None:
        from opentelemetry import trace
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            Status,
            StatusCode,
            TraceFlags,
        )

        context = None
        if span.parent:
            parent = SpanContext(
                int(span.trace_id, 16),
                int(span.parent, 16),
                is_remote=span.remote_parent,
                trace_flags=TraceFlags(TraceFlags.SAMPLED),
            )
            context = trace.set_span_in_context(NonRecordingSpan(parent))
        self._ids.trace_id, self._ids.span_id = int(span.trace_id, 16), int(span.span, 16)
        made = self._tracer.start_span(
            span.name,
            context=context,
            kind=SpanKind[span.kind.upper()],
            attributes=span.attributes,
            start_time=span.start,
        )
        if span.error:
            made.set_status(Status(StatusCode.ERROR))
        made.end(end_time=span.end)


def _given_ids() -> Any:
    """Makes the SDK use the ids that providers were sent while the call went on."""
    from opentelemetry.sdk.trace.id_generator import IdGenerator

    class GivenIds(IdGenerator):
        trace_id = span_id = 0

        def generate_trace_id(self) -> int:
            return self.trace_id

        def generate_span_id(self) -> int:
            return self.span_id

    return GivenIds()
