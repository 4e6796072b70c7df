"""What somebody looks for in the record, and a place in its order. Pure: nothing here asks the database."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

SERVED = ("ok",)
REFUSED = (
    *("BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "RATE_LIMIT", "OVERLOADED"),
    "AUDIT_UNAVAILABLE",
)
FAILED = (
    *("TEMPORARY", "PERMANENT", "AUTH", "CONFIG", "DEADLINE_EXCEEDED", "INTERNAL_ERROR"),
    "UNKNOWN",
)
BROKEN_OFF = ("CLIENT_CLOSED", "DRAINED")
CLASSES: Mapping[str, tuple[str, ...]] = {
    "served": SERVED,
    "refused": REFUSED,
    "failed": FAILED,
    "broken-off": BROKEN_OFF,
}
"""How a call can have ended, in a word, and the outcomes that say so."""
STATE = {"served": "ok", "refused": "degraded", "failed": "failed", "broken-off": "off"}
"""How pages mark a class."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MOMENT = datetime.max.replace(tzinfo=UTC)
_PLACE = re.compile(r"(\d{1,18})-([0-9a-f]{32})", re.ASCII)


def class_of(outcome: str) -> str:
    """An outcome of a later version is a failure until it is known to be something else."""
    return next((name for name, outcomes in CLASSES.items() if outcome in outcomes), "failed")


class Term(NamedTuple):
    """A column that holds one of these values."""

    column: str
    values: tuple[Any, ...]

    def matches(self, row: Mapping[str, Any]) -> bool:
        return row[self.column] in self.values


@dataclass(frozen=True, slots=True)
class Criteria:
    """All of it has to be so. `since` ≤ started_at < `until`. `trace`: the id of a trace, or of the call."""

    since: datetime | None = None
    until: datetime | None = None
    terms: tuple[Term, ...] = ()
    trace: str = ""

    @property
    def call_id(self) -> UUID | None:
        """What `trace` is, read as the id of a call."""
        try:
            return UUID(self.trace) if self.trace else None
        except ValueError:
            return None

    def matches(self, row: Mapping[str, Any]) -> bool:
        """As the database would find it. `row`: its columns by name."""
        if self.since and row["started_at"] < self.since:
            return False
        if self.until and row["started_at"] >= self.until:
            return False
        if self.trace and self.trace != row["trace_id"] and self.call_id != row["call_id"]:
            return False
        return all(term.matches(row) for term in self.terms)


class Place(NamedTuple):
    """In the order of the record, which is that of time and then of call ids."""

    started_at: datetime
    call_id: UUID

    def encode(self) -> str:
        return f"{(self.started_at - EPOCH) // timedelta(microseconds=1)}-{self.call_id.hex}"


def read_place(text: str) -> Place:
    """Raises `ValueError` for what `Place.encode` does not write."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError("no place in the record")
    try:
        return Place(EPOCH + timedelta(microseconds=int(found[1])), UUID(found[2]))
    except OverflowError:
        raise ValueError("no place in the record") from None
