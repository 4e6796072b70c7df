"""Pages of the record by keyset: no counting, no skipping, and bounded work however rare the matches are.

Each filtered column has an index by (column, time), so that one filter alone is read off its index. Of several,
one is followed and the others are looked at beside it. Which one is rarest shows in how far back a number of its
rows reaches; that is asked again for each stretch, and a stretch ends where the followed column's rows do. Two
filters that are both frequent and never meet would still mean to read most of the table: after `BUDGET_S` the
page says how far it looked, and goes on from there when asked.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, Func, Max, Min, Q, QuerySet
from django.db.models.lookups import In

from telemetry.criteria import Criteria, Place, Term
from telemetry.models import RequestLog

PAGE = 50
STRETCH, LONGEST_STRETCH = 500, 16_000
LEFT_OUT = ("attempts", "decision", "sanitised")
"""What a line of the list does not show, and what would take the longest to read."""
BUDGET_S = 0.15
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=2**128 - 1)
Rows = QuerySet[RequestLog]


@dataclass(frozen=True, slots=True)
class Found:
    """`rows`: newest first, `PAGE` at most. `more`: whether others lie behind them, in the direction of reading.

    `looked_to`: set when the search stopped before the end; all calls this side of it have been looked at.
    """

    rows: list[RequestLog]
    more: bool = False
    looked_to: Place | None = None


class Beside(Func):
    """A column that no index is used for, so that the one which was chosen is."""

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **more)

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        number = self.source_expressions[0].output_field.get_internal_type().endswith("IntegerField")  # type: ignore[attr-defined]
        nothing = "+ 0" if number else "|| ''"
        return self.as_sql(compiler, connection, template=f"(%(expressions)s {nothing})", **more)


class Direction:
    """Older is read from newest to oldest; newer the other way round."""

    def __init__(self, *, older: bool) -> None:
        self.older = older
        self._sign, self._edge = ("-", Min) if older else ("", Max)
        self._before, self._upto = ("lt", "gte") if older else ("gt", "lte")

    def ordered(self, rows: Rows) -> Rows:
        return rows.order_by(f"{self._sign}started_at", f"{self._sign}call_id")

    def behind(self, rows: Rows, place: Place) -> Rows:
        """The first condition is what the index understands, the second is exact."""
        bound = "lte" if self.older else "gte"
        exact = Q(**{f"started_at__{self._before}": place.started_at})
        exact |= Q(**{f"call_id__{self._before}": place.call_id})
        return rows.filter(exact, **{f"started_at__{bound}": place.started_at})

    def upto(self, rows: Rows, moment: datetime) -> Rows:
        return rows.filter(**{f"started_at__{self._upto}": moment})

    def past(self, rows: Rows, moment: datetime) -> Rows:
        return rows.filter(**{f"started_at__{self._before}": moment})

    def edge(self, rows: Rows, term: Term, most: int) -> datetime | None:
        """The farthest moment up to which this term has no more than `most` rows; None when it has none."""
        share = max(most // len(term.values), 1)
        edges = [self._edge_of(rows.filter(**{term.column: value}), share) for value in term.values]
        there = [edge for edge in edges if edge is not None]
        if not there:
            return None
        return max(there) if self.older else min(there)

    def _edge_of(self, rows: Rows, most: int) -> datetime | None:
        sign = f"{self._sign}started_at"
        within = rows.order_by(sign).values("started_at")[:most]
        found: datetime | None = within.aggregate(edge=self._edge("started_at"))["edge"]
        return found

    def farthest(self, edges: Iterable[datetime]) -> datetime:
        return min(edges) if self.older else max(edges)

    def end_of(self, moment: datetime) -> Place:
        """Behind everything that began at this moment."""
        return Place(moment, FIRST_ID if self.older else LAST_ID)


def find(
    criteria: Criteria, place: Place | None = None, *, older: bool = True, budget_s: float = BUDGET_S
) -> Found:
    """The page behind `place`, or the newest (with `older` false: the oldest) without one."""
    way = Direction(older=older)
    rows = _within(criteria)
    if place is not None:
        rows = way.behind(rows, place)
    terms = _terms(criteria)
    if _is_read_off(terms):
        found = _read(way, rows.filter(*(_is(term) for term in terms)), PAGE + 1)
        return _page(way, found, None)
    return _in_stretches(way, rows, terms, time.monotonic() + budget_s)


def _in_stretches(way: Direction, rows: Rows, terms: tuple[Term, ...], until: float) -> Found:
    found: list[RequestLog] = []
    length = STRETCH
    while True:
        edges = {}
        for term in terms:
            edge = way.edge(rows, term, length)
            if edge is None:
                return _page(way, found, None)
            edges[term] = edge
        end = way.farthest(edges.values())
        followed = next(term for term, edge in edges.items() if edge == end)
        conditions = [_is(term) if term is followed else _is_beside(term) for term in terms]
        found += _read(way, way.upto(rows, end).filter(*conditions), PAGE + 1 - len(found))
        if len(found) > PAGE:
            return _page(way, found, None)
        if time.monotonic() > until:
            return _page(way, found, way.end_of(end))
        rows = way.past(rows, end)
        length = min(length * 4, LONGEST_STRETCH)


def _within(criteria: Criteria) -> Rows:
    rows = RequestLog.objects.defer(*LEFT_OUT)
    if criteria.since:
        rows = rows.filter(started_at__gte=criteria.since)
    return rows.filter(started_at__lt=criteria.until) if criteria.until else rows


def _terms(criteria: Criteria) -> tuple[Term, ...]:
    """What is looked for as a trace may be a call's id: ours are tried first, as there can be one only."""
    if not criteria.trace:
        return criteria.terms
    call_id = criteria.call_id
    if call_id and RequestLog.objects.filter(call_id=call_id).exists():
        return (*criteria.terms, Term("call_id", (call_id,)))
    return (*criteria.terms, Term("trace_id", (criteria.trace,)))


def _is_read_off(terms: tuple[Term, ...]) -> bool:
    """Whether one index has the rows in order, or one row is all there can be."""
    if any(term.column == "call_id" for term in terms):
        return True
    return not terms or (len(terms) == 1 and len(terms[0].values) == 1)


def _is(term: Term) -> Q:
    if len(term.values) == 1:
        return Q(**{term.column: term.values[0]})
    return Q(**{f"{term.column}__in": term.values})


def _is_beside(term: Term) -> Q:
    return Q(In(Beside(F(term.column)), term.values))


def _read(way: Direction, rows: Rows, most: int) -> list[RequestLog]:
    return list(way.ordered(rows)[:most])


def _page(way: Direction, found: list[RequestLog], looked_to: Place | None) -> Found:
    rows = found[:PAGE]
    return Found(rows if way.older else rows[::-1], len(found) > PAGE, looked_to)
