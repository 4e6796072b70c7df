"""Which calls carried a text, found by the digests that it would have left."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from telemetry.models import RequestLog

COLUMNS = {"request_digest": "request", "prompt_digest": "prompt", "answer_digest": "answer"}
"""Where a digest may match, and how that is called. Each has an index of its own."""
LAST_FIRST = ("-started_at", "-call_id")
"""Not by when they were stored: a long call, or one whose writer was late, comes behind younger ones."""


class Carried(NamedTuple):
    """A call and what of it was the text: prompt, answer, the whole request."""

    call: RequestLog
    parts: tuple[str, ...]


def calls_with(
    digests: Collection[str],
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    tool_id: str = "",
    most: int,
) -> list[Carried]:
    """The `most` that began last, the last one first; `since` and `until` are in the period."""
    rows = RequestLog.objects.all()
    if since is not None:
        rows = rows.filter(started_at__gte=since)
    if until is not None:
        rows = rows.filter(started_at__lte=until)
    if tool_id:
        rows = rows.filter(tool_id=tool_id)
    found: dict[int, RequestLog] = {}
    for column in COLUMNS:
        found |= {
            row.pk: row for row in rows.filter(**{f"{column}__in": digests}).order_by(*LAST_FIRST)[:most]
        }
    newest = sorted(found.values(), key=lambda row: (row.started_at, row.call_id), reverse=True)[:most]
    return [Carried(row, _parts(row, digests)) for row in newest]


def _parts(row: RequestLog, digests: Collection[str]) -> tuple[str, ...]:
    return tuple(name for column, name in COLUMNS.items() if getattr(row, column) in digests)
