"""Which chains there are, and what was put in beside them."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection

from telemetry.audit import reader
from telemetry.audit.verifier import Finding
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

AT_ONCE = 1000
Chained = type[RequestLog] | type[AuditCheckpoint] | type[AuditTombstone]
_NOWHERE = "chain IS NULL OR chain = '' OR sequence IS NULL OR sequence < 1 OR sequence > %s"
NOWHERE = {
    "postgresql": _NOWHERE,
    "sqlite": f"{_NOWHERE} OR typeof(sequence) <> 'integer' OR typeof(chain) <> 'text'",
}
"""Rows that have no place in a chain; SQLite takes other kinds of values too."""


def rows_outside_a_chain() -> Iterator[Finding]:
    """Every row was chained when it was stored. In pages: a statement that stays open keeps SQLite's writers out."""
    page = _outside_a_chain("")
    while page:
        for _, name in page:
            words = f"the row with call id {_as_call_id(name)} was put in beside the chain"
            yield Finding("forged", "", 0, words)
        page = _outside_a_chain("AND id > %s", page[-1][0]) if len(page) == AT_ONCE else []


def _outside_a_chain(behind: str, *key: int) -> list[tuple[int, str]]:
    # As text: what it is called may be no call id either.
    asked = (
        f"SELECT id, CAST(call_id AS TEXT) FROM {reader.TABLE} WHERE ({NOWHERE[connection.vendor]}) {behind}"  # noqa: S608 - our text
    )
    with connection.cursor() as cursor:
        cursor.execute(f"{asked} ORDER BY id LIMIT {AT_ONCE}", [reader.LARGEST, *key])
        return cursor.fetchall()


def _as_call_id(name: str) -> str:
    try:
        return str(UUID(name))
    except ValueError:
        return ascii(name)


def chains_of(model: Chained, names: set[str]) -> Iterator[Finding]:
    """Adds the names of the chains that it has rows of."""
    try:
        found = list(model.objects.order_by().values_list("chain", flat=True).distinct())
    except DatabaseError:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT DISTINCT CAST(chain AS BLOB) FROM {model._meta.db_table}")  # noqa: S608 - our name
            found = [_text(name) for (name,) in cursor.fetchall()]
    names |= {name for name in found if isinstance(name, str) and name}
    odd = [name for name in found if not isinstance(name, str) or (not name and model is not RequestLog)]
    if odd:
        words = (
            f"{model._meta.verbose_name_plural} name no chain that can be read: they were put in beside it"
        )
        yield Finding("forged", "", 0, words)


def _text(name: Any) -> Any:
    try:
        return name.decode()
    except (UnicodeDecodeError, AttributeError):
        return name
