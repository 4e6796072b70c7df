"""An index that is away, is another one, or leads elsewhere is told of, and whatever it is called, verification goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from django.db.models import Model
from recorded import call
from signed import change, found, recorded, row, verified
from test_hidden import LONG_AGO, period
from test_odd_databases import CALLS, SIGNED, run, sqlite_only, write_schema

from telemetry.audit import indexes
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)
PLACE = "record_once_per_place_in_chain"


@contextmanager
def away(model: type[Model], name: str) -> Iterator[None]:
    (index,) = [each for each in model._meta.indexes if each.name == name]
    with connection.schema_editor() as editor:
        editor.remove_index(model, index)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            editor.add_index(model, index)


def told(folder: Path) -> list[str]:
    return [finding.words for finding in verified(folder).findings if finding.kind == "database"]


@pytest.mark.parametrize(
    ("model", "name", "columns"),
    [
        (AuditTombstone, "tombstone_by_first", "chain, first"),
        (AuditCheckpoint, "checkpoint_by_sequence", "chain, sequence"),
        (RequestLog, "record_tool_id_at", "tool_id, started_at"),
        (RequestLog, "record_by_answer_digest", "answer_digest, id DESC"),
    ],
)
def test_an_index_that_is_away_is_named_and_hides_nothing(
    recorded: Path, model: type[Model], name: str, columns: str
) -> None:
    assert found(recorded) == set()
    change(9, status=500)
    with away(model, name):
        assert found(recorded) == {("database", 0), ("changed", 9)}
        assert told(recorded) == [f"{model._meta.db_table} lacks its index {name} on {columns}"]
    assert found(recorded) == {("changed", 9)}


@pytest.mark.parametrize("columns", ["tool_id", "started_at, tool_id", "tool_id, started_at DESC"])
def test_another_index_under_its_name_is_not_the_one(recorded: Path, columns: str) -> None:
    with away(RequestLog, "record_tool_id_at"):
        run(f"CREATE INDEX record_tool_id_at ON {CALLS} ({columns})")
        try:
            assert found(recorded) == {("database", 0)}
        finally:
            run("DROP INDEX record_tool_id_at")


def test_an_index_over_a_part_of_the_rows_is_not_the_one(recorded: Path) -> None:
    with away(RequestLog, "record_tool_id_at"):
        run(f"CREATE INDEX record_tool_id_at ON {CALLS} (tool_id, started_at) WHERE tool_id <> 'bob'")
        try:
            assert found(recorded) == {("database", 0)}
        finally:
            run("DROP INDEX record_tool_id_at")


@pytest.mark.skipif(connection.vendor == "sqlite", reason="there it is a part of the table")
def test_a_constraint_that_is_away_is_named(recorded: Path) -> None:
    run(f"ALTER TABLE {CALLS} DROP CONSTRAINT {PLACE}")
    try:
        assert told(recorded) == [f"{CALLS} lacks its unique index {PLACE} on chain, sequence"]
        run(f"CREATE INDEX {PLACE} ON {CALLS} (chain, sequence)")
        assert told(recorded) == [f"{CALLS} lacks its unique index {PLACE} on chain, sequence"]
        run(f"DROP INDEX {PLACE}")
    finally:
        run(f"ALTER TABLE {CALLS} ADD CONSTRAINT {PLACE} UNIQUE (chain, sequence)")


@pytest.mark.parametrize("name", ["p%nted", "p%sted", 'pla"nted', "pla'nted", "plä\x1b[2Jnted", "100%"])
@pytest.mark.parametrize("on", ["chain", "signed_at"])
def test_an_index_may_be_called_anything(recorded: Path, name: str, on: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    run(f"CREATE INDEX {quoted} ON {SIGNED} ({on})")
    try:
        assert found(recorded) == set()
    finally:
        run(f"DROP INDEX {quoted}")


@sqlite_only
@pytest.mark.parametrize("on", ["lower(chain)", "chain COLLATE NOCASE", "chain, sequence DESC", "chain, 1"])
def test_an_index_of_an_operator_s_is_no_finding(recorded: Path, on: str) -> None:
    run(f"CREATE INDEX extra ON {SIGNED} ({on})")
    try:
        assert found(recorded) == set()
    finally:
        run("DROP INDEX extra")


@sqlite_only
def test_a_name_that_is_no_text_is_told_and_hides_nothing(recorded: Path) -> None:
    change(9, status=500)
    run(
        f"CREATE INDEX planted ON {SIGNED} (chain)",
        f"CREATE TRIGGER planting BEFORE INSERT ON {SIGNED} BEGIN SELECT 1; END",
    )
    odd = "CAST(replace(CAST({0} AS BLOB), CAST('plant' AS BLOB), x'ff') AS TEXT)"
    both = (
        f"UPDATE sqlite_master SET name = {odd.format('name')}, sql = {odd.format('sql')} WHERE name LIKE %s"
    )
    write_schema(both, "plant%")
    try:
        assert found(recorded) == {("database", 0), ("changed", 9)}
        assert told(recorded) == [
            f"{SIGNED} has a trigger of somebody's making (\ufffding)",
            f"{SIGNED} has an index of somebody's making, whose name is no text",
        ]
    finally:
        write_schema("DELETE FROM sqlite_master WHERE CAST(name AS BLOB) IN (x'ff6564', x'ff696e67')")


@contextmanager
def unmaintained(table: str, constraint: str) -> Iterator[None]:
    """The table without the index of its constraint, which stays as it is meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [table])
        ((sql,),) = cursor.fetchall()
        start = sql.index(f', CONSTRAINT "{constraint}"')
        bare = sql[:start] + sql[sql.index(")", start) + 1 :]
        autoindexes = "name LIKE 'sqlite_autoindex_%%' AND tbl_name = %s"
        cursor.execute(f"SELECT * FROM sqlite_master WHERE {autoindexes} ORDER BY name DESC LIMIT 1", [table])
        (kept,) = cursor.fetchall()
    _set_schema(("DELETE FROM sqlite_master WHERE name = %s", kept[1]), (_ITS_SQL, bare, table))
    yield
    _set_schema((_ITS_SQL, sql, table), ("INSERT INTO sqlite_master VALUES (%s, %s, %s, %s, %s)", *kept))


_ITS_SQL = "UPDATE sqlite_master SET sql = %s WHERE name = %s"


def _set_schema(*statements: tuple[object, ...]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA writable_schema = ON")
        for statement, *values in statements:
            cursor.execute(str(statement), values)
        ((version,),) = cursor.execute("PRAGMA schema_version").fetchall()
        cursor.execute(f"PRAGMA schema_version = {version + 1}")
        cursor.execute("PRAGMA writable_schema = OFF")


@sqlite_only
@pytest.mark.parametrize("at_once", [indexes.AT_ONCE, 7])
def test_a_row_that_only_the_index_of_the_chain_leads_away_from_is_told_of(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Pages would show it, and verification read the genuine one in its place."""
    monkeypatch.setattr(indexes, "AT_ONCE", at_once)
    forged = row(15)
    forged.pk, forged.call_id, forged.tool_id, forged.sequence = None, call(77), "mallory", None
    forged.save(force_insert=True)
    with unmaintained(CALLS, PLACE):
        run(f"UPDATE {CALLS} SET sequence = 15 WHERE id = {forged.pk}")
    try:
        assert RequestLog.objects.filter(tool_id="mallory").exists()
        (finding,) = verified(recorded).findings
        assert (finding.kind, finding.words.split(" that ")[0]) == ("database", f"{CALLS} holds rows (1)")
        assert period(recorded, LONG_AGO, None) == {("database", 0)}
    finally:
        with unmaintained(CALLS, PLACE):
            run(f"UPDATE {CALLS} SET sequence = NULL WHERE id = {forged.pk}")
    assert found(recorded) == {("forged", 0)}
