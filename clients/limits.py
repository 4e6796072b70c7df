"""Exact sliding windows: never more than the limit in any interval, no burst at a window's edge.

The times of the last calls are kept as they are, up to 10,000 a window; above that they are counted in
1/100 windows, each counted until the whole of it is out, so that the limit is never exceeded.
"""

import time
from collections import OrderedDict, deque
from typing import Protocol

import msgspec

from clients.types import RateLimit

EXACT_UP_TO = 10_000
BUCKETS = 100
MAX_KEYS = 50_000


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """`granted`, or when to come back: a call made after `retry_after_ms` is let through if none came before."""

    granted: bool
    remaining: int
    limit: int
    retry_after_ms: int = 0


class Window(Protocol):
    def reserve(self, now_ns: int, limit: RateLimit) -> Reservation: ...


class ExactWindow:
    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[int] = deque()

    def reserve(self, now_ns: int, limit: RateLimit) -> Reservation:
        times, interval = self._times, limit.interval_ms * 1_000_000
        while times and now_ns - times[0] >= interval:
            times.popleft()
        if len(times) < limit.max_requests:
            times.append(now_ns)
            return Reservation(
                granted=True, remaining=limit.max_requests - len(times), limit=limit.max_requests
            )
        # After a limit was lowered there may be more calls in the window than are allowed now.
        frees = times[len(times) - limit.max_requests] + interval if limit.max_requests else now_ns + interval
        return _refused(frees - now_ns, limit)


class BucketWindow:
    """Calls per 1/100 interval: `[bucket number, count]`."""

    __slots__ = ("_buckets", "_total", "_width")

    def __init__(self) -> None:
        self._buckets: deque[list[int]] = deque()
        self._total = 0
        self._width = 0

    def reserve(self, now_ns: int, limit: RateLimit) -> Reservation:
        width = max(limit.interval_ms * 1_000_000 // BUCKETS, 1)
        if width != self._width:
            self._buckets.clear()
            self._total, self._width = 0, width
        now = now_ns // width
        while self._buckets and now - self._buckets[0][0] > BUCKETS:
            self._total -= self._buckets.popleft()[1]
        if self._total < limit.max_requests:
            if not self._buckets or self._buckets[-1][0] != now:
                self._buckets.append([now, 0])
            self._buckets[-1][1] += 1
            self._total += 1
            return Reservation(
                granted=True, remaining=limit.max_requests - self._total, limit=limit.max_requests
            )
        return _refused((self._buckets[0][0] + BUCKETS + 1) * width - now_ns, limit)


def _refused(wait_ns: int, limit: RateLimit) -> Reservation:
    return Reservation(
        granted=False, remaining=0, limit=limit.max_requests, retry_after_ms=max(-(-wait_ns // 1_000_000), 1)
    )


class Limiter:
    """Windows by client, in this process. Keys unused the longest are forgotten past `MAX_KEYS`."""

    def __init__(self) -> None:
        self._windows: OrderedDict[tuple[str, bool], Window] = OrderedDict()

    def reserve(self, key: str, limit: RateLimit | None, *, now_ns: int | None = None) -> Reservation | None:
        """None when there is no limit. `now_ns` is monotonic."""
        if limit is None:
            return None
        exact = limit.max_requests <= EXACT_UP_TO
        place = (key, exact)
        window = self._windows.get(place)
        if window is None:
            window = self._windows[place] = ExactWindow() if exact else BucketWindow()
            if len(self._windows) > MAX_KEYS:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(place)
        return window.reserve(time.monotonic_ns() if now_ns is None else now_ns, limit)


class FailureGuard:
    """Failed tokens per address: past the limit, further failures are answered 429 until the minute is over.

    A good token is never held up, because only failures are counted and asked about.
    """

    def __init__(self, limit: int = 50, interval_ms: int = 60_000) -> None:
        self._limit = RateLimit(max_requests=limit, interval_ms=interval_ms)
        self._limiter = Limiter()

    def note(self, address: str) -> int | None:
        """Counts one failure. Milliseconds to wait when there were too many already, else None."""
        reserved = self._limiter.reserve(address, self._limit)
        return None if reserved is None or reserved.granted else reserved.retry_after_ms
