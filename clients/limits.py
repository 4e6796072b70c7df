"""Exact sliding windows: never more than the limit in any interval, no burst at a window's edge.

The times of the last calls are kept as they are, up to 10,000 a window; above that they are counted in
1/100 windows, each counted until the whole of it is out, so that the limit is never exceeded.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice, repeat
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


Calls = Iterable[tuple[int, int]]
"""`(time in ns, how many)`, oldest first."""


class Window(Protocol):
    def peek(self, now_ns: int, limit: RateLimit) -> Reservation: ...

    def reserve(self, now_ns: int, limit: RateLimit) -> Reservation: ...

    def calls(self) -> Iterator[tuple[int, int]]: ...


class ExactWindow:
    __slots__ = ("_times",)

    def __init__(self, calls: Calls = ()) -> None:
        newest_first = chain.from_iterable(repeat(at, count) for at, count in reversed(list(calls)))
        self._times: deque[int] = deque(reversed(list(islice(newest_first, EXACT_UP_TO))))

    def calls(self) -> Iterator[tuple[int, int]]:
        return ((at, 1) for at in self._times)

    def peek(self, now_ns: int, limit: RateLimit) -> Reservation:
        """What `reserve` would find; `remaining` counts the call that is thought of."""
        times, interval = self._times, limit.interval_ms * 1_000_000
        while times and now_ns - times[0] >= interval:
            times.popleft()
        if len(times) < limit.max_requests:
            return _granted(limit, len(times))
        # After a limit was lowered there may be more calls in the window than are allowed now.
        frees = times[len(times) - limit.max_requests] + interval if limit.max_requests else now_ns + interval
        return _refused(frees - now_ns, limit)

    def reserve(self, now_ns: int, limit: RateLimit) -> Reservation:
        found = self.peek(now_ns, limit)
        if found.granted:
            # Times taken over from buckets may lie ahead; the order is kept all the same.
            self._times.append(max(now_ns, self._times[-1]) if self._times else now_ns)
        return found


class BucketWindow:
    """Calls per 1/100 interval: `[end of the bucket in ns, count]`."""

    __slots__ = ("_buckets", "_total")

    def __init__(self, calls: Calls = ()) -> None:
        self._buckets: deque[list[int]] = deque([at, count] for at, count in calls)
        self._total = sum(count for _, count in self._buckets)

    def calls(self) -> Iterator[tuple[int, int]]:
        return ((end, count) for end, count in self._buckets)

    def peek(self, now_ns: int, limit: RateLimit) -> Reservation:
        buckets, interval = self._buckets, limit.interval_ms * 1_000_000
        while buckets and now_ns - buckets[0][0] >= interval:
            self._total -= buckets.popleft()[1]
        if self._total < limit.max_requests:
            return _granted(limit, self._total)
        return _refused(self._frees(now_ns, limit) + interval - now_ns, limit)

    def reserve(self, now_ns: int, limit: RateLimit) -> Reservation:
        found = self.peek(now_ns, limit)
        if found.granted:
            if not self._buckets or self._buckets[-1][0] <= now_ns:
                width = limit.interval_ms * 1_000_000 // BUCKETS
                self._buckets.append([(now_ns // width + 1) * width, 0])
            self._buckets[-1][1] += 1
            self._total += 1
        return found

    def _frees(self, now_ns: int, limit: RateLimit) -> int:
        """The end of the bucket with which enough calls are out; the first, unless the limit was lowered."""
        left = self._total
        for end, count in self._buckets:
            left -= count
            if left < limit.max_requests:
                return end
        return now_ns


def _granted(limit: RateLimit, before: int) -> Reservation:
    return Reservation(granted=True, remaining=limit.max_requests - before - 1, limit=limit.max_requests)


def _refused(wait_ns: int, limit: RateLimit) -> Reservation:
    return Reservation(
        granted=False, remaining=0, limit=limit.max_requests, retry_after_ms=max(-(-wait_ns // 1_000_000), 1)
    )


class Limiter:
    """Windows by client, in this process. Keys unused the longest are forgotten past `MAX_KEYS`."""

    def __init__(self) -> None:
        self._windows: OrderedDict[str, Window] = OrderedDict()

    def reserve(self, key: str, limit: RateLimit | None, *, now_ns: int | None = None) -> Reservation | None:
        """None when there is no limit. `now_ns` is monotonic."""
        if limit is None:
            return None
        kind = ExactWindow if limit.max_requests <= EXACT_UP_TO else BucketWindow
        window = self._windows.get(key)
        if not isinstance(window, kind):
            # A limit that was changed while running keeps what has been called under the old one.
            window = self._windows[key] = kind(window.calls() if window else ())
            if len(self._windows) > MAX_KEYS:
                self._windows.popitem(last=False)
        self._windows.move_to_end(key)
        return window.reserve(time.monotonic_ns() if now_ns is None else now_ns, limit)

    def peek(self, key: str, limit: RateLimit | None) -> Reservation | None:
        """What `reserve` would say now, without counting anything."""
        if limit is None:
            return None
        window = self._windows.get(key)
        return window.peek(time.monotonic_ns(), limit) if window is not None else _granted(limit, 0)


class Concurrency:
    """How many calls of each client are under way in this process. Only clients that have a limit are counted."""

    def __init__(self) -> None:
        self._running: dict[str, int] = {}

    def running(self, key: str) -> int:
        return self._running.get(key, 0)

    def enter(self, key: str, most: int) -> bool:
        """False when `most` are under way already; else `leave` is owed."""
        running = self._running.get(key, 0)
        if running >= most:
            return False
        self._running[key] = running + 1
        return True

    def leave(self, key: str) -> None:
        left = self._running[key] - 1
        if left:
            self._running[key] = left
        else:
            del self._running[key]


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
