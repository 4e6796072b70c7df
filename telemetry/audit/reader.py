"""Rows of the record as they are hashed, streamed from the database in the order of their chain.

Plain SQL, because a verification reads millions: objects would cost more than hashing does.
"""

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection

from telemetry.audit.canonical import COLUMNS, Row, canonical, stamp
from telemetry.models import RequestLog

AT_ONCE = 2000
LARGEST = 2**63 - 1
"""Of the numbers that a column holds. SQLite also keeps texts there, which come after all numbers."""
TABLE = RequestLog._meta.db_table
_decode = msgspec.json.decode
_JSON = tuple(COLUMNS.index(name) for name in ("attempts", "decision", "sanitised"))
_CALL_ID, _STARTED_AT = COLUMNS.index("call_id"), COLUMNS.index("started_at")
_SEQUENCE = COLUMNS.index("sequence")


def bodies(chain: str, *, after: int = 0, until: int | None = None) -> Iterator[tuple[int, str, bytes]]:
    """Sequence number, the hash that the row claims, canonical bytes. What no row of ours could hold is b""."""
    for claimed, values in _selected(chain, after, until):
        yield values[_SEQUENCE], claimed, _canonical(values)


def rows(chain: str, *, after: int = 0, until: int | None = None) -> Iterator[tuple[Row, str]]:
    """The rows with the hash each claims. Raises `ValueError` for one that no row of ours could be."""
    for claimed, values in _selected(chain, after, until):
        yield Row(*_settle(values)), claimed


def _selected(chain: str, after: int, until: int | None) -> Iterator[tuple[str, Sequence[Any]]]:
    """By sequence number and then by key: without its constraint a table could hold a number twice."""
    last = LARGEST if until is None else until
    if connection.vendor == "sqlite":
        # Cast, or the driver would make a moment of it that has to be told as text again.
        columns = ", ".join(
            "CAST(started_at AS TEXT)" if name == "started_at" else f'"{name}"' for name in COLUMNS
        )
        found = _paged(f"SELECT id, hash, {columns} FROM {TABLE}", chain, after, last)  # noqa: S608 - our names
    else:
        columns = ", ".join(f'"{name}"' for name in COLUMNS)
        found = _streamed(f"SELECT id, hash, {columns} FROM {TABLE}", chain, after, last)  # noqa: S608 - our names
    for _, claimed, *values in found:
        yield claimed, values


def _paged(select: str, chain: str, after: int, last: int) -> Iterator[Sequence[Any]]:
    """A statement that stays open keeps SQLite's writers out, for as long as somebody downloads."""
    where = "chain = %s AND sequence >= %s AND (sequence > %s OR id > %s) AND sequence <= %s"
    sequence, key = after, LARGEST
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                f"{select} WHERE {where} ORDER BY sequence, id LIMIT {AT_ONCE}",
                (chain, sequence, sequence, key, last),
            )
            page = cursor.fetchall()
        yield from page
        if len(page) < AT_ONCE:
            return
        key, sequence = page[-1][0], page[-1][2 + _SEQUENCE]


def _streamed(select: str, chain: str, after: int, last: int) -> Iterator[Sequence[Any]]:
    """PostgreSQL would sort the whole chain anew for each page; there, a reader keeps nobody out."""
    where = "chain = %s AND sequence > %s AND sequence <= %s"
    with connection.chunked_cursor() as cursor:
        cursor.execute(f"{select} WHERE {where} ORDER BY sequence, id", (chain, after, last))
        while page := cursor.fetchmany(AT_ONCE):
            yield from page


def _canonical(values: Sequence[Any]) -> bytes:
    try:
        return canonical(Row(*_settle(values)))
    except (ValueError, TypeError, OverflowError):
        return b""


def _settle(values: Any) -> Any:
    for index in _JSON:
        values[index] = _decoded(values[index])
    values[_CALL_ID] = _call_id(values[_CALL_ID])
    values[_STARTED_AT] = _moment(values[_STARTED_AT])
    return values


def _decoded(value: Any) -> Any:
    """What is no JSON stays as it is: no row of ours has it, and whoever looks for it should see it."""
    try:
        return _decode(value)
    except (msgspec.DecodeError, TypeError):
        return value


def _call_id_text(value: str) -> str:
    return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"


def _moment_text(value: str) -> str:
    """SQLite keeps `2026-11-25 13:00:00.250000`, without the point when there are no microseconds. What is written
    otherwise is not ours, and stays as it is."""
    if len(value) not in (19, 26) or value[10] != " ":
        return value
    return f"{value[:10]}T{value[11:]}Z" if len(value) == 26 else f"{value[:10]}T{value[11:]}.000000Z"


def _call_id(value: str | UUID) -> str:
    return _call_id_text(value) if isinstance(value, str) else str(value)


def _moment(value: Any) -> str:
    return _moment_text(value) if isinstance(value, str) else stamp(value)
