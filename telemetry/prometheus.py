"""The metrics in Prometheus' text format, through its own client library."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from telemetry.metrics import BUCKETS_MS, METRICS, Metrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _CallCollector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "llm_caller_calls", "Calls by method and outcome.", labels=("method", "outcome")
        )
        retries = CounterMetricFamily(
            "llm_caller_retries", "Provider calls beyond a call's first.", labels=("method",)
        )
        duration = HistogramMetricFamily(
            "llm_caller_call_duration_seconds", "From accept to the last byte.", labels=("method",)
        )
        for name, entry in sorted(self._metrics.methods.items()):
            calls.add_metric((name, "ok"), entry.success)
            for code, count in sorted(entry.classifications.items()):
                calls.add_metric((name, code), count)
            retries.add_metric((name,), entry.retries)
            duration.add_metric((name,), _cumulative(entry.buckets), entry.sum_ms / 1000)
        yield calls
        yield retries
        yield duration
        yield from self._providers_and_events()

    def _providers_and_events(self) -> Iterator[Metric]:
        answered = CounterMetricFamily(
            "llm_caller_provider_calls", "Calls by the provider last asked.", labels=("provider", "result")
        )
        for name, counts in sorted(self._metrics.providers.items()):
            for result in ("success", "error"):
                answered.add_metric((name, result), counts[result])
        yield answered
        events = CounterMetricFamily("llm_caller_events", "Other things counted.", labels=("event",))
        for name, count in sorted(self._metrics.counters.items()):
            events.add_metric((name,), count)
        yield events


def _cumulative(buckets: list[int]) -> list[tuple[str, float]]:
    rows: list[tuple[str, float]] = []
    running = 0
    for bound, count in zip((*(str(ms / 1000) for ms in BUCKETS_MS), "+Inf"), buckets, strict=True):
        running += count
        rows.append((bound, running))
    return rows


def exposition(metrics: Metrics = METRICS) -> bytes:
    registry = CollectorRegistry()
    registry.register(_CallCollector(metrics))
    return generate_latest(registry)
