"""Whether the database gives everybody the same rows: what verification reads has to be what pages show and filters find.

Who can write to a database can do more than change rows: put a view in a table's place, take a row out of one index, or
keep a moment in a form in which it compares otherwise.
"""

import itertools
from collections.abc import Iterator, Sequence

from django.db import connection
from django.db.models import Model

from telemetry.audit import indexes
from telemetry.audit.verifier import Finding
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

MODELS: tuple[type[Model], ...] = (RequestLog, AuditCheckpoint, AuditTombstone)
_TABLES = [model._meta.db_table for model in MODELS]
_DAY = "-".join("[0-9]" * digits for digits in (4, 2, 2))
_TIME = ":".join(["[0-9][0-9]"] * 3)
_WRITTEN = (f"{_DAY} {_TIME}", f"{_DAY} {_TIME}.{'[0-9]' * 6}")
MOMENTS: tuple[tuple[type[Model], str, str, str], ...] = (
    (RequestLog, "started_at", "sequence", "changed"),
    (AuditCheckpoint, "signed_at", "number", "checkpoint"),
    (AuditTombstone, "signed_at", "first", "tombstone"),
)


def findings(*, of_period: bool) -> Iterator[Finding]:
    """`of_period`: rows are looked for by when they began; else each of them is read anyway."""
    looks = _of_sqlite if connection.vendor == "sqlite" else _of_postgresql
    for words in itertools.chain(looks(), *map(indexes.faults, MODELS)):
        yield Finding("database", "", 0, words)
    yield from _odd_numbers()
    if connection.vendor == "sqlite":
        yield from _odd_moments(MOMENTS if of_period else MOMENTS[1:])


def _of_sqlite() -> Iterator[str]:
    # As bytes: a name that is no text would stop the driver.
    parts = "CAST(type AS BLOB), CAST(name AS BLOB), CAST(lower(tbl_name) AS BLOB)"
    asked = f"SELECT {parts} FROM sqlite_master WHERE type <> 'index'"  # noqa: S608 - our text
    there = [[(part or b"").decode(errors="replace") for part in found] for found in _rows(asked)]
    for kind, name, table in there:
        if kind != "table" and table in _TABLES:
            yield f"{table} has a {kind} of somebody's making ({name})"
    for table in _TABLES:
        if ["table", table, table] not in there:
            yield f"{table} is no table"


def _of_postgresql() -> Iterator[str]:
    asked = """
        SELECT c.relname, c.relkind::text, c.relrowsecurity,
            EXISTS(SELECT 1 FROM pg_rewrite r WHERE r.ev_class = c.oid),
            ARRAY(SELECT t.tgname::text FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
        FROM pg_class c WHERE c.oid = ANY(%s::regclass[]::oid[])
    """
    for table, kind, has_policies, has_rules, triggers in _rows(asked, _TABLES):
        if kind != "r":
            yield f"{table} is no table"
        if has_rules or has_policies:
            yield f"{table} has rules or policies of somebody's making"
        for name in triggers:
            yield f"{table} has a trigger of somebody's making ({name})"


def _odd_numbers() -> Iterator[Finding]:
    """Of checkpoints and tombstones; those of rows are looked for where there are no chains."""
    for model, kind in ((AuditCheckpoint, "checkpoint"), (AuditTombstone, "tombstone")):
        is_odd = " OR ".join(f"{name} < 1" for name in model.PLACE)
        if connection.vendor == "sqlite":
            is_odd += "".join(f" OR typeof({name}) <> 'integer'" for name in model.PLACE)
        asked = f"SELECT COUNT(*) FROM {model._meta.db_table} WHERE {is_odd}"  # noqa: S608 - our names
        ((odd,),) = _rows(asked)
        if odd:
            yield Finding(kind, "", 0, f"{odd} are there with numbers that none has: they were put in")


def _odd_moments(of: Sequence[tuple[type[Model], str, str, str]]) -> Iterator[Finding]:
    """They are texts there, and compared as such."""
    for model, column, place, kind in of:
        is_odd = f"typeof({column}) <> 'text' OR ({column} NOT GLOB %s AND {column} NOT GLOB %s)"
        asked = f"SELECT CAST(chain AS TEXT), {place} FROM {model._meta.db_table} WHERE {is_odd}"  # noqa: S608 - our names
        for chain, number in _rows(asked, *_WRITTEN):
            words = f"its {column} is not written as moments are, so that a period may lack it"
            yield Finding(kind, str(chain), number if isinstance(number, int) else 0, words)


def _rows(asked: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
    with connection.cursor() as cursor:
        cursor.execute(asked, values)
        return cursor.fetchall()
