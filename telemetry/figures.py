"""What happened within a span of time, read from the roll-ups: a fixed number of queries, however many calls."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Sum as SumOf

from telemetry.criteria import CLASSES, class_of
from telemetry.models import CallRollup, RequestLog
from telemetry.rollups import SUMMED, floor, stored
from telemetry.sums import Percentiles, Sum, merged, percentiles

SHOWN_NAMES = 20
UNIT = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}


class Range(NamedTuple):
    """The last `length` periods of `whole`, the running one included, drawn from rows of `drawn`, `step` a point.

    Whole periods, so that what is drawn and what is listed by name are sums of the same calls.
    """

    label: str
    length: int
    whole: str
    drawn: str
    step: timedelta

    def start(self, now: datetime) -> datetime:
        return floor(now, self.whole) - (self.length - 1) * UNIT[self.whole]


RANGES = {
    "1h": Range("1 hour", 60, "minute", "minute", timedelta(minutes=1)),
    "24h": Range("24 hours", 24, "hour", "minute", timedelta(minutes=15)),
    "7d": Range("7 days", 7, "day", "hour", timedelta(hours=3)),
    "30d": Range("30 days", 30, "day", "hour", timedelta(hours=12)),
}


@dataclass(frozen=True, slots=True)
class Figures:
    """Of some calls. `ended`: how, by the classes that the record is filtered by: class → outcomes and their calls,
    most first. `first_event`: time to the first token or event."""

    calls: int
    input_tokens: int
    output_tokens: int
    ended: Mapping[str, tuple[tuple[str, int], ...]]
    latency: Percentiles | None
    first_event: Percentiles | None

    def count(self, class_name: str) -> int:
        return sum(calls for _, calls in self.ended[class_name])


class Point(NamedTuple):
    """`minutes`: how long it lasted; the running one is not over yet."""

    start: datetime
    minutes: float
    figures: Figures


class Named(NamedTuple):
    name: str
    figures: Figures


class Reading(NamedTuple):
    """`providers`, `clients`: the busiest, `SHOWN_NAMES` at most; `more_*`: whether there are others."""

    points: tuple[Point, ...]
    total: Figures
    providers: tuple[Named, ...]
    more_providers: bool
    clients: tuple[Named, ...]
    more_clients: bool


def is_recorded() -> bool:
    """Whether any call has ever been."""
    return RequestLog.objects.exists()


def read(span: Range, now: datetime) -> Reading:
    """Five queries. Without calls every figure is 0 or None. A clock that went back leaves rows of the future out."""
    start = span.start(now)
    rows = CallRollup.objects.filter(period=span.drawn, dimension="all", start__range=(start, now))
    sums = [(row[0], stored(*row[1:])) for row in rows.values_list("start", *SUMMED)]
    providers, more_providers = _by_name(span, "provider", now)
    clients, more_clients = _by_name(span, "client", now)
    return Reading(
        points=tuple(points(sums, start, span.step, now)),
        total=_figures(merged(part for _, part in sums)),
        providers=providers,
        more_providers=more_providers,
        clients=clients,
        more_clients=more_clients,
    )


def points(
    sums: Iterable[tuple[datetime, Sum]], start: datetime, step: timedelta, now: datetime
) -> Iterable[Point]:
    """One for each step until now, also where nothing was called."""
    steps: dict[int, Sum] = defaultdict(Sum)
    for moment, part in sums:
        steps[(moment - start) // step].merge(part)
    for n in range((now - start) // step + 1):
        began = start + n * step
        lasted = max(min(step, now - began), timedelta(minutes=1))
        yield Point(began, lasted / timedelta(minutes=1), _figures(steps[n]))


def _by_name(span: Range, dimension: str, now: datetime) -> tuple[tuple[Named, ...], bool]:
    """The busiest are found first: only their histograms are read."""
    lasting = (span.start(now), now)
    rows = CallRollup.objects.filter(period=span.whole, dimension=dimension, start__range=lasting)
    ranked = rows.values("name").annotate(total=SumOf("calls")).order_by("-total", "name")
    names: Sequence[Any] = ranked.values_list("name", flat=True)[: SHOWN_NAMES + 1]
    shown = list(names)[:SHOWN_NAMES]
    sums: dict[str, Sum] = {name: Sum() for name in shown}
    for name, *summed in rows.filter(name__in=shown or [""]).values_list("name", *SUMMED):
        if name in sums:
            sums[name].merge(stored(*summed))
    return tuple(Named(name, _figures(sums[name])) for name in shown), len(names) > SHOWN_NAMES


def _figures(part: Sum) -> Figures:
    return Figures(
        calls=part.calls,
        input_tokens=part.input_tokens,
        output_tokens=part.output_tokens,
        ended={name: _most_first(part.outcomes, name) for name in CLASSES},
        latency=percentiles(part.latency, part.longest_ms),
        first_event=percentiles(part.first_event, part.longest_first_event_ms),
    )


def _most_first(outcomes: Mapping[str, int], class_name: str) -> tuple[tuple[str, int], ...]:
    counted = ((code, calls) for code, calls in outcomes.items() if calls and class_of(code) == class_name)
    return tuple(sorted(counted, key=lambda item: (-item[1], item[0])))
