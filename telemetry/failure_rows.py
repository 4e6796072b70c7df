"""The rows of failed authentication: kept by the journal's writer, one for each address, minute and kind."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from django.db import transaction

from telemetry.failures import SEVERAL, FailureCount, FailureCounts
from telemetry.models import FailedAuthentication

Key = tuple[datetime, str, str]
KEY = ("started_at", "address", "kind")
SUMMED = ("route", "count", "first_seen", "last_seen", "counted_by")
ROWS_A_STATEMENT = 500
LARGEST = 2**31 - 1


def store(lines: Iterable[FailureCounts]) -> None:
    """Each process's count of a row only grows, so that a line read twice, or out of order, changes nothing."""
    told: dict[Key, list[tuple[str, FailureCount]]] = defaultdict(list)
    for line in lines:
        for count in line.counts:
            told[_at(count.minute), count.address[:64], count.kind[:20]].append((line.process, count))
    if not told:
        return
    with transaction.atomic():
        rows = _stored(told)
        for key, parts in told.items():
            row = rows.get(key) or FailedAuthentication(**dict(zip(KEY, key, strict=True)))
            rows[key] = row
            for process, count in parts:
                _merge(row, process, count)
        FailedAuthentication.objects.bulk_create(
            [rows[key] for key in told],
            batch_size=ROWS_A_STATEMENT,
            update_conflicts=True,
            unique_fields=KEY,
            update_fields=SUMMED,
        )


def _stored(keys: Iterable[Key]) -> dict[Key, FailedAuthentication]:
    moments = {moment for moment, _, _ in keys}
    rows = FailedAuthentication.objects.filter(started_at__in=moments)
    return {(row.started_at, row.address, row.kind): row for row in rows}


def _merge(row: FailedAuthentication, process: str, count: FailureCount) -> None:
    first, last = _at(count.first_at), _at(count.last_at)
    row.counted_by = row.counted_by | {process: max(row.counted_by.get(process, 0), count.count)}
    row.count = min(sum(row.counted_by.values()), LARGEST)
    row.first_seen = min(row.first_seen or first, first)
    row.last_seen = max(row.last_seen or last, last)
    row.route = count.route[:100] if row.route in ("", count.route) else SEVERAL


def _at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def prune(now: datetime, days: int) -> None:
    old = FailedAuthentication.objects.filter(started_at__lt=now - timedelta(days=days))
    old._raw_delete(old.db)
