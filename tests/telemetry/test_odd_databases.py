"""A database that does not show everybody the same rows is told of, and so are values that only look alike."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from recorded import audit, call
from signed import checkpoints_file, found, recorded, row, verified
from test_hidden import _day, delete_all, period, spoil, three_days
from test_manipulations import rehash

from telemetry.audit.canonical import canonical
from telemetry.audit.chain import row_of
from telemetry.audit.keys import signatures
from telemetry.audit.one_row import verify_row
from telemetry.audit.verifier import row_hash
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

__all__ = ("recorded", "three_days")
pytestmark = pytest.mark.django_db(transaction=True)
sqlite_only = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="only SQLite keeps any kind of value in any column"
)
CALLS, SIGNED, STONES = (
    RequestLog._meta.db_table,
    AuditCheckpoint._meta.db_table,
    AuditTombstone._meta.db_table,
)


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@sqlite_only
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("method", "x'7216ad'"),  # "chat" is its base64
        ("started_at", "replace(started_at, ' ', 'T') || 'Z'"),
        ("started_at", "CAST(started_at AS BLOB)"),
        ("decision", "CAST(decision AS BLOB)"),
        ("tool_id", "CAST(tool_id AS BLOB)"),
    ],
)
def test_a_value_that_only_reads_alike_is_found(recorded: Path, column: str, value: str) -> None:
    spoil(CALLS, column, value, "sequence = 9")
    assert found(recorded) == {("changed", 9)}


@sqlite_only
@pytest.mark.parametrize("number", ["9.5", "'nine'"])
def test_a_number_that_is_none_was_put_in(recorded: Path, number: str) -> None:
    spoil(CALLS, "sequence", number, "sequence = 9")
    assert found(recorded) == {("forged", 0), ("deleted", 9)}


@sqlite_only
@pytest.mark.parametrize("value", ["CAST(signed_at AS BLOB)", "'2026-11-01 03:00:00-23:00'"])
def test_a_moment_written_otherwise_does_not_move_a_day_out_of_its_period(
    three_days: Path, value: str
) -> None:
    delete_all(*range(7, 13))
    spoil(SIGNED, "signed_at", value, "number = 2")
    assert ("checkpoint", 2) in period(three_days, _day(1), _day(2))


@sqlite_only
def test_rows_that_are_dated_otherwise_are_found_in_each_period(three_days: Path) -> None:
    spoil(CALLS, "started_at", "CAST(started_at AS BLOB)", "sequence > 6")
    assert {("changed", 7), ("changed", 18)} <= period(three_days, _day(1), _day(2))


def a_trigger(table: str) -> list[str]:
    if connection.vendor == "sqlite":
        return [f"CREATE TRIGGER planted BEFORE INSERT ON {table} BEGIN SELECT 1; END"]
    return [
        "CREATE OR REPLACE FUNCTION planted() RETURNS trigger AS 'BEGIN RETURN NEW; END' LANGUAGE plpgsql",
        f"CREATE TRIGGER planted BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION planted()",
    ]


@pytest.mark.parametrize("table", [CALLS, SIGNED, STONES])
def test_a_trigger_of_somebodys_making_is_told_of(recorded: Path, table: str) -> None:
    assert found(recorded) == set()
    run(*a_trigger(table))
    try:
        (finding,) = verified(recorded).findings
    finally:
        run(f"DROP TRIGGER planted{'' if connection.vendor == 'sqlite' else f' ON {table}'}")
    assert (finding.kind, finding.words) == (
        "database",
        f"{table} has a trigger of somebody's making (planted)",
    )


@sqlite_only
def test_a_trigger_is_told_of_however_its_table_is_spelled(recorded: Path) -> None:
    run(f"CREATE TRIGGER planted BEFORE INSERT ON {CALLS.title()} BEGIN SELECT 1; END")
    try:
        assert found(recorded) == {("database", 0)}
    finally:
        run("DROP TRIGGER planted")


def test_a_view_in_the_place_of_a_table_is_told_of(recorded: Path) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("there the tables' indexes are asked for by name, and a view has none")
    run(f"ALTER TABLE {CALLS} RENAME TO hidden", f"CREATE VIEW {CALLS} AS SELECT * FROM hidden")
    try:
        assert ("database", 0) in found(recorded)
    finally:
        run(f"DROP VIEW {CALLS}", f"ALTER TABLE hidden RENAME TO {CALLS}")


def test_a_row_without_any_chain_is_told_of(recorded: Path) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("there the column's constraint cannot be dropped by a statement")
    run(f"ALTER TABLE {CALLS} ALTER chain DROP NOT NULL")
    try:
        run(f"UPDATE {CALLS} SET chain = NULL WHERE sequence = 30")
        assert ("forged", 0) in found(recorded)
    finally:
        run(
            f"UPDATE {CALLS} SET chain = '' WHERE chain IS NULL",
            f"ALTER TABLE {CALLS} ALTER chain SET NOT NULL",
        )


@sqlite_only
def test_an_index_that_lacks_a_row_is_told_of(recorded: Path) -> None:
    """What pages show would not be what is verified."""
    name = "tombstone_by_first"
    with without_index(name):
        AuditTombstone.objects.create(
            chain=row(1).chain, first=1, last=9, rows=9, signed_at=timezone.now(), line="{}"
        )
    try:
        assert ("database", 0) in found(recorded)
    finally:
        run(f"REINDEX {name}")
    assert {kind for kind, _ in found(recorded)} == {"tombstone"}


@contextmanager
def without_index(name: str) -> Iterator[None]:
    """As somebody with the file can: it comes back as it was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM sqlite_master WHERE name = %s", [name])
        definition = cursor.fetchone()
    write_schema("DELETE FROM sqlite_master WHERE name = %s", name)
    yield
    write_schema("INSERT INTO sqlite_master VALUES (%s, %s, %s, %s, %s)", *definition)


def write_schema(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA writable_schema = ON")
        cursor.execute(statement, values)
        cursor.execute("PRAGMA schema_version")
        (version,) = cursor.fetchone()
        cursor.execute(f"PRAGMA schema_version = {version + 1}")
        cursor.execute("PRAGMA writable_schema = OFF")


def a_checkpoint_of_no_chain(chain: str) -> None:
    AuditCheckpoint.objects.create(chain="", number=99, sequence=99, signed_at=timezone.now(), line="{}")


def a_tombstone_of_no_chain(chain: str) -> None:
    AuditTombstone.objects.create(chain="", first=1, last=9, rows=9, signed_at=timezone.now(), line="{}")


def a_tombstone_of_a_chain_without_rows(chain: str) -> None:
    AuditTombstone.objects.create(chain="other", first=1, last=9, rows=9, signed_at=timezone.now(), line="{}")


def a_tombstone_before_all_others(chain: str) -> None:
    AuditTombstone.objects.create(
        pk=-3, chain=chain, first=1, last=9, rows=9, signed_at=timezone.now(), line="{}"
    )


@pytest.mark.parametrize(
    "put_in",
    [
        a_checkpoint_of_no_chain,
        a_tombstone_of_no_chain,
        a_tombstone_of_a_chain_without_rows,
        a_tombstone_before_all_others,
    ],
)
def test_what_belongs_to_no_chain_is_looked_at_too(recorded: Path, put_in: Callable[[str], None]) -> None:
    put_in(row(1).chain)
    assert found(recorded)


@sqlite_only
def test_a_checkpoint_with_a_text_for_its_number_is_looked_at_too(recorded: Path) -> None:
    moment = timezone.now().strftime("%Y-%m-%d %H:%M:%S")
    run(
        f"INSERT INTO {SIGNED} (chain, number, sequence, signed_at, line) "
        f"VALUES ('{row(1).chain}', 'x', 99, '{moment}', '{{}}')"
    )
    assert ("checkpoint", 0) in found(recorded)


@pytest.mark.parametrize(
    "change", [lambda line: '{"hash":"0",' + line[1:], lambda line: line.replace(",", ", ", 1)]
)
def test_a_signed_line_is_written_in_one_way_alone(recorded: Path, change: Callable[[str], str]) -> None:
    """Readers differ about what says a thing twice, and packs that hold such a line cannot be read."""
    kept = AuditCheckpoint.objects.get(number=3)
    AuditCheckpoint.objects.filter(pk=kept.pk).update(line=change(kept.line))
    assert found(recorded) == {("checkpoint", 3)}


def test_a_number_that_no_column_holds_hides_no_row(recorded: Path) -> None:
    RequestLog.objects.filter(sequence=9).update(status=500)
    last = AuditCheckpoint.objects.get(number=5)
    AuditCheckpoint.objects.filter(pk=last.pk).update(
        line=last.line.replace('"sequence":30', f'"sequence":{10**30}')
    )
    assert {("changed", 9), ("checkpoint", 5)} <= found(recorded)


def test_chains_that_only_forged_copies_name_are_not_looked_for(recorded: Path) -> None:
    path = checkpoints_file(recorded)
    line = path.read_text().splitlines()[0]
    with path.open("a") as file:
        file.writelines(line.replace(row(1).chain, f"{n:016x}") + "\n" for n in range(200))
    told = verified(recorded)
    assert {finding.words for finding in told.findings} == {
        "the copies outside the database have a checkpoint there that is not genuine"
    }
    assert told.found == 200


def test_the_row_that_is_shown_is_the_one_that_is_verified(recorded: Path) -> None:
    shown = row(9)
    keys = signatures(audit(recorded).public_keys())
    assert verify_row(keys, shown)[1] == []
    shown.tool_id = "mallory"
    assert [finding.kind for finding in verify_row(keys, shown)[1]] == ["forged"]


def test_a_signature_that_was_moved_vouches_for_no_row(recorded: Path) -> None:
    """The walk goes to what was signed, whatever the column beside it says."""
    keys = signatures(audit(recorded).public_keys())
    rehash(9, 9, tool_id="mallory")
    AuditCheckpoint.objects.filter(number=2).update(sequence=8)
    AuditCheckpoint.objects.filter(number=3).update(sequence=9)
    (closing, told) = verify_row(keys, row(9))
    assert closing is not None
    assert [(finding.kind, finding.sequence) for finding in told] == [("checkpoint", 3), ("changed", 10)]


def test_a_signature_over_other_rows_covers_none_behind_them(recorded: Path) -> None:
    keys = signatures(audit(recorded).public_keys())
    forged = row(30)
    forged.pk, forged.call_id, forged.sequence, forged.tool_id = None, call(99), 31, "mallory"
    forged.hash = row_hash(row(30).hash, canonical(row_of(forged)))
    forged.save(force_insert=True)
    AuditCheckpoint.objects.filter(number=5).update(sequence=31)
    (_, told) = verify_row(keys, row(31))
    assert [(finding.kind, finding.sequence) for finding in told] == [("checkpoint", 5), ("unsigned", 31)]


def test_a_row_behind_a_missing_one_cannot_be_told(recorded: Path) -> None:
    row(3).delete()
    RequestLog.objects.filter(sequence=4).update(status=500)
    (_, told) = verify_row(signatures(audit(recorded).public_keys()), row(4))
    assert [(finding.kind, finding.sequence) for finding in told] == [("deleted", 3)]
    (finding,) = verified(recorded).findings
    assert finding.words.endswith("nobody can tell whether row 4 is as it was recorded")


def test_a_signature_dated_in_the_future_is_no_defect(recorded: Path) -> None:
    """A clock that was wrong for a moment."""
    assert period(recorded, datetime(2100, 1, 1, tzinfo=UTC), None) == set()
