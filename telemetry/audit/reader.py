"""Rows of the record as they are hashed, read from the database in the order of their chain.

Plain SQL, because a verification reads millions: objects would cost more than hashing does.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from django.db import OperationalError, connection
from django.db.models import Min

from telemetry.audit.canonical import COLUMNS, Row, canonical
from telemetry.audit.verifier import NO_BODY, Run, is_linked
from telemetry.models import AuditCheckpoint, RequestLog

AT_ONCE, MOST_AT_ONCE = 2000, 20_000
LARGEST = 2**63 - 1
"""Of the numbers that a column holds. SQLite also keeps texts there, which come after all numbers."""
TABLE = RequestLog._meta.db_table
_decode = msgspec.json.decode
_JSON = {
    COLUMNS.index(name): nothing
    for name, nothing in (("attempts", "[]"), ("decision", "{}"), ("sanitised", "{}"))
}
_CALL_ID, _STARTED_AT = COLUMNS.index("call_id"), COLUMNS.index("started_at")
_HASH, _SEQUENCE = 1, 2 + COLUMNS.index("sequence")
Page = Sequence[Sequence[Any]]
"""Rows: key, hash, and then `COLUMNS`."""
_NOTHING = msgspec.Raw(b"")
_Verbatim = msgspec.defstruct(
    "_Verbatim",
    [(name, Any, _NOTHING if n in _JSON else getattr(Row(), name)) for n, name in enumerate(COLUMNS)],
    rename="camel",
    omit_defaults=True,
)
"""A `Row` with the texts of its JSON."""
_encode, _as_one_value = msgspec.json.Encoder().encode, msgspec.json.Decoder(msgspec.Raw).decode


def runs(chain: str, *, after: int = 0, until: int | None = None) -> Iterator[Run]:
    for page in _read(chain, after, until):
        yield from hashed(page)


def rows(chain: str, *, after: int = 0, until: int | None = None) -> Iterator[tuple[Row, str]]:
    """The rows with the hash each claims. Raises `ValueError` for one that no row of ours could be."""
    for page in _read(chain, after, until):
        for row in page:
            yield _row(row), row[_HASH]


def hashed(page: Page) -> list[Run]:
    found: list[Run] = []
    at, previous = 0, ""
    as_stored = True
    for row in page:
        sequence, claimed = row[_SEQUENCE], row[_HASH]
        follows = sequence == at + 1 and found
        if not (follows and as_stored and is_linked(previous, _verbatim(row), claimed)):
            body_hash = _canonical(row)
            if follows and is_linked(previous, body_hash, claimed):
                as_stored = False  # those behind it will be in its form
            else:
                found.append(Run(sequence, body_hash, []))
        found[-1].claimed.append(claimed)
        at, previous = sequence, claimed
    return found


_NO_ROW_OF_OURS = (ValueError, TypeError, OverflowError, AttributeError, RecursionError)


def _canonical(row: Sequence[Any]) -> str:
    try:
        return sha256(canonical(_row(row))).hexdigest()
    except _NO_ROW_OF_OURS:
        return NO_BODY


def _verbatim(row: Sequence[Any]) -> str:
    """Without a look into the JSON, but whether each is one value: so that none says what belongs to another column. Where
    it leads to the hash of a row, its texts are what was hashed when it was stored; where it does not, they may be in
    another form, as those of rows are that PostgreSQL kept as `jsonb`."""
    _, _, *values = row
    try:
        for index, nothing in _JSON.items():
            text = values[index]
            values[index] = _NOTHING if text == nothing else _as_one_value(text)
        values[_CALL_ID] = _call_id(values[_CALL_ID])
        values[_STARTED_AT] = _moment(values[_STARTED_AT])
        return sha256(_encode(_Verbatim(*values))).hexdigest()
    except _NO_ROW_OF_OURS:
        return NO_BODY


def _row(row: Sequence[Any]) -> Row:
    _, _, *values = row
    for index in _JSON:
        values[index] = _decoded(values[index])
    values[_CALL_ID] = _call_id(values[_CALL_ID])
    values[_STARTED_AT] = _moment(values[_STARTED_AT])
    return Row(*values)


def pages(chain: str, after: int, until: int) -> Iterator[tuple[int, int]]:
    """The parts to read one after the other: behind the first row named, up to the second. Each ends where a row was
    signed: so what is read of rows that are pruned meanwhile can still be proved."""
    while after < until:
        upto = min(until, _next_signed(chain, after + AT_ONCE) or until)
        yield after, upto
        after = upto


def _next_signed(chain: str, sequence: int) -> int | None:
    """The first row from here on that a checkpoint signs."""
    later = AuditCheckpoint.objects.filter(chain=chain, sequence__gte=sequence, sequence__lte=LARGEST)
    return later.aggregate(first=Min("sequence"))["first"]


def _read(chain: str, after: int, until: int | None) -> Iterator[Page]:
    """In statements that end: one that stays open keeps SQLite's writers out, for as long as somebody downloads, and has
    PostgreSQL write down what it will tell."""
    for start, end in pages(chain, after, LARGEST if until is None else until):
        yield from read(chain, start, end)


# Cast, or the driver would make a moment of it that has to be told as text again. What is no text only looks like one.
_SQLITE = {
    "started_at": "CASE typeof(started_at) WHEN 'text' THEN CAST(started_at AS TEXT) ELSE 'x' || hex(started_at) END"
}
# As SQLite keeps them: the driver's own would have to be told as text again. What lies beyond is no moment of Python's, and
# is told in a form that no row of ours has.
_POSTGRESQL = {
    "call_id": "replace(call_id::text, '-', '')",
    "started_at": "CASE WHEN started_at >= '0001-01-02' AND started_at < '9999-12-31'"
    " THEN to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') ELSE 'x' || started_at::text END",
    **{name: f"{name}::text" for name in ("attempts", "decision", "sanitised")},
}
_COLUMNS = {"sqlite": _SQLITE, "postgresql": _POSTGRESQL}
_BYTES = "CASE typeof({0}) WHEN 'text' THEN CAST({0} AS BLOB) WHEN 'blob' THEN NULL ELSE {0} END"


def _select(told: Mapping[str, str]) -> str:
    """`told`: how a column is asked for, if not by its name."""
    columns = ", ".join(told.get(name, f'"{name}"') for name in ("id", "hash", *COLUMNS))
    return f"SELECT {columns} FROM {TABLE}"  # noqa: S608 - our names


def read(chain: str, after: int, upto: int) -> Iterator[Page]:
    """The rows behind the first one named and up to the second, by sequence number and then by key: without its constraint
    a table could hold a number twice. More than one part where somebody removed the signatures."""
    place = "sequence >= %s AND (sequence > %s OR id > %s) AND sequence <= %s"
    is_sqlite = connection.vendor == "sqlite"
    if is_sqlite:
        place += " AND typeof(sequence) = 'integer'"
    ask = f"{{}} WHERE chain = %s AND {place} ORDER BY sequence, id LIMIT {MOST_AT_ONCE}"
    sequence, key = after, LARGEST
    while True:
        values = (chain, sequence, sequence, key, upto)
        try:
            rows = _fetched(ask.format(_select(_COLUMNS[connection.vendor])), values)
        except OperationalError:
            if not is_sqlite:
                raise
            # A text that is none stops the driver. As bytes it is told from the others, row by row.
            select_bytes = _select({name: _BYTES.format(f'"{name}"') for name in ("hash", *COLUMNS)})
            rows = [_as_text(row) for row in _fetched(ask.format(select_bytes), values)]
        yield [_told(row) if bytes in map(type, row) else row for row in rows] if is_sqlite else rows
        if len(rows) < MOST_AT_ONCE:
            return
        key, sequence = rows[-1][0], rows[-1][_SEQUENCE]


def _fetched(ask: str, values: Sequence[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(ask, values)
        return cursor.fetchall()


def _told(row: Sequence[Any]) -> list[Any]:
    """A blob where a text belongs is no text, though it may be written as one."""
    return [{"blob": value.hex()} if isinstance(value, bytes) else value for value in row]


def _as_text(row: Sequence[Any]) -> list[Any]:
    """What is no text keeps marks in its place, which no canonical form takes."""
    key, claimed, *values = (
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value for value in row
    )
    return [key, str(claimed).encode("ascii", "replace").decode(), *values]


def _decoded(value: Any) -> Any:
    """What is no JSON stays as it is: no row of ours has it, and whoever looks for it should see it."""
    try:
        return _decode(value)
    except (msgspec.DecodeError, TypeError, RecursionError):
        return value


def _call_id(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    return f"{value[:8]}-{value[8:12]}-{value[12:16]}-{value[16:20]}-{value[20:]}"


def _moment(value: str) -> str:
    """Stored is `2026-11-25 13:00:00.250000`, on SQLite without the point when there are no microseconds. What is written
    otherwise is not ours, and queries would place it elsewhere."""
    if len(value) not in (19, 26) or value[10] != " ":
        return f"not a moment: {value}"
    return f"{value[:10]}T{value[11:]}Z" if len(value) == 26 else f"{value[:10]}T{value[11:]}.000000Z"
