"""One manipulation does not hide another, nor the edge of a period, nor a cell that cannot be read."""

import itertools
from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from recorded import audit, call, outcome, serve, writer
from signed import change, checkpoints_file, found, recorded, row, verified
from test_manipulations import rehash

from telemetry.audit import strays, verification
from telemetry.audit.keys import signatures
from telemetry.audit.pruning import prune
from telemetry.audit.verification import Verified, verify
from telemetry.audit.verifier import MOST_FINDINGS, ZEROS
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog, RetentionRule

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def period(folder: Path, since: datetime | None, until: datetime | None) -> set[tuple[str, int]]:
    place = audit(folder)
    told = verify(signatures(place.public_keys()), place.copies, since=since, until=until)
    return {(finding.kind, finding.sequence) for finding in told.findings}


def spoil(table: str, column: str, value: str, where: str) -> None:
    """As somebody with the database file can, whatever its constraints say."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints=ON")
        cursor.execute(f"UPDATE {table} SET {column} = {value} WHERE {where}")
        cursor.execute("PRAGMA ignore_check_constraints=OFF")


@pytest.fixture
def three_days(tmp_path: Path) -> Path:
    """Six calls a day for three days, signed when they were made. The second day is asked about."""
    folder = tmp_path / "journal"
    journal, moving, place = Journal(folder), writer(folder), audit(folder)
    for day in range(3):
        for n in range(day * 6 + 1, day * 6 + 7):
            journal.outcome(outcome(call(n), started_at=_day(day).timestamp() + 3600))
        moving.run_once()
    journal.close()
    _date_signatures(place.signer())
    place.copies.path.unlink()
    writer(folder).run_once()
    return folder


def _day(n: int) -> datetime:
    return datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=n)


def _date_signatures(signer: object) -> None:
    """As if each had been made on its day."""
    from telemetry.audit.canonical import stamp
    from telemetry.audit.verifier import link_of

    link = ""
    for n, kept in enumerate(AuditCheckpoint.objects.order_by("number")):
        told = {name: value for name, value in kept.entry().items() if name not in ("key", "signature")}
        kept.signed_at = _day(n) + timedelta(hours=2)
        kept.line = signer.sign("checkpoint", told | {"previous": link, "signedAt": stamp(kept.signed_at)})  # type: ignore[attr-defined]
        kept.save()
        link = link_of(kept.entry())


def delete_all(*rows: int) -> None:
    RequestLog.objects.filter(sequence__in=rows).delete()


def date_elsewhere(*rows: int) -> None:
    RequestLog.objects.filter(sequence__in=rows).update(started_at=LONG_AGO, tool_id="mallory")


@pytest.mark.parametrize(
    ("manipulate", "rows", "expected"),
    [
        (delete_all, range(7, 13), {("deleted", 7)}),
        (delete_all, (7, 8), {("deleted", 7)}),
        (delete_all, (11, 12), {("deleted", 11)}),
        (date_elsewhere, range(7, 13), {("changed", n) for n in range(7, 13)}),
        (date_elsewhere, (7,), {("changed", 7)}),
        (date_elsewhere, (12,), {("changed", 12)}),
    ],
)
def test_the_edges_of_a_period_are_what_was_signed_then(
    three_days: Path, manipulate: Callable[..., None], rows: list[int], expected: set[tuple[str, int]]
) -> None:
    assert period(three_days, _day(1), _day(2)) == set()
    manipulate(*rows)
    assert period(three_days, _day(1), _day(2)) == expected
    assert period(three_days, _day(2), _day(3)) == set(), "not of the day after"
    assert period(three_days, None, None) == expected


def test_a_period_before_and_one_after_the_record_have_nothing_to_find(three_days: Path) -> None:
    assert period(three_days, LONG_AGO, LONG_AGO + timedelta(days=1)) == set()
    assert period(three_days, _day(20), None) == set()


def test_dropped_checkpoints_do_not_hide_an_edit_that_the_copies_prove(recorded: Path) -> None:
    rehash(9, 30, status=500)
    AuditCheckpoint.objects.filter(number__gte=2).delete()
    assert {("restored", 2), ("forged", 12), ("forged", 30)} <= found(recorded)


def test_a_forged_number_does_not_hide_the_rows_behind_it(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "BLOCK", 2)
    rehash(22, 30, status=500)
    forged = AuditCheckpoint.objects.get(number=4)
    forged.line = forged.line.replace('"sequence":24', f'"sequence":{10**15}')
    forged.save()
    assert ("forged", 30) in found(recorded)


def test_many_of_one_kind_do_not_hide_one_of_another(recorded: Path) -> None:
    template = RequestLog.objects.first()
    assert template is not None
    for n in range(1000, 1030):
        forged = copy(template)
        forged.pk, forged.call_id, forged.chain, forged.sequence = None, f"{n:032x}", "", None
        forged.save(force_insert=True)
    change(9, status=500)
    place = audit(recorded)
    told = verify(signatures(place.public_keys()), place.copies, most=3)
    assert "00000000-0000-0000-0000-0000000003e8" in str(told.findings[0])
    assert (told.found, len(told.findings)) == (31, 4)
    assert told.findings[-1][::2] == ("changed", 9)
    assert len(verify(signatures(place.public_keys()), place.copies, most=None).findings) == 31


def test_all_that_was_put_in_beside_the_chain_is_counted(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = row(9)
    forged = []
    for n in range(2000, 2000 + MOST_FINDINGS + 5):
        put_in = copy(template)
        put_in.pk, put_in.call_id, put_in.chain, put_in.sequence = None, call(n), "", None
        forged.append(put_in)
    RequestLog.objects.bulk_create(forged)
    place = audit(recorded)
    told = verify(signatures(place.public_keys()), place.copies)
    assert (told.found, len(told.findings)) == (MOST_FINDINGS + 5, MOST_FINDINGS)
    monkeypatch.setattr(strays, "AT_ONCE", 100)
    told = verify(signatures(place.public_keys()), place.copies, most=None)
    words = {finding.words for finding in told.findings}
    assert len(words) == MOST_FINDINGS + 5
    assert any(str(forged[-1].call_id) in said for said in words)


def test_what_only_the_copies_have_is_told_in_runs(recorded: Path) -> None:
    AuditCheckpoint.objects.filter(number__in=(2, 3, 5)).delete()
    told = [str(finding) for finding in verified(recorded).findings if finding.kind == "restored"]
    assert len(told) == 2
    assert "checkpoints 2 to 3 (row 18 was signed)" in told[0]
    assert "checkpoint 5 (row 30 was signed)" in told[1]


def test_copies_in_another_order_are_no_restored_database(recorded: Path) -> None:
    path = checkpoints_file(recorded)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], lines[2], lines[1], *lines[3:], lines[3]]))
    assert {kind for kind, _ in found(recorded)} == {"copy"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("model", "CAST(x'ff61' AS TEXT)"),
        ("hash", "CAST(x'ff61' AS TEXT)"),
        ("attempts", f"'{'[' * 3000}'"),
        ("decision", "CAST(x'ff' AS TEXT)"),
        ("started_at", "CAST(x'ff' AS TEXT)"),
        ("tool_id", "x'626f62'"),
        ("duration_ms", "'x'"),
        ("call_id", "'1'"),
    ],
)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL's columns take nothing else")
def test_a_cell_that_cannot_be_read_is_named_and_hides_no_other(
    recorded: Path, column: str, value: str
) -> None:
    spoil("telemetry_requestlog", column, value, "sequence = 9")
    change(27, status=500)
    assert {sequence for _, sequence in found(recorded)} >= {9, 27}


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL's column takes nothing else")
def test_a_row_beside_the_chain_without_a_call_id_is_named_too(recorded: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_requestlog SET chain = '', call_id = 'no uuid' WHERE sequence = 9")
    told = [str(finding) for finding in verified(recorded).findings if finding.kind == "forged"]
    assert told == ["forged      chain - #0: the row with call id 'no uuid' was put in beside the chain"]


@pytest.mark.parametrize("moment", ["infinity", "-infinity", "10000-01-01", "0044-03-15 BC"])
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite keeps moments as text")
def test_a_moment_that_python_does_not_know_is_named_and_hides_no_other(recorded: Path, moment: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_requestlog SET started_at = %s WHERE sequence = 9", [moment])
        cursor.execute("UPDATE telemetry_auditcheckpoint SET signed_at = %s WHERE number = 2", [moment])
    change(27, status=500)
    assert {("changed", 9), ("checkpoint", 2), ("changed", 27)} <= found(recorded)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("chain", "x'00ff'"),
        ("line", "x'00ff'"),
        ("line", "CAST(x'ff' AS TEXT)"),
        ("signed_at", "'x'"),
        ("number", "'x'"),
    ],
)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL's columns take nothing else")
def test_a_checkpoint_that_cannot_be_read_is_named_and_hides_no_row(
    recorded: Path, column: str, value: str
) -> None:
    spoil("telemetry_auditcheckpoint", column, value, "number = 2")
    change(27, status=500)
    told = found(recorded)
    assert ("changed", 27) in told
    assert {kind for kind, _ in told} & {"checkpoint", "forged"}


def test_the_columns_of_a_tombstone_are_held_against_what_was_signed(recorded: Path) -> None:
    RetentionRule.objects.create(days=1)
    prune(audit(recorded).signer(), timezone.now(), by="ada", most=7)
    assert found(recorded) == set()
    AuditTombstone.objects.update(first=1000, last=1000, rows=1)
    assert {kind for kind, _ in found(recorded)} == {"tombstone"}


def test_the_copies_may_lie_where_nothing_can_be_cut(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that a crash cut off stays then; whole, it follows."""
    path = checkpoints_file(recorded)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    refused = itertools.repeat(OSError(1, "Operation not permitted"))

    def only_grows(fd: int, length: int) -> None:
        raise next(refused)

    monkeypatch.setattr("os.ftruncate", only_grows)
    journal = Journal(recorded)
    serve(journal, 31)
    writer(recorded).run_once()
    journal.close()
    assert path.read_bytes().startswith(whole[:-20] + b"\n")
    assert found(recorded) == set()


def test_a_hash_of_zeros_is_no_anchor_in_the_middle(recorded: Path) -> None:
    found_row = row(10)
    change(10, hash=ZEROS)
    assert found_row.sequence == 10
    assert {("changed", 10), ("changed", 11)} <= found(recorded)


def test_told_is_a_copy_of_its_own() -> None:
    assert Verified().findings is not Verified().findings
