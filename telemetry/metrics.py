"""Counters and latencies of this process, cheap enough for every call.

Percentiles come from the last `SAMPLES` calls of a method; the histograms for Prometheus count all.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from telemetry import families
from telemetry.families import BUCKETS_MS, OK, OTHER, Family, outcome_class
from telemetry.replaced_file import replace_file

SAMPLES = 2_048
MAX_MODELS = 200
MAX_PROVIDERS = 1_000
SNAPSHOT_FILE = "metrics.json"
RESULTS = ("success", "error", "cancelled")
"""How a call ended for the provider that was asked last; cancelled: the client left, or the gateway stopped."""
Labels = tuple[str, ...]
Number = int | float
Offers = Callable[[str, str], bool]
"""Whether a provider is known to have a model."""


class State(msgspec.Struct, kw_only=True):
    """All that one process counted, by family name and label values; or several, added up.

    A histogram is the calls per bucket, then the sum in ms. `latencies`: the last calls of each method, ms.
    `bounds` tells whether two states can be added: an older version may have had other buckets.
    """

    bounds: tuple[int, ...] = BUCKETS_MS
    counters: dict[str, dict[Labels, Number]] = {}
    histograms: dict[str, dict[Labels, list[Number]]] = {}
    gauges: dict[str, dict[Labels, Number]] = {}
    events: dict[str, int] = {}
    latencies: dict[str, list[float]] = {}


class Attempt(Protocol):
    """What is asked of a provider call. `classification`: None when it succeeded."""

    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def classification(self) -> str | None: ...


def everything(provider: str, model: str) -> bool:
    return True


class Metrics:
    """All metrics of a process. Only the event loop observes calls; readers copy whole dictionaries."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._calls: Counter[Labels] = Counter()
        self._retries: Counter[Labels] = Counter()
        self._provider_calls: Counter[Labels] = Counter()
        self._attempts: Counter[Labels] = Counter()
        self._tokens: Counter[Labels] = Counter()
        self._limited: Counter[Labels] = Counter()
        self._durations: dict[Labels, list[Number]] = {}
        self._first_tokens: dict[Labels, list[Number]] = {}
        self._latencies: dict[str, deque[float]] = {}
        self._providers: set[str] = set()
        self._models: set[Labels] = set()

    def observe_call(
        self,
        method: str,
        *,
        outcome: str,
        duration_ms: float,
        attempts: Sequence[Attempt] = (),
        first_event_ms: float | None = None,
        tokens: tuple[int, int] = (0, 0),
        limit: str = "rate",
        offers: Offers = everything,
    ) -> None:
        """One finished call. `outcome`: `ok` or the code it failed with. `tokens`: in and out, of the last attempt.
        `limit`: which one, for a call that its client's limits refused. `offers`: asked of models that have no label
        yet; one that is not offered gets none."""
        latencies = self._latencies.get(method)
        if latencies is None:
            latencies = self._first_call(method)
        latencies.append(duration_ms)
        self._calls[method, outcome] += 1
        group = method, outcome_class(outcome, asked=bool(attempts))
        _count_in(self._durations, group, duration_ms)
        if first_event_ms is not None:
            _count_in(self._first_tokens, group, first_event_ms)
        if attempts:
            self._observe_attempts(method, attempts, outcome)
            if tokens[0] or tokens[1]:
                self._observe_tokens(attempts[-1], tokens, offers)
        elif group[1] == "limited":
            self._limited[(limit,)] += 1

    def _first_call(self, method: str) -> deque[float]:
        """The zeros of a method, so that the first of each kind is seen as an increase."""
        self._calls[method, OK] += 0
        self._retries[(method,)] += 0
        latencies = self._latencies[method] = deque(maxlen=SAMPLES)
        return latencies

    def _observe_attempts(self, method: str, attempts: Sequence[Attempt], outcome: str) -> None:
        if len(attempts) > 1:
            self._retries[(method,)] += len(attempts) - 1
        for attempt in attempts:
            self._attempts[self._provider(attempt.provider), attempt.classification or "none"] += 1
        last = attempts[-1]
        self._provider_calls[self._provider(last.provider), _result(outcome, last)] += 1

    def _observe_tokens(self, last: Attempt, tokens: tuple[int, int], offers: Offers) -> None:
        provider, model = self.labels_of(last, offers)
        self._tokens[provider, model, "input"] += tokens[0]
        self._tokens[provider, model, "output"] += tokens[1]

    def labels_of(self, attempt: Attempt, offers: Offers) -> tuple[str, str]:
        """Provider and model as labels: of bounded number, whatever clients ask for."""
        provider = self._provider(attempt.provider)
        return provider, self._model(provider, attempt.model, offers)

    def _provider(self, name: str) -> str:
        """The name as a label: names change with the configuration, and what is counted stays."""
        if name not in self._providers:
            if len(self._providers) >= MAX_PROVIDERS:
                return OTHER
            self._providers.add(name)
            for result in RESULTS:
                self._provider_calls[name, result] += 0
        return name

    def _model(self, provider: str, name: str, offers: Offers) -> str:
        """The name as a label: a client may name any model to some providers, and would take all labels with names
        of its own."""
        if (provider, name) not in self._models:
            if len(self._models) >= MAX_MODELS or not offers(provider, name):
                return OTHER
            self._models.add((provider, name))
        return name

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] += by

    def state(self, gauges: Mapping[Family, Mapping[Labels, Number]] | None = None) -> State:
        """A copy, from any thread: each dictionary is copied in one step."""
        counted = (
            *(
                (families.CALLS, self._calls),
                (families.RETRIES, self._retries),
                (families.PROVIDER_CALLS, self._provider_calls),
            ),
            *(
                (families.ATTEMPTS, self._attempts),
                (families.TOKENS, self._tokens),
                (families.LIMITED, self._limited),
            ),
        )
        timed = ((families.DURATION, self._durations), (families.FIRST_TOKEN, self._first_tokens))
        return State(
            counters={family.name: dict(counts) for family, counts in counted},
            histograms={
                family.name: {labels: list(row) for labels, row in rows.copy().items()}
                for family, rows in timed
            },
            gauges={family.name: dict(values) for family, values in (gauges or {}).items()},
            events=dict(self.counters),
            latencies={method: list(last) for method, last in self._latencies.copy().items()},
        )

    def snapshot(self) -> dict[str, Any]:
        return snapshot(self.state())


def _result(outcome: str, last: Attempt) -> str:
    if outcome == OK:
        return "success"
    given_up = outcome == "CLIENT_CLOSED" or last.classification == "CANCELLED"
    return "cancelled" if given_up else "error"


def _count_in(rows: dict[Labels, list[Number]], labels: Labels, ms: float) -> None:
    row = rows.get(labels)
    if row is None:
        row = rows[labels] = [0] * (len(BUCKETS_MS) + 2)
    row[bisect_left(BUCKETS_MS, ms)] += 1
    row[-1] += ms


def added(states: Iterable[State]) -> State:
    """Counters, histograms and events of all; the last calls of all. Gauges are left out: they are of a moment."""
    total = State()
    for state in states:
        for name, counts in state.counters.items():
            into = total.counters.setdefault(name, {})
            for labels, value in counts.items():
                into[labels] = into.get(labels, 0) + value
        for name, rows in state.histograms.items():
            sums = total.histograms.setdefault(name, {})
            for labels, row in rows.items():
                sums[labels] = [a + b for a, b in zip(sums.get(labels, [0] * len(row)), row, strict=True)]
        for event, count in state.events.items():
            total.events[event] = total.events.get(event, 0) + count
        for method, latencies in state.latencies.items():
            total.latencies.setdefault(method, []).extend(latencies)
    return total


def bound(state: State) -> None:
    """Each process has its own cap on models; of many that have ended, the models beyond the first count as `other`."""
    tokens = state.counters.get(families.TOKENS.name, {})
    known: set[Labels] = set()
    for labels in list(tokens):
        provider, model, direction = labels
        if (provider, model) in known or model == OTHER:
            continue
        if len(known) < MAX_MODELS:
            known.add((provider, model))
        else:
            other = provider, OTHER, direction
            tokens[other] = tokens.get(other, 0) + tokens.pop(labels)


def snapshot(state: State) -> dict[str, Any]:
    """What contract §6 asks for."""
    calls, providers = (
        state.counters.get(families.CALLS.name, {}),
        state.counters.get(families.PROVIDER_CALLS.name, {}),
    )
    return {
        "methods": {name: _method(state, name) for name in sorted({method for method, _ in calls})},
        "providers": {
            name: {
                "total": sum(providers.get((name, result), 0) for result in RESULTS),
                "success": providers.get((name, "success"), 0),
                "error": providers.get((name, "error"), 0),
            }
            for name in sorted({provider for provider, _ in providers})
        },
        "counters": dict(sorted(state.events.items())),
    }


def _method(state: State, method: str) -> dict[str, Any]:
    outcomes = {
        labels[1]: n for labels, n in state.counters[families.CALLS.name].items() if labels[0] == method
    }
    total, success = sum(outcomes.values()), outcomes.pop(OK, 0)
    retries = state.counters.get(families.RETRIES.name, {}).get((method,), 0)
    timed = state.histograms[families.DURATION.name].items()
    sum_ms = sum(row[-1] for labels, row in timed if labels[0] == method)
    ordered = sorted(state.latencies.get(method, ()))
    return {
        "requests": {"total": total, "success": success, "error": total - success},
        "latencyMs": {
            "average": round(sum_ms / total, 3),
            "samples": len(ordered),
            "p50": _percentile(ordered, 50),
            "p95": _percentile(ordered, 95),
            "p99": _percentile(ordered, 99),
        },
        "retries": {"total": retries, "average": round(retries / total, 4)},
        "classifications": dict(sorted(outcomes.items())),
    }


def _percentile(ordered: list[float], percent: int) -> float:
    """Nearest rank; 0 without samples."""
    return round(ordered[-(-len(ordered) * percent // 100) - 1], 3) if ordered else 0


METRICS = Metrics()


def get_metrics_snapshot() -> dict[str, Any]:
    """The metrics of this process (contract §6)."""
    return METRICS.snapshot()


def write_snapshot(folder: Path, told: dict[str, Any] | None = None) -> None:
    """Writes what `manage.py metrics` reads; of this process, unless `told`. Raises `OSError`."""
    replace_file(
        folder / SNAPSHOT_FILE, msgspec.json.encode(get_metrics_snapshot() if told is None else told)
    )
