"""Keeps the roll-ups: sums of calls by minute, hour and day, over all, by provider and by client.

Only the journal's writer writes them, in the transaction that adds the rows themselves: each call counts once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from django.db import transaction
from django.db.models import Q

from telemetry.bulk import read, upsert
from telemetry.models import CallRollup, RequestLog
from telemetry.sums import Sum, longest_possible

Key = tuple[str, str, datetime, str]
"""Period, dimension, start, name: what is unique in the table."""
KEY = ("period", "dimension", "start", "name")
SUMMED = tuple(field.name for field in fields(Sum))
READ = (
    *("started_at", "tool_id", "provider", "outcome", "duration_ms"),
    *("first_event_ms", "input_tokens", "output_tokens"),
)
KEPT = {"minute": timedelta(days=2), "hour": timedelta(days=35)}
"""How long a period's rows are kept; days are kept for good."""
DIMENSIONS = tuple(name for name, _ in CallRollup.DIMENSIONS)


def floor(moment: datetime, period: str) -> datetime:
    """The start of the minute, hour or day (UTC) that the moment lies in."""
    minute = moment.replace(second=0, microsecond=0)
    if period == "minute":
        return minute
    return minute.replace(minute=0) if period == "hour" else minute.replace(minute=0, hour=0)


def add(rows: Iterable[RequestLog]) -> None:
    """Adds new rows of the record. Runs inside the transaction that stores them."""
    minutes = by_minute(rows)
    hours = coarser(minutes, "hour")
    sums = {**minutes, **hours, **coarser(hours, "day")}
    for key, summed in _stored(sums):
        known = sums.get(key)
        if known is not None:
            known.merge(stored(*summed))
    _write(sums)


def by_minute(rows: Iterable[Any]) -> dict[Key, Sum]:
    """`rows`: calls with `started_at`, `tool_id` and what `Sum` asks of them. Without provider: not under one."""
    sums: dict[Key, Sum] = defaultdict(Sum)
    for row in rows:
        start = floor(row.started_at, "minute")
        sums["minute", "all", start, ""].add(row)
        sums["minute", "client", start, row.tool_id].add(row)
        if row.provider:
            sums["minute", "provider", start, row.provider].add(row)
    return dict(sums)


def coarser(sums: Mapping[Key, Sum], period: str) -> dict[Key, Sum]:
    found: dict[Key, Sum] = {}
    for (_, dimension, start, name), part in sums.items():
        key = period, dimension, floor(start, period), name
        if key in found:
            found[key].merge(part)
        else:
            found[key] = part.copy()
    return found


def _stored(keys: Iterable[Key]) -> Iterator[tuple[Key, tuple[Any, ...]]]:
    """Keys and `SUMMED` of the rows there are of these, in one query, which may find some of their neighbours too."""
    groups: dict[tuple[str, str], tuple[set[datetime], set[str]]] = defaultdict(lambda: (set(), set()))
    for period, dimension, start, name in keys:
        starts, names = groups[period, dimension]
        starts.add(start)
        names.add(name)
    wanted = Q()
    for (period, dimension), (starts, names) in groups.items():
        wanted |= Q(period=period, dimension=dimension, start__in=starts, name__in=names)
    if groups:
        for row in read(CallRollup.objects.filter(wanted), (*KEY, *SUMMED)):
            yield row[: len(KEY)], row[len(KEY) :]


def stored(*summed: Any) -> Sum:
    """From a row's columns, `SUMMED` in order."""
    found = Sum(*summed)
    if found.longest_ms is None:
        found.longest_ms = longest_possible(found.latency)
        found.longest_first_event_ms = longest_possible(found.first_event)
    return found


def _write(sums: Mapping[Key, Sum]) -> None:
    columns = attrgetter(*SUMMED)
    upsert(CallRollup, KEY, SUMMED, [(*key, *columns(part)) for key, part in sums.items()])


def prune(now: datetime) -> None:
    """Removes minutes and hours past their time. Sends no signals: they are no change of configuration."""
    for period, kept in KEPT.items():
        old = CallRollup.objects.filter(period=period, dimension__in=DIMENSIONS, start__lt=now - kept)
        old._raw_delete(old.db)


def rebuild(now: datetime) -> None:
    """Sums the record up where that was never done, or by a version that kept less: after an update.

    Newest day first, a day a transaction, each replacing what there was. One that was cut off begins again,
    because the oldest day, the last one done, tells whether all are. No other writer may run meanwhile.
    """
    oldest = RequestLog.objects.order_by("started_at").values_list("started_at", flat=True).first()
    if oldest is None or _is_summed_up(floor(oldest, "day")):
        return
    newest_first = RequestLog.objects.order_by("-started_at").values_list("started_at", flat=True)
    newest = newest_first.first()
    while newest is not None:
        day = floor(newest, "day")
        with transaction.atomic():
            _rebuild_day(day, now)
        newest = newest_first.filter(started_at__lt=day).first()


def _is_summed_up(day: datetime) -> bool:
    found = CallRollup.objects.filter(period="day", dimension="all", start=day)
    return found.exclude(longest_ms=None).exists()


def _rebuild_day(day: datetime, now: datetime) -> None:
    hours: dict[Key, Sum] = {}
    for hour in (day + timedelta(hours=n) for n in range(24)):
        rows = RequestLog.objects.filter(started_at__gte=hour, started_at__lt=hour + timedelta(hours=1))
        minutes = by_minute(rows.values_list(*READ, named=True))
        if hour >= now - KEPT["minute"]:
            _replace(minutes)
        hours |= coarser(minutes, "hour")
    if day >= now - KEPT["hour"]:
        _replace(hours)
    _replace(coarser(hours, "day"))


def _replace(sums: dict[Key, Sum]) -> None:
    """Where more was counted than the record still holds, what was counted stays: somebody removed old rows."""
    for key, summed in _stored(sums):
        there = stored(*summed)
        if key in sums and there.calls > sums[key].calls:
            sums[key] = there
    _write(sums)
