"""Sums of calls: parts add up to the whole in any order, and an estimate never leaves its bucket."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from recorded import outcome

from telemetry.sums import BUCKETS_MS, LARGEST, Sum, bounds, longest_possible, merged, percentile, percentiles
from telemetry.types import CallRecord

MS = st.integers(0, 700_000)
TOKENS = st.integers(0, 10**9) | st.sampled_from((LARGEST // 2, LARGEST - 1, LARGEST))
CALLS = st.lists(
    st.builds(
        outcome,
        outcome=st.sampled_from(("ok", "TEMPORARY", "RATE_LIMIT")),
        provider=st.sampled_from(("", "a")),
        duration_ms=MS,
        first_event_ms=st.none() | MS,
        input_tokens=TOKENS,
        output_tokens=TOKENS,
    ),
    max_size=30,
)


def summed(calls: list[CallRecord]) -> Sum:
    total = Sum()
    for call in calls:
        total.add(call)
    return total


@given(CALLS, st.lists(st.integers(0, 4), min_size=30, max_size=30))
def test_any_partition_adds_up_to_the_same_sum(calls: list[CallRecord], places: list[int]) -> None:
    parts: dict[int, list[CallRecord]] = {}
    for call, place in zip(calls, places, strict=False):
        parts.setdefault(place, []).append(call)
    assert merged(summed(part) for part in parts.values()) == summed(calls)


@given(CALLS)
def test_a_sum_counts_every_call_once(calls: list[CallRecord]) -> None:
    total = summed(calls)
    assert total.calls == sum(total.outcomes.values()) == len(calls)
    assert total.errors == sum(call.outcome != "ok" for call in calls)
    assert total.input_tokens == min(sum(call.input_tokens for call in calls), LARGEST)
    assert total.output_tokens == min(sum(call.output_tokens for call in calls), LARGEST)
    assert sum(total.latency) == sum(call.provider != "" for call in calls)
    assert sum(total.first_event) == sum(call.first_event_ms is not None for call in calls)


@given(st.lists(MS, min_size=1, max_size=200), st.integers(1, 100))
def test_a_percentile_lies_in_the_bucket_of_the_call_of_its_rank(durations: list[int], percent: int) -> None:
    total = summed([outcome(provider="a", duration_ms=ms) for ms in durations])
    exact = sorted(durations)[math.ceil(len(durations) * percent / 100) - 1]
    estimate = percentile(total.latency, percent, total.longest_ms)
    within = [
        low <= estimate <= high
        for low, high in (bounds(n) for n in range(len(BUCKETS_MS) + 1))
        if (low < exact <= high) or (exact == 0 and low == 0)
    ]
    assert within == [True]


@given(st.lists(st.lists(MS, min_size=1, max_size=20), min_size=1, max_size=20))
def test_no_percentile_is_above_the_longest_call(parts: list[list[int]]) -> None:
    total = merged(
        summed([outcome(provider="a", duration_ms=ms, first_event_ms=ms) for ms in part]) for part in parts
    )
    longest = max(map(max, parts))
    assert (total.longest_ms, total.longest_first_event_ms) == (longest, longest)
    found = percentiles(total.latency, total.longest_ms)
    assert found is not None
    assert found.p50 <= found.p95 <= found.p99 <= longest


def test_one_call_of_four_minutes_is_shown_as_four_minutes() -> None:
    total = summed([outcome(provider="a", duration_ms=240_000)])
    assert percentiles(total.latency, total.longest_ms) == (240_000, 240_000, 240_000)


def test_where_the_longest_was_not_kept_an_estimate_stays_in_its_bucket() -> None:
    histogram = summed([outcome(provider="a", duration_ms=240_000)]).latency
    assert longest_possible(histogram) == 300_000
    assert longest_possible(summed([outcome(provider="a", duration_ms=700_000)]).latency) == 600_000
    assert longest_possible([]) == 0


def test_buckets_are_narrow_enough_for_what_is_said_of_them() -> None:
    pairs = list(pairwise(BUCKETS_MS))
    assert (BUCKETS_MS[0], BUCKETS_MS[-1]) == (1, 600_000)
    assert all(1 < high / low <= 2.5 for low, high in pairs)


def test_percentiles_of_even_calls_are_about_right() -> None:
    histogram = summed([outcome(provider="a", duration_ms=ms) for ms in range(1, 1001)]).latency
    p50, p95, p99 = percentiles(histogram, 1000)  # type: ignore[misc]
    assert (round(p50), round(p95), round(p99)) == (500, 950, 990)
    assert percentiles([], 0) is None
    assert percentiles([0, 0], 0) is None


def test_a_refusal_has_no_latency_but_is_a_call() -> None:
    total = summed([outcome(outcome="RATE_LIMIT", duration_ms=1), outcome(provider="a", duration_ms=900)])
    assert (total.calls, total.errors, sum(total.latency)) == (2, 1, 1)
    assert percentile(total.latency, 50, total.longest_ms) > 700


def test_calls_are_counted_by_outcome_whoever_was_asked() -> None:
    others = ("BAD_REQUEST", "RATE_LIMIT", "CLIENT_CLOSED", "PERMANENT", "UNKNOWN")
    asked = outcome(outcome="RATE_LIMIT", provider="a")
    total = summed([outcome(), asked, *(outcome(outcome=one) for one in others)])
    assert total.outcomes == dict.fromkeys(("ok", *others), 1) | {"RATE_LIMIT": 2}
    assert (total.calls, total.errors) == (7, 6)


def test_a_copy_shares_nothing_with_what_it_is_of() -> None:
    summed = Sum(2, 1, 3, 4, {"ok": 1, "AUTH": 1}, [0, 2], [1], 7, 5)
    before, copied = repr(summed), summed.copy()
    assert copied == summed
    copied.merge(summed)
    assert repr(summed) == before
