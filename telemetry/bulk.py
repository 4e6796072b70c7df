"""Many small rows at once, written by one statement, and read.

The ORM asks each field of each row for each of its values: for a batch of calls and the sums beside it, that was most
of the time of the journal's writer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
from django.db import connection
from django.db.models import AutoField, DateTimeField, Field, JSONField, Model, QuerySet, UUIDField

from telemetry.audit.canonical import canonical

_decode = msgspec.json.decode


def insert(model: type[Model], rows: Iterable[Model]) -> None:
    """Each as a new row, without signals; the database gives the primary keys, which are not told.

    Values have to be of their columns' types, for nothing looks at them but the database. Raises `DatabaseError`, and
    `ValueError`, `TypeError` or `OverflowError` of a value that cannot be written."""
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, AutoField)]
    values = attrgetter(*(field.attname for field in fields))
    stored = _as_stored(fields, map(values, rows))
    if connection.vendor == "postgresql":
        _copy(model, fields, stored)
    else:
        _execute(_insert(model, fields), stored)


def upsert(
    model: type[Model], key: Sequence[str], values: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Each is added, or put in the place of the one with its key.

    `key`: the fields of a unique constraint. `rows`: of each, what stands in these and then in `values`; it has to be of
    the columns' types. Raises as `insert` does."""
    fields = [model._meta.get_field(name) for name in (*key, *values)]
    columns = _columns(fields)
    replaced = ", ".join(f"{column} = excluded.{column}" for column in columns[len(key) :])
    asked = (
        f"{_insert(model, fields)} ON CONFLICT ({', '.join(columns[: len(key)])}) DO UPDATE SET {replaced}"
    )
    _execute(asked, _as_stored(fields, rows))


def read(found: "QuerySet[Any]", names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Of each, what stands in these fields; moments in UTC. All are fetched at once. Raises `DatabaseError`, and
    `ValueError` or `TypeError` of a JSON that is none."""
    asked, values = found.values_list(*names).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(asked, values)
        columns = list(zip(*cursor.fetchall(), strict=True))
    if columns:
        for n, field in enumerate(map(found.model._meta.get_field, names)):
            if isinstance(field, JSONField):
                columns[n] = tuple(map(_decode, columns[n]))
            elif isinstance(field, DateTimeField):
                columns[n] = tuple(map(_in_utc, columns[n]))
    yield from zip(*columns, strict=True)


def _insert(model: type[Model], fields: "Sequence[Field[Any, Any]]") -> str:
    table = connection.ops.quote_name(model._meta.db_table)
    places = ", ".join(["%s"] * len(fields))
    return f"INSERT INTO {table} ({', '.join(_columns(fields))}) VALUES ({places})"  # noqa: S608 - our own names


def _columns(fields: "Sequence[Field[Any, Any]]") -> list[str]:
    return [connection.ops.quote_name(field.column) for field in fields]


def _as_stored(fields: "Sequence[Field[Any, Any]]", rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """A column at a time: most are written as they are."""
    columns = list(zip(*rows, strict=True))
    if columns:
        for n, field in enumerate(fields):
            as_stored = _adapted(field)
            if isinstance(field, DateTimeField):
                # Sums of a thousand clients begin at the same few moments.
                told = {moment: as_stored(moment) for moment in set(columns[n])}
                columns[n] = tuple(map(told.__getitem__, columns[n]))
            elif as_stored is not None:
                columns[n] = tuple(map(as_stored, columns[n]))
    return list(zip(*columns, strict=True))


def _execute(asked: str, rows: list[Sequence[Any]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(asked, rows)


def _copy(model: type[Model], fields: "Sequence[Field[Any, Any]]", rows: list[Sequence[Any]]) -> None:
    """A statement for each row, even a prepared one, costs PostgreSQL more than the row does."""
    table = connection.ops.quote_name(model._meta.db_table)
    asked = f"COPY {table} ({', '.join(_columns(fields))}) FROM STDIN"
    # Django wraps what it knows of a cursor, and COPY is psycopg's own.
    with connection.cursor() as cursor, connection.wrap_database_errors, cursor.cursor.copy(asked) as copy:
        for row in rows:
            copy.write_row(row)


def _adapted(field: "Field[Any, Any]") -> Callable[[Any], Any] | None:
    """None: as it is."""
    if isinstance(field, DateTimeField):
        return connection.ops.adapt_datetimefield_value
    if isinstance(field, UUIDField):
        return _uuid if connection.features.has_native_uuid_field else _hex
    return _json if isinstance(field, JSONField) else None


def _json(value: Any) -> str:
    return canonical(value).decode()


def _uuid(value: UUID | str) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _hex(value: UUID | str) -> str:
    return _uuid(value).hex


def _in_utc(moment: datetime) -> datetime:
    """SQLite's have no zone."""
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
