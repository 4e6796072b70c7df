"""Calls summed up: how many, how they ended, how long they took. Pure; sums of parts add up to the sum of all.

Durations are counted in fixed buckets, so that percentiles of any time span come from a few hundred rows.
The price: an estimate is right to within its bucket, whose upper bound is at most 2.5 times its lower one
(the first reaches from 0 to 1 ms). The longest is kept as it was: no estimate is above it.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple, Protocol

BUCKETS_MS = (
    *(1, 2, 3, 5, 10, 20, 30, 50, 100, 150, 200, 300, 500, 700),
    *(1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000),
    *(60_000, 120_000, 300_000, 600_000),
)
"""Upper bounds, themselves included. A last bucket holds what took longer than all."""
LARGEST = 2**63 - 1
"""What a sum holds at most: its column takes no more. One provider's absurd usage must not keep others from being
counted."""


class Call(Protocol):
    """What a sum asks of a call; `CallRecord` and a row of the record both have it."""

    provider: str
    outcome: str
    duration_ms: int
    first_event_ms: int | None
    input_tokens: int
    output_tokens: int


@dataclass(slots=True)
class Sum:
    """`errors`: calls that were not answered. `outcomes`: outcome → calls. `latency`, `first_event`: calls by bucket,
    up to the last that has any; `longest_ms`, `longest_first_event_ms`: the longest of these, 0 without any.

    Only calls that a provider was asked for have a latency: a refusal's millisecond says nothing of a model.
    """

    calls: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    latency: list[int] = field(default_factory=list)
    first_event: list[int] = field(default_factory=list)
    longest_ms: int = 0
    longest_first_event_ms: int = 0

    def add(self, call: Call) -> None:
        self.calls += 1
        self.errors += call.outcome != "ok"
        self.input_tokens = _added(self.input_tokens, call.input_tokens)
        self.output_tokens = _added(self.output_tokens, call.output_tokens)
        self.outcomes[call.outcome] = self.outcomes.get(call.outcome, 0) + 1
        if call.provider:
            _count(self.latency, bisect_left(BUCKETS_MS, call.duration_ms))
            self.longest_ms = max(self.longest_ms, call.duration_ms)
        if call.first_event_ms is not None:
            _count(self.first_event, bisect_left(BUCKETS_MS, call.first_event_ms))
            self.longest_first_event_ms = max(self.longest_first_event_ms, call.first_event_ms)

    def copy(self) -> "Sum":
        return Sum(
            *(self.calls, self.errors, self.input_tokens, self.output_tokens),
            *(self.outcomes.copy(), self.latency.copy(), self.first_event.copy()),
            *(self.longest_ms, self.longest_first_event_ms),
        )

    def merge(self, other: "Sum") -> None:
        self.calls = _added(self.calls, other.calls)
        self.errors = _added(self.errors, other.errors)
        self.input_tokens = _added(self.input_tokens, other.input_tokens)
        self.output_tokens = _added(self.output_tokens, other.output_tokens)
        for outcome, calls in other.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + calls
        _add_counts(self.latency, other.latency)
        _add_counts(self.first_event, other.first_event)
        self.longest_ms = max(self.longest_ms, other.longest_ms)
        self.longest_first_event_ms = max(self.longest_first_event_ms, other.longest_first_event_ms)


def _count(histogram: list[int], bucket: int) -> None:
    _lengthen(histogram, bucket + 1)
    histogram[bucket] += 1


def _add_counts(mine: list[int], theirs: list[int]) -> None:
    _lengthen(mine, len(theirs))
    for bucket, calls in enumerate(theirs):
        if calls:
            mine[bucket] += calls


def _added(mine: int, theirs: int) -> int:
    return min(mine + theirs, LARGEST)


def _lengthen(histogram: list[int], buckets: int) -> None:
    if buckets > len(histogram):
        histogram.extend([0] * (buckets - len(histogram)))


def merged(sums: Iterable[Sum]) -> Sum:
    total = Sum()
    for part in sums:
        total.merge(part)
    return total


class Percentiles(NamedTuple):
    """Milliseconds."""

    p50: float
    p95: float
    p99: float


def percentiles(histogram: Sequence[int], longest_ms: float) -> Percentiles | None:
    """None without calls."""
    if not any(histogram):
        return None
    return Percentiles(*(percentile(histogram, percent, longest_ms) for percent in (50, 95, 99)))


def percentile(histogram: Sequence[int], percent: int, longest_ms: float) -> float:
    """Nearest rank, ms: the call of that rank is in the same bucket, where calls are taken to lie evenly.

    The last bucket reaches no further than the longest call.
    """
    rank = -(-sum(histogram) * percent // 100)
    before = 0
    for bucket, calls in enumerate(histogram):
        if calls and before + calls >= rank:
            low, high = bounds(bucket)
            high = min(high, longest_ms)
            return low + (high - low) * (rank - before) / calls
        before += calls
    return 0.0


def bounds(bucket: int) -> tuple[float, float]:
    """Lower (excluded) and upper (included) bound of a bucket, ms."""
    low = BUCKETS_MS[bucket - 1] if bucket else 0
    return float(low), float(BUCKETS_MS[bucket]) if bucket < len(BUCKETS_MS) else inf


def longest_possible(histogram: Sequence[int]) -> int:
    """Where the longest was not kept: what no call of the last bucket was above, as far as is known, ms."""
    return BUCKETS_MS[min(len(histogram), len(BUCKETS_MS)) - 1] if histogram else 0
