"""Keeps when each client last called each method: what tells grants that nobody uses.

Only the journal's writer writes it, in the transaction that adds the rows themselves. There are as many rows as
clients that ever called, times the methods; those that were not used for a year and more go.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db.models import Max

from telemetry.bulk import upsert
from telemetry.models import MethodUse, RequestLog

Use = tuple[str, str]
"""Client, method."""
KEPT = timedelta(days=400)
NOT_GRANTED = "FORBIDDEN"
"""The outcome of calls that use no grant: there is none, or not from that address."""


def add(rows: Iterable[RequestLog]) -> None:
    """Adds new rows of the record. Runs inside the transaction that stores them."""
    last: dict[Use, datetime] = {}
    for row in rows:
        if row.outcome != NOT_GRANTED:
            use = row.tool_id, row.method
            last[use] = max(row.started_at, last.get(use, row.started_at))
    clients, methods = {client for client, _ in last}, {method for _, method in last}
    known = MethodUse.objects.filter(tool_id__in=clients, method__in=methods)
    for client, method, at in known.values_list("tool_id", "method", "last_at") if last else ():
        use = client, method
        if use in last:
            last[use] = max(last[use], at)
    _write(last)


def _write(last: dict[Use, datetime]) -> None:
    upsert(MethodUse, ("tool_id", "method"), ("last_at",), [(*use, at) for use, at in last.items()])


def rebuild(now: datetime) -> None:
    """From the record, where that was never done: after an update. No other writer may run meanwhile."""
    if MethodUse.objects.exists():
        return
    used = RequestLog.objects.filter(started_at__gte=now - KEPT).exclude(outcome=NOT_GRANTED)
    found = used.order_by().values_list("tool_id", "method").annotate(last=Max("started_at"))
    _write({(client, method): at for client, method, at in found})


def prune(now: datetime) -> None:
    """Sends no signals: it is no change of configuration."""
    old = MethodUse.objects.filter(last_at__lt=now - KEPT)
    old._raw_delete(old.db)


def since(moment: datetime) -> frozenset[Use]:
    """Which grants were used at that moment or later."""
    return frozenset(MethodUse.objects.filter(last_at__gte=moment).values_list("tool_id", "method"))
