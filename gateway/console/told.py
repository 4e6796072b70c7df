"""The parts of a call's row that are kept as JSON, for the page that shows them. What somebody changed in the database
may have any shape: shown is what has the one that a gateway writes."""

from typing import Any, NamedTuple

import msgspec


class Considered(msgspec.Struct, frozen=True, kw_only=True):
    provider: str
    model: str = ""
    score: int | float = 0
    bonus: int | float = 0
    health: str = "unknown"
    excluded: str | None = None


class Routing(msgspec.Struct, frozen=True, kw_only=True):
    rule: str = ""
    considered: tuple[Considered, ...] = ()
    more: int = 0


class Rate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    max_requests: int
    interval_ms: int
    remaining: int = 0
    own: bool = False


class AtOnce(msgspec.Struct, frozen=True, kw_only=True):
    most: int
    granted: bool = True


class Decision(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    stage: str = ""
    routing: Routing | None = None
    unable: dict[str, str] = {}
    busy: tuple[str, ...] = ()
    rate: Rate | None = None
    concurrency: AtOnce | None = None
    trace_id: str = ""


class Attempt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    provider: str
    model: str
    duration_ms: int | None = None
    classification: str | None = None
    reason: str | None = None
    status: int | None = None


class Told(NamedTuple):
    """`odd`: the columns that say something else, which is not shown."""

    decision: Decision
    attempts: tuple[Attempt, ...]
    sanitised: dict[str, int]
    odd: list[str]


def told(call: Any) -> Told:
    odd: list[str] = []

    def read(column: str, kind: Any, instead: Any) -> Any:
        try:
            return msgspec.convert(getattr(call, column), kind)
        except msgspec.ValidationError:
            odd.append(column)
            return instead

    return Told(
        decision=read("decision", Decision, Decision()),
        attempts=read("attempts", tuple[Attempt, ...], ()),
        sanitised=read("sanitised", dict[str, int], {}),
        odd=odd,
    )
