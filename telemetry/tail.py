"""What has been stored since the last look, in the order of its arrival: rows without the decisions in them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from telemetry.criteria import class_of
from telemetry.models import RequestLog
from telemetry.odd_rows import UNREADABLE

PATH = "/admin/telemetry/requestlog/tail"
"""Where the gateway streams it; served in the event loop, beside Django."""
TOLD = {
    "pk": "id",
    "call_id": "callId",
    "started_at": "startedAt",
    "tool_id": "client",
    "token_id": "tokenId",
    "claimed_tool": "claimedTool",
    "method": "method",
    "peer": "peer",
    "request_id": "requestId",
    "trace_id": "traceId",
    "provider": "provider",
    "model": "model",
    "strategy": "strategy",
    "outcome": "outcome",
    "reason": "reason",
    "status": "status",
    "first_event_ms": "firstEventMs",
    "duration_ms": "durationMs",
    "input_tokens": "inputTokens",
    "output_tokens": "outputTokens",
    "bytes_in": "bytesIn",
    "bytes_out": "bytesOut",
    "config_version": "configVersion",
}
"""Columns, and what they are called in a line of JSON."""


class News(NamedTuple):
    """`rows`: columns by name, oldest first. `newest`: the key to go on from. `skipped`: rows that were too many."""

    rows: tuple[Mapping[str, Any], ...]
    newest: int
    skipped: int = 0


def newest() -> int:
    return RequestLog.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def since(key: int, most: int, until: int | None = None) -> News:
    """One query, by the primary key. Of more than `most` the newest. `until`: the last key that is asked for."""
    asked = RequestLog.objects.filter(pk__gt=key)
    if until is not None:
        asked = asked.filter(pk__lte=until)
    newest_first = asked.order_by("-pk")[:most]
    try:
        rows = list(_columns(newest_first))
    except UNREADABLE:
        rows = [_readable(one) for one in newest_first.values_list("pk", flat=True)]
    if not rows:
        return News((), key)
    rows.reverse()
    skipped = rows[0]["pk"] - key - 1 if len(rows) == most else 0
    # What somebody made unreadable is in no order of time and fits no filter; the record shows it.
    told = tuple(row for row in rows if row.get("started_at") and row.get("call_id"))
    return News(told, rows[-1]["pk"], skipped + len(rows) - len(told))


def _columns(rows: QuerySet[RequestLog]) -> QuerySet[RequestLog, dict[str, Any]]:
    """Those that are told, and what else filters ask for. Of the attempts their text: few viewers look into them."""
    return rows.annotate(asked=Cast("attempts", TextField())).values(*TOLD, "chain", "sequence", "asked")


def _readable(key: int) -> dict[str, Any]:
    try:
        return _columns(RequestLog.objects.filter(pk=key)).get()
    except (*UNREADABLE, RequestLog.DoesNotExist):
        return {"pk": key}


def line(row: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON tells it."""
    told = {name: row[column] for column, name in TOLD.items()}
    return told | {"class": class_of(row["outcome"])}
