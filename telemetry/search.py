"""Pages of the record by keyset: no counting, no skipping, and bounded work however rare the matches are.

Each filtered column has an index by (column, time), so that one filter alone is read off its index. Of several,
one is followed and the others are looked at beside it; where none is filtered, time itself is. Which one is rarest shows in how far back a number of its
rows reaches; that is asked again for each stretch, and a stretch ends where the followed column's rows do. Two
filters that are both frequent and never meet would still mean to read most of the table: after `BUDGET_S` the
page says how far it looked, and goes on from there when asked.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Max, Min, Q, QuerySet

from telemetry import odd_rows
from telemetry.criteria import Criteria, Place, Term
from telemetry.models import RequestLog
from telemetry.unindexed import is_beside, is_in

PAGE = 50
STRETCH, LONGEST_STRETCH, LONGEST_OF_ROWS = 500, 16_000, 4_000
"""Rows; the last where each row itself is read, and not only its place in indexes."""
LEFT_OUT = ("attempts", "decision", "sanitised")
"""What a line of the list does not show, and what would take the longest to read."""
BUDGET_S = 0.12
ONE_ROW = ("call_id", "sequence")
"""Columns of which a value belongs to one row; the second within its chain, which is named beside it."""
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


class Direction:
    """Older is read from newest to oldest; newer the other way round."""

    def __init__(self, criteria: Criteria, *, older: bool) -> None:
        self.older = older
        self._near, self._far = criteria.until, criteria.since
        if not older:
            self._near, self._far = criteria.since, criteria.until
        self._sign, self._edge = ("-", Min) if older else ("", Max)
        self._before, self._upto = ("lt", "gte") if older else ("gt", "lte")

    def start(self, place: Place | None) -> Place | None:
        """None where the period begins behind the place anyway."""
        if place is None or self._near is None:
            return place
        inside = place.started_at < self._near if self.older else place.started_at >= self._near
        return place if inside else None

    def rows(self, place: Place | None, end: datetime | None = None) -> Rows:
        """Of the period, behind `place`, up to `end` with it. One bound on each side: of two on the same, SQLite
        begins or ends at the first that it is told, and steps over the rows between."""
        rows = RequestLog.objects.defer(*LEFT_OUT)
        if place is not None:
            rows = self._behind(rows, place)
        elif self._near is not None:
            rows = rows.filter(**{f"started_at__{'lt' if self.older else 'gte'}": self._near})
        if end is not None:
            return rows.filter(**{f"started_at__{self._upto}": end})
        if self._far is not None:
            rows = rows.filter(**{f"started_at__{'gte' if self.older else 'lt'}": self._far})
        return rows

    def _behind(self, rows: Rows, place: Place) -> Rows:
        """Where calls of one moment are told apart, the first condition is what the index understands, the second
        is exact. Elsewhere an index alone has the answer."""
        bound = "lte" if self.older else "gte"
        exact = Q(**{f"started_at__{self._before}": place.started_at})
        if place == self.end_of(place.started_at):
            return rows.filter(exact)
        exact |= Q(**{f"call_id__{self._before}": place.call_id})
        return rows.filter(Q(**{f"started_at__{bound}": place.started_at}), exact)

    def read(self, rows: Rows, most: int) -> list[RequestLog]:
        return odd_rows.read(rows.order_by(f"{self._sign}started_at", f"{self._sign}call_id")[:most])

    def edge(self, rows: Rows, term: Term | None, most: int) -> datetime | None:
        """The farthest moment up to which this term (None: any row) has no more than `most` rows; None when it has none."""
        if term is None:
            return self._edge_of(rows, most)
        share = max(most // len(term.values), 1)
        edges = [self._edge_of(rows.filter(**{term.column: value}), share) for value in term.values]
        there = [edge for edge in edges if edge is not None]
        if not there:
            return None
        return max(there) if self.older else min(there)

    def _edge_of(self, rows: Rows, most: int) -> datetime | None:
        within = rows.order_by(f"{self._sign}started_at").values("started_at")[:most]
        try:
            found: datetime | None = within.aggregate(edge=self._edge("started_at"))["edge"]
        except odd_rows.UNREADABLE:
            return odd_rows.edge(within, older=self.older)
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
    way = Direction(criteria, older=older)
    place = way.start(place)
    terms = _terms(criteria)
    details = [is_in(detail) for detail in criteria.details]
    if _is_read_off(terms, details):
        conditions = [_is(term) for term in terms] + details
        return _page(way, way.read(way.rows(place).filter(*conditions), PAGE + 1), None)
    return _in_stretches(way, place, terms, details, budget_s)


def _in_stretches(
    way: Direction, place: Place | None, terms: tuple[Term, ...], details: list[Q], budget_s: float
) -> Found:
    found: list[RequestLog] = []
    began = last = time.monotonic()
    length, longest = STRETCH, LONGEST_OF_ROWS if details else LONGEST_STRETCH
    while True:
        edges = _edges(way, way.rows(place), terms, length)
        if edges is None:
            return _page(way, found, None)
        end = way.farthest(edges.values())
        followed = next(term for term, edge in edges.items() if edge == end)
        conditions = [_is(term) if term is followed else is_beside(term) for term in terms] + details
        found += way.read(way.rows(place, end).filter(*conditions), PAGE + 1 - len(found))
        if len(found) > PAGE:
            return _page(way, found, None)
        place = way.end_of(end)
        now = time.monotonic()
        # As long as there is time for, at the pace of this one.
        affordable = length * (budget_s - (now - began)) / max(now - last, 1e-6)
        length, last = min(length * 4, longest, int(affordable)), now
        if length < STRETCH:
            # Nothing behind it: then there is no time to run out of.
            left = _edges(way, way.rows(place), terms, 1) is not None
            return _page(way, found, place if left else None)


def _edges(
    way: Direction, rows: Rows, terms: tuple[Term, ...], length: int
) -> dict[Term | None, datetime] | None:
    """How far each term's next `length` rows reach; None when one has no rows left, so that nothing can be found."""
    edges = {}
    for term in terms or (None,):
        edge = way.edge(rows, term, length)
        if edge is None:
            return None
        edges[term] = edge
    return edges


def _terms(criteria: Criteria) -> tuple[Term, ...]:
    """What is looked for as a trace may be a call's id: ours are tried first, as there can be one only."""
    if not criteria.trace:
        return criteria.terms
    call_id = criteria.call_id
    if call_id and RequestLog.objects.filter(call_id=call_id).exists():
        return (*criteria.terms, Term("call_id", (call_id,)))
    return (*criteria.terms, Term("trace_id", (criteria.trace,)))


def _is_read_off(terms: tuple[Term, ...], details: list[Q]) -> bool:
    """Whether one index has the rows in order, or one row is all there can be."""
    if any(term.column in ONE_ROW for term in terms):
        return True
    if details:
        return False
    return not terms or (len(terms) == 1 and len(terms[0].values) == 1)


def _is(term: Term) -> Q:
    if len(term.values) == 1:
        return Q(**{term.column: term.values[0]})
    return Q(**{f"{term.column}__in": term.values})


def _page(way: Direction, found: list[RequestLog], looked_to: Place | None) -> Found:
    rows = found[:PAGE]
    return Found(rows if way.older else rows[::-1], len(found) > PAGE, looked_to)
