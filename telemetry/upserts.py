"""Many small rows at once, each added or put in the place of the one with its key.

The ORM asks each field of each row for each of its values: for the sums beside a batch of calls that was most of the
time of the journal's writer.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from django.db import connection
from django.db.models import DateTimeField, Field, JSONField, Model

_encode = msgspec.json.Encoder().encode


def upsert(
    model: type[Model], key: Sequence[str], values: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """`key`: the fields of a unique constraint. `rows`: of each, what stands in these and then in `values`; it has to
    fit, for nothing looks at it but the database. Raises `DatabaseError`."""
    names = (*key, *values)
    fields = [model._meta.get_field(name) for name in names]
    columns = [connection.ops.quote_name(field.column) for field in fields]
    replaced = ", ".join(f"{column} = excluded.{column}" for column in columns[len(key) :])
    asked = (
        f"INSERT INTO {connection.ops.quote_name(model._meta.db_table)} ({', '.join(columns)}) "  # noqa: S608 - our names
        f"VALUES ({', '.join(['%s'] * len(columns))}) "
        f"ON CONFLICT ({', '.join(columns[: len(key)])}) DO UPDATE SET {replaced}"
    )
    adapted = [_adapted(field) for field in fields]
    told = [[as_stored(value) for as_stored, value in zip(adapted, row, strict=True)] for row in rows]
    if told:
        with connection.cursor() as cursor:
            cursor.executemany(asked, told)


def _adapted(field: "Field[Any, Any]") -> Callable[[Any], Any]:
    if isinstance(field, DateTimeField):
        return connection.ops.adapt_datetimefield_value
    return _json if isinstance(field, JSONField) else _as_it_is


def _json(value: Any) -> str:
    return _encode(value).decode()


def _as_it_is(value: Any) -> Any:
    return value
