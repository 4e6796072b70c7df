"""Rows that somebody changed in the database, beside those as they were recorded: pages show what can be read of them.

SQLite keeps any text in any column, PostgreSQL moments that no calendar of ours has. One such cell would make a whole
list unreadable.
"""

from datetime import UTC, datetime
from typing import Any, TypeVar

from django.db import DataError
from django.db.models import Model, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils.dateparse import parse_datetime

from telemetry.criteria import LAST_MOMENT
from telemetry.models import RequestLog

UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError, DataError)
"""What comes of a cell that is no moment, or no id, when it is to be one."""
CELLS = ("started_at", "call_id")
"""Columns that are read as something else than they are kept as."""
MOST_CHARS = 100
Row = TypeVar("Row", bound=Model)


def read(rows: QuerySet[RequestLog]) -> list[RequestLog]:
    """In their order. Of one with a cell that cannot be read, `unread` has its text, and None stands in its place."""
    try:
        found = list(rows)
    except UNREADABLE:
        found = [row for key in rows.values_list("pk", flat=True) if (row := one(key)) is not None]
    # Of some texts, SQLite's driver makes nothing without a word.
    return [one(row.pk) or row if _is_odd(row) else row for row in found]


def one(key: Any) -> RequestLog | None:
    """None when there is no such row."""
    there = RequestLog.objects.filter(pk=key)
    try:
        row = there.first()
    except UNREADABLE:
        return _in_parts(there)
    return _in_parts(there) if row is not None and _is_odd(row) else row


def with_text(rows: QuerySet[Row], moment: str) -> QuerySet[Row]:
    """The column as text alone, as `said`: that can be read whatever it holds."""
    return rows.defer(moment).annotate(said=Cast(moment, TextField()))


def first(rows: QuerySet[Row], moment: str) -> Row | None:
    """Of another table. Where the column of a moment cannot be read, None stands in it, and `unread` has its text."""
    row = with_text(rows, moment).first()
    if row is not None:
        said: Any = row.said  # type: ignore[attr-defined]
        found = read_moment(said)
        setattr(row, moment, found)
        row.unread = {} if found else {moment: _quoted(said)}  # type: ignore[attr-defined]
    return row


def in_words(said: Any) -> str:
    """A moment that was read as text, for a page."""
    found = read_moment(said)
    return f"{found:%Y-%m-%d %H:%M:%S} UTC" if found else f"not readable: {_quoted(said)}"


def _is_odd(row: RequestLog) -> bool:
    return not row.unread and any(getattr(row, column) is None for column in CELLS)


def _in_parts(there: QuerySet[RequestLog]) -> RequestLog | None:
    row = there.defer(*CELLS).first()
    if row is None:
        return None
    unread = {}
    for column in CELLS:
        try:
            value = there.values_list(column, flat=True).get()
        except UNREADABLE:
            value = None
        if value is None:
            unread[column] = _text(there, column)
        setattr(row, column, value)
    row.unread = unread
    return row


def _text(there: QuerySet[RequestLog], column: str) -> str:
    said: Any = there.annotate(said=Cast(column, TextField())).values_list("said", flat=True).get()
    return _quoted(said)


def _quoted(said: Any) -> str:
    return f"“{str(said)[:MOST_CHARS]}”"


def edge(within: QuerySet[Any], *, older: bool) -> datetime | None:
    """The farthest moment of these rows, of those that have one; ahead of all calls, where no row has. Text that is
    none is in no order of time: what it stands beside is told by the others."""
    texts = within.annotate(said=Cast("started_at", TextField())).values_list("said", flat=True)
    moments = [moment for text in texts if (moment := read_moment(text))]
    if not moments:
        return LAST_MOMENT if older else None
    return min(moments) if older else max(moments)


def read_moment(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
        if found is not None and found.tzinfo:
            return found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return found and found.replace(tzinfo=UTC)
