"""Limits are exact: times in, a grant or the wait until one out (promise 16)."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.limits import BUCKETS, EXACT_UP_TO, MAX_KEYS, BucketWindow, ExactWindow, FailureGuard, Limiter
from clients.limits import Window as AnyWindow
from clients.types import RateLimit

MS = 1_000_000
GAPS_NS = st.lists(st.integers(0, 400 * MS) | st.integers(0, 3 * MS), max_size=120)
WINDOWS = pytest.mark.parametrize("window", [ExactWindow, BucketWindow])


def limit(max_requests: int, interval_ms: int = 1000) -> RateLimit:
    return RateLimit(max_requests=max_requests, interval_ms=interval_ms)


def times_of(gaps: Sequence[int]) -> list[int]:
    now, times = 0, []
    for gap in gaps:
        now += gap
        times.append(now)
    return times


def granted_times(window: AnyWindow, times: Sequence[int], allowed: RateLimit) -> list[int]:
    return [now for now in times if window.reserve(now, allowed).granted]


def most_in_any(interval_ms: int, times: Sequence[int]) -> int:
    """The most calls in any half-open interval of that length; the fullest one starts with a call."""
    return max((sum(at <= t < at + interval_ms * MS for t in times) for at in times), default=0)


@WINDOWS
@given(gaps=GAPS_NS, most=st.integers(0, 20), interval_ms=st.integers(1, 1500))
def test_no_interval_ever_holds_more_than_the_limit(
    window: type[AnyWindow], gaps: list[int], most: int, interval_ms: int
) -> None:
    allowed = limit(most, interval_ms)
    assert most_in_any(interval_ms, granted_times(window(), times_of(gaps), allowed)) <= most


@given(gaps=GAPS_NS, most=st.integers(1, 20), interval_ms=st.integers(1, 1500))
def test_an_exact_window_grants_whatever_fits(gaps: list[int], most: int, interval_ms: int) -> None:
    """It refuses only when the last `most` calls are all within the interval that ends now."""
    window, granted = ExactWindow(), []
    for now in times_of(gaps):
        fits = sum(now - t < interval_ms * MS for t in granted) < most
        reserved = window.reserve(now, limit(most, interval_ms))
        assert reserved.granted is fits
        if fits:
            granted.append(now)
            assert reserved.remaining == most - sum(now - t < interval_ms * MS for t in granted)


@WINDOWS
@given(gaps=GAPS_NS, most=st.integers(1, 20), lowered=st.integers(1, 20), interval_ms=st.integers(1, 1500))
def test_the_hint_is_true_even_after_the_limit_was_lowered(
    window: type[AnyWindow], gaps: list[int], most: int, lowered: int, interval_ms: int
) -> None:
    times, under_test = times_of(gaps), window()
    granted_times(under_test, times, limit(most, interval_ms))
    now, allowed = times[-1] if times else 0, limit(lowered, interval_ms)
    refused = under_test.reserve(now, allowed)
    while refused.granted:
        refused = under_test.reserve(now, allowed)
    assert (refused.remaining, refused.limit) == (0, lowered)
    wait = refused.retry_after_ms
    # A bucket counts until the whole of it is out: at most one hundredth of the interval more.
    assert 1 <= wait <= interval_ms + interval_ms // BUCKETS + 1
    if window is ExactWindow:
        assert not under_test.reserve(now + (wait - 1) * MS, allowed).granted
    assert under_test.reserve(now + wait * MS, allowed).granted


@WINDOWS
def test_the_whole_limit_is_there_at_once_and_again_after_the_interval(window: type[AnyWindow]) -> None:
    under_test = window()
    at_once = [under_test.reserve(0, limit(3)) for _ in range(4)]
    assert [(r.granted, r.remaining) for r in at_once] == [(True, 2), (True, 1), (True, 0), (False, 0)]
    late = 1010 * MS
    assert [under_test.reserve(late, limit(3)).granted for _ in range(4)] == [True, True, True, False]


@WINDOWS
def test_no_burst_at_the_edge_of_an_interval(window: type[AnyWindow]) -> None:
    """Ten just before a full second and ten just after would be twenty within a moment."""
    times = [999 * MS] * 10 + [1001 * MS] * 10
    assert granted_times(window(), times, limit(10)) == [999 * MS] * 10


@WINDOWS
def test_a_limit_of_zero_grants_nothing(window: type[AnyWindow]) -> None:
    refused = window().reserve(5, limit(0, 250))
    assert (refused.granted, refused.remaining, refused.retry_after_ms) == (False, 0, 250)


@WINDOWS
def test_a_changed_interval_keeps_what_was_called(window: type[AnyWindow]) -> None:
    under_test = window()
    assert granted_times(under_test, [0] * 5, limit(5, 60_000)) == [0] * 5
    assert not under_test.reserve(1, limit(5, 30_000)).granted
    assert under_test.reserve(61_000 * MS, limit(5, 30_000)).granted


def test_the_hint_is_in_whole_milliseconds_rounded_up() -> None:
    window = ExactWindow()
    window.reserve(0, limit(1, 1))
    assert window.reserve(1, limit(1, 1)).retry_after_ms == 1
    assert window.reserve(MS - 1, limit(1, 1)).retry_after_ms == 1
    assert window.reserve(MS, limit(1, 1)).granted


def test_no_limit_is_no_reservation() -> None:
    assert Limiter().reserve("bob", None) is None


def test_clients_do_not_share_a_limit() -> None:
    limiter = Limiter()
    for client in ("bob", "charlie"):
        reserved = [limiter.reserve(client, limit(2), now_ns=0) for _ in range(3)]
        assert [r is not None and r.granted for r in reserved] == [True, True, False]


@pytest.mark.parametrize("before", [1, EXACT_UP_TO, EXACT_UP_TO + 1, 20_000])
@pytest.mark.parametrize("after", [1, EXACT_UP_TO, EXACT_UP_TO + 1, 20_000])
def test_a_limit_changed_while_running_counts_the_calls_before(before: int, after: int) -> None:
    limiter = Limiter()

    def grants(allowed: RateLimit, now_ns: int) -> int:
        count = 0
        while (reserved := limiter.reserve("bob", allowed, now_ns=now_ns)) and reserved.granted:
            count += 1
        return count

    assert grants(limit(before), 0) == before
    assert grants(limit(after), 500 * MS) == max(after - before, 0)
    refused = limiter.reserve("bob", limit(after), now_ns=600 * MS)
    assert refused is not None
    assert limiter.reserve("bob", limit(after), now_ns=(600 + refused.retry_after_ms) * MS).granted  # type: ignore[union-attr]


def test_the_client_unused_the_longest_is_forgotten_and_the_busy_one_kept() -> None:
    limiter, allowed = Limiter(), limit(1, 3_600_000)
    for key in ("busy", "idle"):
        assert limiter.reserve(key, allowed, now_ns=0)
    for n in range(MAX_KEYS - 1):
        limiter.reserve(f"client {n}", allowed, now_ns=1)
        if n == MAX_KEYS // 2:
            assert not limiter.reserve("busy", allowed, now_ns=2).granted  # type: ignore[union-attr]
    assert not limiter.reserve("busy", allowed, now_ns=3).granted  # type: ignore[union-attr]
    assert limiter.reserve("idle", allowed, now_ns=3).granted  # type: ignore[union-attr]


def test_failed_tokens_are_counted_by_address_and_slowed_past_the_limit() -> None:
    guard = FailureGuard(limit=3, interval_ms=60_000)
    assert [guard.note("203.0.113.7") for _ in range(3)] == [None, None, None]
    hint = guard.note("203.0.113.7")
    assert hint is not None
    assert 59_000 < hint <= 60_000
    assert guard.note("203.0.113.8") is None
