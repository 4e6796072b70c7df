"""One cell that somebody changed stops no recording: what cannot be read is told, and calls go on being stored."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import DatabaseError, connection
from recorded import AT, audit, no_table, serve, writer
from signed import recorded

from telemetry.audit.standing import faults
from telemetry.audit.verification import NEVER, due_since
from telemetry.failures import FailureCount, FailureCounts
from telemetry.journal import Journal
from telemetry.models import (
    AuditCheckpoint,
    AuditVerification,
    RequestLog,
    RetentionRule,
)
from telemetry.set_aside import NAME as SET_ASIDE
from telemetry.unreadable import UnreadableCell, cells

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)
IS_SQLITE = connection.vendor == "sqlite"
any_value = pytest.mark.skipif(not IS_SQLITE, reason="PostgreSQL's columns take nothing but what they hold")
CHECKPOINT = "UPDATE telemetry_auditcheckpoint SET {} WHERE number = {}"
ROW = "UPDATE telemetry_requestlog SET {} WHERE sequence = {}"
NO_TEXT = "CAST(x'ff' AS TEXT)"
NO_DAY = "'2026-13-45 00:00:00'"
TOMBSTONE = (
    "INSERT INTO telemetry_audittombstone(chain, first, last, rows, signed_at, line) "
    f"SELECT chain, 1, 1, 1, {NO_DAY}, '{{}}' FROM telemetry_requestlog LIMIT 1"
)


def spoil(statement: str) -> None:
    with connection.cursor() as cursor:
        if IS_SQLITE:
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(statement)
        if IS_SQLITE:
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


def started(folder: Path, n: int = 50) -> int:
    """A writer starts, does what it does every hour, and stores one more call: how many it stored."""
    journal = Journal(folder)
    serve(journal, n)
    journal.close()
    moving = writer(folder, hourly=lambda now: due_since() and None)
    moving.keep_up(datetime.now(UTC))
    return moving.run_once()


def told(folder: Path) -> str:
    return "; ".join(faults(audit(folder).folder) + faults(folder))


@any_value
@pytest.mark.parametrize(
    "statement",
    [
        CHECKPOINT.format(f"signed_at = {NO_DAY}", 5),
        CHECKPOINT.format("signed_at = 'x'", 5),
        CHECKPOINT.format("signed_at = 5", 5),
        CHECKPOINT.format("number = 'x'", 5),
        CHECKPOINT.format("number = x'00'", 5),
        CHECKPOINT.format("line = x'00ff'", 5),
        CHECKPOINT.format(f"line = {NO_TEXT}", 5),
        CHECKPOINT.format("line = '" + "[" * 100_000 + "'", 5),
        CHECKPOINT.format("sequence = 'x', line = '{}'", 5),
        ROW.format("sequence = 'x'", 30),
        ROW.format(f"hash = {NO_TEXT}", 30),
        ROW.format(f"chain = {NO_TEXT}", 30),
    ],
)
def test_an_end_that_cannot_be_read_begins_another_chain(recorded: Path, statement: str) -> None:
    spoil(statement)
    assert started(recorded) == 1
    assert told(recorded) != ""
    assert AuditCheckpoint.objects.order_by("-pk")[0].number == 1


@any_value
@pytest.mark.parametrize(
    "statement",
    [
        ROW.format("started_at = '2020-13-45 00:00:00'", 3),
        ROW.format("started_at = '1'", 3),
        ROW.format("call_id = 'x'", 3),
        ROW.format("decision = 'x'", 3),
        ROW.format("decision = '\"\\ud800\"'", 3),
        ROW.format(f"model = {NO_TEXT}", 3),
        ROW.format("status = 'x'", 3),
        ROW.format("tool_id = x'00'", 3),
    ],
)
def test_what_cannot_be_read_of_old_calls_keeps_those_alone_that_were_signed_with_it(
    recorded: Path, statement: str
) -> None:
    RetentionRule.objects.create(days=1)
    spoil(statement)
    assert started(recorded) == 1
    assert "not removed for their age" in told(recorded)
    assert list(RequestLog.objects.order_by("pk").values_list("sequence", flat=True)) == [
        1,
        2,
        3,
        4,
        5,
        6,
        31,
    ]


@any_value
@pytest.mark.parametrize("statement", [TOMBSTONE, CHECKPOINT.format(f"signed_at = {NO_DAY}", 2)])
def test_what_is_signed_goes_by_its_line_alone(recorded: Path, statement: str) -> None:
    RetentionRule.objects.create(days=1)
    spoil(statement)
    assert started(recorded) == 1
    assert (told(recorded), RequestLog.objects.count()) == ("", 1)


@any_value
@pytest.mark.parametrize(
    "statement",
    [
        CHECKPOINT.format(f"line = {NO_TEXT}", 2),
        "UPDATE telemetry_retentionrule SET days = 'x'",
        f"INSERT INTO telemetry_legalhold(tool_id, since, until, reason, created_at) VALUES ('', {NO_DAY}, NULL, '', {NO_DAY})",
    ],
)
def test_rules_and_signatures_that_cannot_be_read_keep_none_from_being_recorded(
    recorded: Path, statement: str
) -> None:
    RetentionRule.objects.create(days=1)
    spoil(statement)
    assert started(recorded) == 1
    assert "not removed for their age" in told(recorded)
    assert RequestLog.objects.count() == 31


@any_value
@pytest.mark.parametrize("moment", [NO_DAY, "'x'"])
def test_a_call_that_is_not_due_keeps_those_alone_that_were_signed_with_it(
    recorded: Path, moment: str
) -> None:
    """A text that is above all moments."""
    RetentionRule.objects.create(days=1)
    spoil(ROW.format(f"started_at = {moment}", 30))
    assert started(recorded) == 1
    assert RequestLog.objects.count() == 7
    assert "row 30" in told(recorded)


@any_value
@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE telemetry_callrollup SET latency = 'x'", "Calls are not summed up"),
        ("UPDATE telemetry_callrollup SET calls = 'x'", "Calls are not summed up"),
        (f"UPDATE telemetry_methoduse SET last_at = {NO_DAY}", "Uses of methods are not noted"),
    ],
)
def test_sums_that_cannot_be_read_keep_no_call_from_the_record(
    recorded: Path, statement: str, words: str
) -> None:
    spoil(statement)
    assert started(recorded) == 1
    assert words in told(recorded)
    assert RequestLog.objects.count() == 31
    assert not (recorded / SET_ASIDE).exists()


@any_value
@pytest.mark.parametrize("moment", [NO_DAY, "'x'", NO_TEXT, "5"])
def test_a_verification_whose_time_cannot_be_read_is_due_now(recorded: Path, moment: str) -> None:
    AuditVerification.objects.create(
        started_at=datetime.now(UTC),
        finished_at=datetime.now(UTC),
        by="olga",
        scope="",
        whole=True,
        rows=1,
        found=0,
    )
    assert due_since() not in (None, NEVER)
    spoil(f"UPDATE telemetry_auditverification SET started_at = {moment}")
    assert due_since() == NEVER
    assert started(recorded) == 1


@any_value
@pytest.mark.parametrize("moment", [NO_DAY, "'x'", NO_TEXT, "5"])
def test_a_first_signature_whose_time_cannot_be_read_switches_no_verification_off(
    recorded: Path, moment: str
) -> None:
    spoil(CHECKPOINT.format(f"signed_at = {moment}", 1))
    assert due_since() == NEVER


@any_value
@pytest.mark.parametrize("cell", [f"route = {NO_TEXT}", "counted_by = '5'", "counted_by = 'x'"])
def test_a_count_of_refusals_that_cannot_be_read_keeps_no_call_from_the_record(
    recorded: Path, cell: str
) -> None:
    count = FailureCount(
        minute=int(AT), address="192.0.2.1", kind="token", route="/mcp", count=1, first_at=AT, last_at=AT
    )
    for n in (1, 2):
        journal = Journal(recorded)
        journal.failed_authentication(FailureCounts(process="p", counts=(count,)))
        journal.close()
        assert started(recorded, 50 + n) == 1
        spoil(f"UPDATE telemetry_failedauthentication SET {cell}")
    assert (recorded / SET_ASIDE).exists()


def test_a_record_without_a_signature_is_verified_at_once(recorded: Path) -> None:
    AuditCheckpoint.objects.all().delete()
    assert due_since() == NEVER
    RequestLog.objects.all().delete()
    assert due_since() is None


def test_a_database_that_does_not_answer_is_no_cell(recorded: Path) -> None:
    with pytest.raises(DatabaseError), no_table(), cells():
        list(RequestLog.objects.all())
    spoil(ROW.format(f"hash = {NO_TEXT}" if IS_SQLITE else "started_at = 'infinity'", 30))
    with pytest.raises(UnreadableCell, match="OperationalError" if IS_SQLITE else "DataError"), cells():
        list(RequestLog.objects.all())


@pytest.mark.skipif(IS_SQLITE, reason="SQLite knows no such moments")
@pytest.mark.parametrize("moment", ["infinity", "-infinity", "20000-01-01", "0044-03-15 BC"])
def test_a_moment_that_no_calendar_of_ours_has_keeps_no_call_from_the_record(
    recorded: Path, moment: str
) -> None:
    RetentionRule.objects.create(days=1)
    spoil(CHECKPOINT.format(f"signed_at = '{moment}'", 1))
    spoil(ROW.format(f"started_at = '{moment}'", 3))
    assert due_since() == NEVER
    assert started(recorded) == 1
    assert told(recorded) != ""
    spoil(CHECKPOINT.format(f"signed_at = '{moment}'", 5))
    spoil(f"UPDATE telemetry_methoduse SET last_at = '{moment}'")
    assert started(recorded, 51) == 1
