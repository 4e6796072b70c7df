"""Traces of real calls: passed on to providers, and exported to a collector on a real socket."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import RunningGateway, chat_body, provider_entry, running_gateway
from fake_provider import FakeProvider
from scraped import told_by, wait_until

from telemetry.otlp import is_installed

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
needs_extra = pytest.mark.skipif(not is_installed(), reason="the extra otel is not installed")


class Collector:
    """Takes OTLP over HTTP, as a real one does; `status` is what it answers."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.status = 200
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                collector.bodies.append((self.path, body))
                self.send_response(collector.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Not a word."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def spans(self) -> list[Any]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return [
            span
            for path, body in list(self.bodies)
            if path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def metric_names(self) -> set[str]:
        return {metric.name for metric in self.metrics()}

    def measured_models(self) -> set[str]:
        return {
            attributes(point)["gen_ai.request.model"]
            for metric in self.metrics()
            for point in metric.histogram.data_points
        }

    def metrics(self) -> list[Any]:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        return [
            metric
            for path, body in list(self.bodies)
            if path == "/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]


def attributes(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


@pytest.fixture
def collector() -> Iterator[Collector]:
    with closing(Collector()) as running:
        yield running


@pytest.fixture
def exporting(tmp_path: Path, shared_fake: FakeProvider, collector: Collector) -> Iterator[RunningGateway]:
    first = provider_entry(shared_fake.url, scores={"chat": 90})
    first["defaults"] = {"chat": "status-500"}
    providers = {"lmstudio_first": first, "lmstudio_second": provider_entry(shared_fake.url)}
    env = {"LLM_CALLER_OTEL_ENDPOINT": collector.url}
    with running_gateway(tmp_path, {"providers": providers}, env=env) as gateway:
        yield gateway


def test_a_trace_goes_on_to_the_provider_and_nonsense_does_not(
    shared: RunningGateway, shared_fake: FakeProvider
) -> None:
    for model, sent, expected in (
        ("traced-good", PARENT, PARENT),
        ("traced-bad", PARENT.upper(), None),
        ("traced-none", None, None),
    ):
        headers = {"traceparent": sent, "tracestate": "vendor=1"} if sent else {}
        body = chat_body("hello", model=model, provider="lmstudio_fake")
        assert shared.post("/mcp/chat", body, **headers).status_code == 200
        (hit,) = shared_fake.hits_for(model)
        assert hit.headers.get("traceparent") == expected
        assert "tracestate" not in hit.headers


def test_a_start_without_the_extra_or_with_a_bad_url_is_refused(tmp_path: Path, fake: FakeProvider) -> None:
    providers = {"providers": {"lmstudio_a": provider_entry(fake.url)}}
    with running_gateway(tmp_path, providers, start=False) as gateway:
        (tmp_path / "shadow" / "opentelemetry").mkdir(parents=True)
        (tmp_path / "shadow" / "opentelemetry" / "__init__.py").touch()
        gateway.env["PYTHONPATH"] = str(tmp_path / "shadow")
        for endpoint, words in (
            ("http://127.0.0.1:1", "needs the extra otel"),
            ("127.0.0.1:4318", "is not an http:// or https:// URL"),
            ("http://ada:canary@collector", "must not carry a password"),
        ):
            gateway.env["LLM_CALLER_OTEL_ENDPOINT"] = endpoint
            done = gateway.manage("serve", check=False)
            assert done.returncode == 2
            assert f"LLM_CALLER_OTEL_ENDPOINT {words}" in done.stderr
            assert "canary" not in done.stderr


@needs_extra
def test_a_call_is_exported_with_every_attempt_that_its_provider_can_find(
    exporting: RunningGateway, collector: Collector, shared_fake: FakeProvider
) -> None:
    body = chat_body("the traced prompt")
    answer = exporting.post("/mcp/chat", body, traceparent=PARENT)
    assert answer.status_code == 200
    call_id = answer.headers["x-llm-caller-call-id"]
    wait_until(lambda: len([span for span in collector.spans() if span.trace_id.hex() == TRACE]) == 4)
    spans = [span for span in collector.spans() if span.trace_id.hex() == TRACE]
    (call,) = [span for span in spans if span.kind == 2]
    attempts = sorted((span for span in spans if span.kind == 3), key=lambda s: s.start_time_unix_nano)
    assert call.parent_span_id.hex() == SPAN
    assert attributes(call)["llm_caller.call.id"] == call_id
    assert attributes(call)["gen_ai.usage.input_tokens"] > 0
    for span in (call, attempts[-1]):
        (reason,) = attributes(span)["gen_ai.response.finish_reasons"].values
        assert reason.string_value == answer.json()["providerInfo"]["finishReason"] == "stop"
    assert [attributes(span)["llm_caller.provider"] for span in attempts] == ["lmstudio_first"] * 2 + [
        "lmstudio_second"
    ]
    assert [span.status.code for span in attempts] == [2, 2, 0]
    assert {span.parent_span_id for span in attempts} == {call.span_id}
    heard = [hit.headers["traceparent"] for hit in shared_fake.hits if "the traced prompt" in str(hit.body)]
    assert heard == [f"00-{TRACE}-{span.span_id.hex()}-01" for span in attempts]
    for span in spans:
        assert call.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= call.end_time_unix_nano
        assert abs(span.start_time_unix_nano / 1e9 - time.time()) < 120


@needs_extra
def test_streams_refusals_and_unsampled_calls(exporting: RunningGateway, collector: Collector) -> None:
    exporting.frames(provider="lmstudio_second")
    exporting.post("/mcp/chat", chat_body("x", provider="nosuch"))
    exporting.post(
        "/mcp/chat",
        chat_body("unsampled", model="unsampled", provider="lmstudio_second"),
        traceparent=PARENT[:-1] + "0",
    )
    exporting.get("/health")
    wait_until(lambda: {"chat", "chat echo"} <= {span.name for span in collector.spans()})
    spans = collector.spans()
    (stream,) = [span for span in spans if span.kind == 2 and "gen_ai.request.stream" in attributes(span)]
    assert attributes(stream)["gen_ai.response.time_to_first_chunk"] > 0
    assert not stream.parent_span_id
    (refused,) = [span for span in spans if span.name == "chat"]
    assert attributes(refused)["error.type"] == "NOT_FOUND"
    assert "chat unsampled" not in {span.name for span in spans}
    assert {span.name.split()[0] for span in spans} <= {"chat", "embeddings"}


@needs_extra
def test_a_collector_that_refuses_costs_no_call_and_what_is_left_is_sent_at_the_end(
    exporting: RunningGateway, collector: Collector
) -> None:
    exporting.frames(provider="lmstudio_second")
    exporting.chat("the canary prompt", provider="lmstudio_second")
    collector.status = 400
    for _ in range(20):
        assert exporting.chat(provider="lmstudio_second").status_code == 200
    assert ("events_total", "otel_calls_failed") not in told_by(exporting)
    collector.status = 200
    exporting.chat("the last", model="the-last", provider="lmstudio_second")
    assert exporting.stop() == 0
    assert "chat the-last" in {span.name for span in collector.spans()}
    assert collector.metric_names() == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.token.usage",
    }
    assert collector.measured_models() == {"echo", "other"}, "the provider lists no model called the-last"
    raw = b"".join(body for _, body in collector.bodies)
    for secret in (b"canary prompt", b"echo: ", b"bob-token"):
        assert secret not in raw
    print(
        f"{len(collector.spans())} spans of real calls in {len(collector.bodies)} exports, no content in any"
    )
