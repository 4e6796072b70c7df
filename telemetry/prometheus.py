"""The metrics in Prometheus' text format or OpenMetrics, through its own client library."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, product

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from telemetry.families import BUCKETS_MS, DERIVED, EVENTS, FAMILIES, PROCESSES, PROVIDER_UP, Family
from telemetry.metrics import Labels, Number, State

Values = dict[Labels, Number]
Gauges = Mapping[Family, Mapping[Labels, Number]]
_JOINED: dict[str, Callable[[list[Number]], Number]] = {"sum": sum, "max": max, "min": min}


def exposition(total: State, live: Iterable[State], shared: Gauges, accept: str = "") -> tuple[bytes, str]:
    """The text and its content type. `total`: counted by all processes. `live`: those that run, for their gauges.
    `shared`: what the asked process measured for all. `accept`: the request's header; OpenMetrics if it is asked for.
    """
    states = list(live)
    measured = {family.name: dict(values) for family, values in shared.items()}
    measured[PROCESSES.name] = {(): len(states)}
    registry = CollectorRegistry()
    registry.register(_Told(total, states, measured))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Told(Collector):
    def __init__(self, total: State, live: list[State], measured: Mapping[str, Values]) -> None:
        self._total, self._live, self._measured = total, live, measured

    def collect(self) -> Iterator[Metric]:
        providers = [labels[0] for labels in self._gauge(PROVIDER_UP)]
        for family in FAMILIES:
            if family.kind == "histogram":
                yield _histogram(family, self._total.histograms.get(family.name, {}))
            elif family.kind == "counter":
                yield _simple(CounterMetricFamily, family, counted(self._total, family, providers))
            elif family.kind == "info":
                yield _info(family, self._measured.get(family.name, {}))
            else:
                yield _simple(GaugeMetricFamily, family, self._gauge(family))

    def _gauge(self, family: Family) -> Values:
        if family.merge == "shared":
            return self._measured.get(family.name, {})
        found: dict[Labels, list[Number]] = {}
        for labels, value in chain.from_iterable(s.gauges.get(family.name, {}).items() for s in self._live):
            found.setdefault(labels, []).append(value)
        return {labels: _JOINED[family.merge](values) for labels, values in found.items()}


def counted(total: State, family: Family, providers: Iterable[str]) -> Values:
    """With a zero for what is known to be possible: the first of a kind is then seen as an increase."""
    values: Values = dict.fromkeys(family.born, 0)
    values |= dict.fromkeys(product(providers, family.born_by_provider), 0)
    if not family.labels:
        values[()] = 0
    if family is EVENTS:
        values |= {(event,): count for event, count in total.events.items()}
    for event, (derived, labels) in DERIVED.items():
        if derived is family:
            values[labels] = total.events.get(event, 0)
    return values | total.counters.get(family.name, {})


def _simple(
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily], family: Family, values: Values
) -> Metric:
    metric = kind(family.sample.removesuffix("_total"), family.help, labels=family.labels, unit=_unit(family))
    for labels, value in sorted(values.items()):
        metric.add_metric(labels, value)
    return metric


def _histogram(family: Family, rows: Mapping[Labels, list[Number]]) -> Metric:
    metric = HistogramMetricFamily(family.sample, family.help, labels=family.labels, unit=_unit(family))
    nothing: list[Number] = [0] * (len(BUCKETS_MS) + 2)
    for labels, row in sorted({**dict.fromkeys(family.born, nothing), **rows}.items()):
        metric.add_metric(labels, _cumulative(row[:-1]), row[-1] / 1000)
    return metric


def _info(family: Family, values: Values) -> Metric:
    metric = InfoMetricFamily(family.sample.removesuffix("_info"), family.help)
    for labels in values:
        metric.add_metric((), dict(zip(family.labels, labels, strict=True)))
    return metric


def _unit(family: Family) -> str:
    return next((unit for unit in ("seconds", "bytes") if family.name.endswith(f"_{unit}")), "")


def _cumulative(buckets: list[Number]) -> list[tuple[str, float]]:
    rows: list[tuple[str, float]] = []
    running: Number = 0
    for bound, count in zip((*(str(ms / 1000) for ms in BUCKETS_MS), "+Inf"), buckets, strict=True):
        running += count
        rows.append((bound, running))
    return rows
