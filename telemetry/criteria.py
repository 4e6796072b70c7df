"""What somebody looks for in the record, and a place in its order. Pure: nothing here asks the database."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from telemetry.families import MODEL_METHODS
from telemetry.types import UNKNOWN

SERVED = ("ok",)
REFUSED = (
    *("BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "RATE_LIMIT", "OVERLOADED"),
    "AUDIT_UNAVAILABLE",
)
FAILED = (
    *("TEMPORARY", "PERMANENT", "AUTH", "CONFIG", "DEADLINE_EXCEEDED", "INTERNAL_ERROR"),
    UNKNOWN,
)
BROKEN_OFF = ("CLIENT_CLOSED", "DRAINED")
CLASSES: Mapping[str, tuple[str, ...]] = {
    "served": SERVED,
    "refused": REFUSED,
    "failed": FAILED,
    "broken-off": BROKEN_OFF,
}
"""How a call can have ended, in a word, and the outcomes that say so."""
OF_MODELS = "of-models"
METHOD_CLASSES: Mapping[str, tuple[str, ...]] = {OF_MODELS: MODEL_METHODS}
"""A word for several methods: most clients ask for health and models far more often than for an answer."""
STATE = {"served": "ok", "refused": "degraded", "failed": "failed", "broken-off": "off"}
"""How pages mark a class."""
NOT_THE_FIRST: Mapping[str, str] = {"caller-override": "named by the caller", "fallback": "as a fallback"}
"""How a provider came to be chosen, for a line of a list. The usual way is not told."""
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


class Detail(NamedTuple):
    """What no index knows, so that row after row is looked at. `name`: what in a row, of these.

    `asked`: a provider, in any attempt; `strategy`: the whole code; `reason`: a part of it, in any case.
    """

    name: str
    value: str

    def matches(self, row: Mapping[str, Any]) -> bool:
        if self.name == "asked":
            return self.value in providers_in(row.get("asked", row.get("attempts")))
        told: str = row[self.name]
        return told == self.value if self.name == "strategy" else self.value.casefold() in told.casefold()


def providers_in(attempts: Any) -> list[Any]:
    """Whom these attempts asked. As JSON or what it says; what somebody made unreadable asked nobody."""
    try:
        told = json.loads(attempts) if isinstance(attempts, str | bytes) else attempts
    except (ValueError, RecursionError):
        return []
    return [one.get("provider") for one in told if isinstance(one, dict)] if isinstance(told, list) else []


@dataclass(frozen=True, slots=True)
class Criteria:
    """All of it has to be so. `since` ≤ started_at < `until`. `trace`: the id of a trace, or of the call."""

    since: datetime | None = None
    until: datetime | None = None
    terms: tuple[Term, ...] = ()
    trace: str = ""
    details: tuple[Detail, ...] = ()

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
        return all(one.matches(row) for one in (*self.terms, *self.details))


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
