"""Calls without a good token, and failed logins of staff, summed up by address, minute and kind: what is on record of who is nobody's client.

Counts are told to the journal as they stand, each process its own, again whenever they grew: a line that is read
twice changes nothing, and one that was lost is made good by the next. Never a token, nor its digest.
"""

import os
import threading
from collections.abc import Callable
from itertools import islice

import msgspec

KINDS = {
    "missing": "no token",
    "unknown": "unknown token",
    "expired": "expired token",
    "revoked": "revoked token",
    "disabled": "token of a disabled client",
    "ambiguous": "two different tokens",
    "password": "wrong name or password of staff",
    "code": "wrong second factor of staff",
}
"""How the gateway knows it. The client is told less."""
MAX_ADDRESSES = 100
"""A minute's addresses that have rows of their own, in each process; the rest are one."""
MAX_HELD = 20_000
OTHERS = "other addresses"
SEVERAL = "several"
MINUTE_S = 60
SET_BACK_S = 2 * MINUTE_S
"""By so much a clock may be corrected within the minute that is counted; by more, it was wrong before."""
COUNTS_A_LINE = 50


class FailureCount(msgspec.Struct, frozen=True, kw_only=True):
    """`minute`, `first_at`, `last_at`: epoch seconds. `count`: of this minute, so far, in one process."""

    minute: int
    address: str
    kind: str
    route: str
    count: int
    first_at: float
    last_at: float


class FailureCounts(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the journal. `process` names whose counts they are."""

    process: str
    counts: tuple[FailureCount, ...]


Key = tuple[str, int, str, str]
"""Whose count, which minute, which address, which kind."""


class _Counted:
    __slots__ = ("count", "first_at", "last_at", "route")

    def __init__(self, route: str, now: float) -> None:
        self.route, self.count, self.first_at, self.last_at = route, 0, now, now


class FailureTally:
    """The counts of one process. For any thread: clients are met on the event loop, staff in threads."""

    def __init__(self) -> None:
        self._process = os.urandom(8).hex()
        self._lock = threading.Lock()
        self._counted: dict[Key, _Counted] = {}
        self._grown: set[Key] = set()
        self._addresses: set[str] = set()
        self._minute = 0

    def note(self, *, address: str, kind: str, route: str, now: float) -> None:
        with self._lock:
            self._note(address, kind, route, now)

    def _note(self, address: str, kind: str, route: str, now: float) -> None:
        minute = int(now // MINUTE_S) * MINUTE_S
        if minute < self._minute - SET_BACK_S:
            # The counts of a minute that comes again may have been let go: from here on they are another process's.
            self._process = os.urandom(8).hex()
            self._minute = 0
        if minute > self._minute:
            self._minute, self._addresses = minute, set()
        key = (self._process, self._minute, self._named(address), kind)
        counted = self._counted.get(key)
        if counted is None:
            counted = self._counted[key] = _Counted(route, now)
        counted.count += 1
        counted.last_at = now
        if counted.route != route:
            counted.route = SEVERAL
        self._grown.add(key)

    def _named(self, address: str) -> str:
        """The address, or what it is counted under when there are too many."""
        if address in self._addresses:
            return address
        if len(self._addresses) >= MAX_ADDRESSES or len(self._counted) >= MAX_HELD:
            return OTHERS
        self._addresses.add(address)
        return address

    def flush(self, write: Callable[[FailureCounts], None]) -> None:
        """Writes what grew since the last time. What `write` raises goes through; nothing is lost by it."""
        with self._lock:
            while self._grown:
                process = next(iter(self._grown))[0]
                keys = tuple(islice((key for key in self._grown if key[0] == process), COUNTS_A_LINE))
                write(FailureCounts(process=process, counts=tuple(self._told(key) for key in keys)))
                self._grown.difference_update(keys)
            current = (self._process, self._minute)
            for key in [key for key in self._counted if key[:2] != current]:
                del self._counted[key]

    def _told(self, key: Key) -> FailureCount:
        (_, minute, address, kind), counted = key, self._counted[key]
        return FailureCount(
            minute=minute,
            address=address,
            kind=kind,
            route=counted.route,
            count=counted.count,
            first_at=counted.first_at,
            last_at=counted.last_at,
        )
