"""Whether the indexes of the record's tables are there and lead to all rows: pages, filters and verification each find
rows by other ones.

That an index leads to each row under the row's own values costs a look-up a row. It is asked of those in which
verification looks: the ones that begin with the chain.
"""

from collections.abc import Iterator
from typing import NamedTuple

from django.db import connection
from django.db.models import Model, UniqueConstraint

AT_ONCE = 100_000
"""Rows: a statement that stays open keeps SQLite's writers out."""
LEAST, LARGEST = -(2**63), 2**63 - 1
# What is no text would stop the driver. A name that only looks like a column's is that of none.
_ON_SQLITE = """
    SELECT CAST(l.name AS BLOB), l."unique", l.partial, CASE WHEN x.cid = -2 THEN '(expression)' ELSE x.name END
        || CASE WHEN x."desc" THEN ' DESC' ELSE '' END || CASE WHEN x.coll = 'BINARY' THEN '' ELSE ' COLLATE' END
    FROM pragma_index_list(%s) AS l, pragma_index_xinfo(l.name) AS x WHERE x.key = 1 ORDER BY l.seq, x.seqno
"""
_ON_POSTGRESQL = """
    SELECT convert_to(c.relname::text, 'UTF8'), i.indisunique, i.indpred IS NOT NULL OR NOT i.indisvalid,
        coalesce(a.attname::text, '(expression)') || CASE WHEN u.option & 1 = 1 THEN ' DESC' ELSE '' END
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        CROSS JOIN unnest(i.indkey::int2[], i.indoption::int2[]) WITH ORDINALITY AS u(column_number, option, place)
        LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.column_number
    WHERE i.indrelid = %s::regclass ORDER BY c.oid, u.place
"""


class Index(NamedTuple):
    """`columns`: in its order, with ` DESC` behind one that descends. `is_whole`: every row is in it."""

    name: bytes
    is_unique: bool
    is_whole: bool
    columns: tuple[str, ...]


def faults(model: type[Model]) -> Iterator[str]:
    """In words. Of PostgreSQL's, whether they are there."""
    there = _there(model._meta.db_table)
    shapes = [
        (index.columns, unique) for index in there if index.is_whole for unique in {index.is_unique, False}
    ]
    for name, *shape in _declared(model):
        if tuple(shape) not in shapes:
            columns, is_unique = shape
            yield f"{model._meta.db_table} lacks its {'unique ' if is_unique else ''}index {name} on {', '.join(columns)}"
    if connection.vendor == "sqlite":
        yield from _that_lie(model._meta.db_table, [index for index in there if index.is_whole])


def _declared(model: type[Model]) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Name, columns, and whether it keeps a value from being there twice."""
    meta = model._meta
    for field in meta.local_fields:
        if (field.unique or field.db_index) and not field.primary_key:
            yield field.column, (field.column,), field.unique
    for constraint in meta.constraints:
        if isinstance(constraint, UniqueConstraint):
            yield constraint.name, tuple(constraint.fields), True
    for index in meta.indexes:
        yield index.name, tuple(f"{name} {order}".strip() for name, order in index.fields_orders), False


def _there(table: str) -> list[Index]:
    found: dict[bytes, Index] = {}
    with connection.cursor() as cursor:
        cursor.execute(_ON_SQLITE if connection.vendor == "sqlite" else _ON_POSTGRESQL, [table])
        for cell, is_unique, is_part, column in cursor.fetchall():
            name = bytes(cell)
            known = found.get(name, Index(name, bool(is_unique), not is_part, ()))
            found[name] = known._replace(columns=(*known.columns, column))
    return list(found.values())


def _that_lie(table: str, indexes: list[Index]) -> Iterator[str]:
    named = {}
    for index in indexes:
        try:
            named[index.name.decode()] = index
        except UnicodeDecodeError:
            yield f"{table} has an index of somebody's making, whose name is no text"
    if named:  # a view in the table's place has none
        yield from _that_lack_rows(table, list(named))
    for name, index in named.items():
        astray = _astray(table, name, index.columns) if _leads_along_chains(index) else 0
        if astray:
            yield f"{table} holds rows ({astray}) that its index {name} does not have under their own values"


def _leads_along_chains(index: Index) -> bool:
    return index.columns[0] == "chain" and all(column.isidentifier() for column in index.columns)


def _that_lack_rows(table: str, names: list[str]) -> Iterator[str]:
    """All of one moment."""
    asked = f"SELECT COUNT(*) FROM {table}"  # noqa: S608 - our name
    counts = [f"({asked} NOT INDEXED)", *(f"({asked} INDEXED BY {_quoted(name)})" for name in names)]
    ((every, *found),) = _rows(f"SELECT {', '.join(counts)}")
    for name, count in zip(names, found, strict=True):
        if count != every:
            yield f"{table} holds {every} rows, of which {count} are found by its index {name}"


def _astray(table: str, name: str, columns: tuple[str, ...]) -> int:
    """How many rows the index does not have under their own key and values: it leads to others in their place."""
    same = " AND ".join(f'found."{column}" IS part."{column}"' for column in ("id", *columns))
    told = ", ".join(f'"{column}"' for column in ("id", *columns))
    astray, count, first = 0, AT_ONCE, LEAST
    while count == AT_ONCE and first < LARGEST:
        ((lost, count, last),) = _rows(
            f"SELECT SUM(NOT EXISTS(SELECT 1 FROM {table} AS found INDEXED BY {_quoted(name)} WHERE {same})), "  # noqa: S608 - our names, and one that is quoted
            f"COUNT(*), MAX(id) FROM (SELECT {told} FROM {table} NOT INDEXED WHERE id >= {first} "
            f"ORDER BY id LIMIT {AT_ONCE}) AS part"
        )
        astray, first = astray + (lost or 0), (last or 0) + 1
    return astray


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _rows(asked: str) -> list[tuple]:  # type: ignore[type-arg]
    with connection.cursor() as cursor:
        cursor.execute(asked)  # without values: the name of an index may hold a %
        return cursor.fetchall()
