"""`audit_verify`, `audit_export` and `audit_prune`, as Olga runs them."""

import json
import os
import re
import signal
import sqlite3
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test import Client as Browser
from django.utils import timezone

from gateway.changelog import operating_system_user
from gateway.management.commands.write_journal import Command as WriteJournal
from gateway.models import ConfigChange
from gateway.places import audit_folder, journal_folder
from telemetry.audit import reader, side_by_side, verdict
from telemetry.audit.keys import open_signer
from telemetry.journal import Journal
from telemetry.models import (
    AuditCheckpoint,
    AuditTombstone,
    AuditVerification,
    LegalHold,
    RequestLog,
    RetentionRule,
)
from telemetry.types import CallRecord

pytestmark = pytest.mark.django_db(transaction=True)
AT = 1_700_000_000.0
CALL = "018bcfe5-6800-7000-8000-0000000000%02x"


@contextmanager
def five_calls(tmp_path: Path) -> Iterator[None]:
    """A state folder of its own, with five calls in the record, one an hour."""
    before, settings.STATE_DIR = settings.STATE_DIR, tmp_path
    journal = Journal(journal_folder())
    for n in range(1, 6):
        journal.outcome(
            CallRecord(
                call_id=CALL % n, tool_id="bob" if n % 2 else "charlie", token_id="t", method="chat", peer="127.0.0.1",
                started_at=AT + n * 3600, config_version=1, outcome="ok", status=200, duration_ms=5,
            )
        )  # fmt: skip
    call_command("write_journal")
    journal.close()
    try:
        yield
    finally:
        settings.STATE_DIR = before


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    with five_calls(tmp_path):
        yield tmp_path


def run(command: str, *arguments: Any) -> str:
    out = StringIO()
    call_command(command, *map(str, arguments), stdout=out)
    return out.getvalue()


def test_an_honest_record_is_verified_and_the_verification_kept(state: Path) -> None:
    told = run("audit_verify")
    assert "5 rows verified" in told
    assert "nothing found" in told
    kept = AuditVerification.objects.get()
    assert (kept.rows, kept.found, kept.findings) == (5, 0, [])


def test_only_a_verification_of_everything_counts_as_one(state: Path) -> None:
    run("audit_verify", "--since", "2023-11-14T23:30")
    assert verdict.told(audit_folder().folder) is None
    assert not AuditVerification.objects.get().whole
    run("audit_verify")
    told = verdict.told(audit_folder().folder)
    assert told is not None
    assert (told.rows, told.found) == (5, 0)
    assert told.at == pytest.approx(time.time(), abs=60)
    assert AuditVerification.objects.filter(whole=True).count() == 1


def test_a_changed_row_is_named_and_the_exit_code_is_1(state: Path) -> None:
    RequestLog.objects.filter(sequence=3).update(status=500)
    out = StringIO()
    with pytest.raises(SystemExit) as left:
        call_command("audit_verify", stdout=out)
    assert left.value.code == 1
    assert "#3: the row is not the one that was recorded" in out.getvalue()
    assert AuditVerification.objects.get().found == 1


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        (("--since", "2023-11-15T01:00"), 5),
        (("--since", "2023-11-15T00:13:20", "--until", "2023-11-15T02:00"), 5),
        (("--since", "2030-01-01"), 0),
    ],
)
def test_a_period_can_be_verified_alone(state: Path, arguments: tuple[str, ...], rows: int) -> None:
    """With what was signed together with it: whatever is done at its edges shows."""
    assert f"{rows} rows verified" in run("audit_verify", *arguments)


def test_a_change_outside_the_period_is_not_its_finding(state: Path) -> None:
    RequestLog.objects.filter(sequence=1).update(status=500)
    assert "nothing found" in run("audit_verify", "--since", "2030-01-01")


@pytest.mark.parametrize("number", ["0", "65", "-1", "many", "²"])
def test_a_number_of_processes_that_cannot_be_is_refused(state: Path, number: str) -> None:
    with pytest.raises(CommandError, match="--processes: has to be a number from 1 to 64"):
        call_command("audit_verify", f"--processes={number}")


def test_processes_that_are_killed_leave_the_record_unverified(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(side_by_side, "MANY", 0)
    assert "5 rows verified" in run("audit_verify", "--processes=2")
    monkeypatch.setattr(reader, "hashed", lambda page: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(
        CommandError, match="cannot be verified: a process that verified was killed"
    ) as refused:
        call_command("audit_verify", "--processes=2")
    assert refused.value.returncode == 2
    told = verdict.told(audit_folder().folder)
    assert told is not None
    assert told.unverified == "a process that verified was killed"


def test_a_period_that_ends_before_it_begins_is_refused(state: Path) -> None:
    with pytest.raises(CommandError, match="--since has to be before --until") as refused:
        call_command("audit_verify", "--since", "2023-11-16", "--until", "2023-11-15")
    assert refused.value.returncode == 2


def test_what_keeps_a_verification_from_being_kept_does_not_hide_what_it_found(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever can write to the database could keep it from being told, and health would know the last clean one."""
    RequestLog.objects.filter(sequence=2).update(status=500)
    with without_verifications(), pytest.raises(SystemExit):
        call_command("audit_verify")
    told = capsys.readouterr()
    assert "changed" in told.out
    assert "cannot be kept in the database" in told.err
    (kept,) = [verdict.told(audit_folder().folder)]
    assert kept is not None
    assert kept.found == 1


@contextmanager
def without_verifications() -> Iterator[None]:
    table = AuditVerification._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")


def test_the_name_of_a_chain_moves_no_cursor(state: Path) -> None:
    odd = "\x1b[2J\x1b[Hnothing"
    AuditCheckpoint.objects.create(chain=odd, number=1, sequence=9, signed_at=timezone.now(), line="{}")
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("audit_verify", stdout=out)
    assert "\x1b" not in out.getvalue()
    assert r"chain \x1b[2J\x1b[Hnothing" in out.getvalue()


def test_how_many_copies_were_compared_is_said(state: Path, tmp_path: Path) -> None:
    assert "Compared with 1 copies of checkpoints in" in run("audit_verify")
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    assert "Compared with 0 copies" in run("audit_verify", "--checkpoints", empty)


def test_a_missing_name_of_the_chain_is_found(state: Path) -> None:
    (audit_folder().folder / "chain").unlink()
    out = StringIO()
    with pytest.raises(SystemExit):
        call_command("audit_verify", stdout=out)
    assert "nothing says how far its copies have to reach" in out.getvalue()


def test_what_cannot_be_verified_is_no_finding(state: Path) -> None:
    copies = audit_folder().copies.path
    copies.unlink()
    copies.mkdir()
    with pytest.raises(CommandError, match="cannot be verified") as refused:
        call_command("audit_verify")
    assert refused.value.returncode == 2


def spoil_a_believed_key() -> None:
    (own,) = (audit_folder().folder / "believed").glob("*.pub")
    own.write_text("no key")


def spoil_the_copies() -> None:
    audit_folder().copies.path.unlink()
    audit_folder().copies.path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(spoil_a_believed_key, "No public key can be read"), (spoil_the_copies, "Is a directory")],
)
def test_what_keeps_the_whole_record_from_being_verified_is_told_until_it_is(
    state: Path, spoil: Callable[[], None], words: str
) -> None:
    run("audit_verify")
    before = verdict.told(audit_folder().folder)
    assert before is not None
    spoil()
    with pytest.raises(CommandError):
        run("audit_verify", "--since", "2030-01-01")
    assert verdict.told(audit_folder().folder) == before, "a part says nothing of the whole"
    with pytest.raises(CommandError):
        run("audit_verify")
    told = verdict.told(audit_folder().folder)
    assert told is not None
    assert words in told.unverified
    assert (told.at, told.rows, told.found) == (before.at, 5, 0), "the last one that was made"


def test_a_later_verification_clears_that_one_could_not_be_made(state: Path) -> None:
    verdict.tell_unverified(audit_folder().folder, "x")
    run("audit_verify")
    told = verdict.told(audit_folder().folder)
    assert told is not None
    assert (told.unverified, told.rows) == ("", 5)


def test_a_table_that_is_away_keeps_the_record_from_being_verified(state: Path) -> None:
    table = AuditTombstone._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        try:
            with pytest.raises(CommandError):
                run("audit_verify")
        finally:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")
    told = verdict.told(audit_folder().folder)
    assert told is not None
    assert told.unverified.startswith("something in the database cannot be read")


def test_a_database_that_does_not_answer_says_nothing_of_the_record(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = sqlite3.OperationalError("database is locked")
    locked.sqlite_errorcode = sqlite3.SQLITE_BUSY

    def refuse(*_: Any, **__: Any) -> None:
        raise OperationalError("database is locked") from locked

    monkeypatch.setattr("gateway.management.commands.audit_verify.verify", refuse)
    with pytest.raises(CommandError):
        run("audit_verify")
    assert verdict.told(audit_folder().folder) is None


def test_a_restored_database_is_declared_with_a_reason(state: Path) -> None:
    RequestLog.objects.all().delete()
    AuditCheckpoint.objects.all().delete()
    with pytest.raises(CommandError, match="Say why"):
        run("audit_restored", "--reason", " ")
    assert "rows 1 to 5 are signed to be lost" in run("audit_restored", "--reason", "the disk broke")
    told = run("audit_verify")
    assert "nothing found" in told
    assert "5 rows were lost with a restored database, under 1 tombstone: restored: the disk broke" in told
    assert "Nothing is lost" in run("audit_restored", "--reason", "the disk broke")


def test_other_copies_of_the_checkpoints_can_be_compared_with(state: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept-elsewhere.jsonl"
    kept.write_bytes(audit_folder().copies.path.read_bytes())
    assert "nothing found" in run("audit_verify", "--checkpoints", kept)
    with pytest.raises(CommandError) as refused:
        run("audit_verify", "--checkpoints", tmp_path / "none")
    assert refused.value.returncode == 2


def test_a_key_that_came_another_way_is_believed_and_no_other(state: Path, tmp_path: Path) -> None:
    (own,) = (audit_folder().folder / "believed").glob("*.pub")
    assert "nothing found" in run("audit_verify", "--public-key", own)
    from telemetry.audit.keys import open_signer

    open_signer(tmp_path / "other" / "key", tmp_path / "other")
    (other,) = (tmp_path / "other" / "believed").glob("*.pub")
    with pytest.raises(SystemExit):
        run("audit_verify", "--public-key", other)
    (tmp_path / "no.pub").write_text("no key")
    with pytest.raises(CommandError) as refused:
        run("audit_verify", "--public-key", tmp_path / "no.pub")
    assert refused.value.returncode == 2


@pytest.mark.parametrize(
    "date", ["yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-13-01"]
)
def test_a_date_that_is_none_is_refused_with_how_to_write_it(state: Path, tmp_path: Path, date: str) -> None:
    with pytest.raises(CommandError, match="write 2026-11-01"):
        run("audit_verify", "--since", date)
    with pytest.raises(CommandError, match="write 2026-11-01"):
        run("audit_export", tmp_path / "out.csv", "--until", date)


@pytest.mark.parametrize("ending", ["jsonl", "csv", "zip"])
def test_exports_go_by_the_file_s_ending_and_replace_nothing(
    state: Path, tmp_path: Path, ending: str
) -> None:
    path = tmp_path / f"out.{ending}"
    assert "wrote the whole record" in run("audit_export", path)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(CommandError, match="not replaced") as refused:
        run("audit_export", path)
    assert refused.value.returncode == 2


@contextmanager
def without_its_table() -> Iterator[None]:
    """The database is not what it was: the record cannot be read."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE telemetry_requestlog RENAME TO elsewhere")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO telemetry_requestlog")


@pytest.mark.parametrize("ending", ["jsonl", "csv", "zip"])
def test_an_export_that_breaks_off_leaves_nothing_and_says_why(
    state: Path, tmp_path: Path, ending: str
) -> None:
    before = set(tmp_path.iterdir())
    with without_its_table(), pytest.raises(CommandError) as refused:
        run("audit_export", tmp_path / f"out.{ending}")
    assert re.fullmatch(
        r"the record cannot be exported: \w+Error: .*telemetry_requestlog.*", str(refused.value)
    )
    assert refused.value.returncode == 2
    assert set(tmp_path.iterdir()) == before


def test_a_place_that_cannot_be_written_is_named(state: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written: No such file or directory") as refused:
        run("audit_export", tmp_path / "none" / "out.csv")
    assert refused.value.returncode == 2
    (tmp_path / "lost.csv").symlink_to(tmp_path / "nowhere")
    with pytest.raises(CommandError, match="not replaced"):
        run("audit_export", tmp_path / "lost.csv")


def test_a_selection_is_exported(state: Path, tmp_path: Path) -> None:
    run(
        "audit_export",
        tmp_path / "c.jsonl",
        "--client",
        "charlie",
        "--since",
        "2023-11-14",
        "--until",
        "2023-11-16",
    )
    rows = [json.loads(line) for line in (tmp_path / "c.jsonl").read_text().splitlines()]
    assert [row["callId"] for row in rows] == [CALL % 2, CALL % 4]
    run("audit_export", tmp_path / "one.zip", "--call", CALL % 3)
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert json.loads(archive.read("manifest.json"))["rows"] == 1


def test_an_export_by_the_command_is_on_record_with_whose_process_it_was(state: Path, tmp_path: Path) -> None:
    run("audit_export", tmp_path / "c.zip", "--client", "charlie")
    with without_its_table(), pytest.raises(CommandError):
        run("audit_export", "-", "--format", "csv")
    with pytest.raises(CommandError):
        run("audit_export", tmp_path / "c.zip")
    first, second = ConfigChange.objects.filter(table="exports").order_by("pk")
    assert (first.author, first.row) == (operating_system_user(), "calls of the client charlie")
    assert first.reason == "exported as Evidence pack, with the command"
    assert second.after == {"calls": "the whole record", "format": "CSV for spreadsheets"}


def test_an_export_of_a_period_that_ends_before_it_begins_is_refused(state: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--since has to be before --until") as refused:
        run("audit_export", tmp_path / "n.zip", "--since", "2023-11-16", "--until", "2023-11-15")
    assert (refused.value.returncode, (tmp_path / "n.zip").exists()) == (2, False)


@pytest.mark.parametrize("more", [("--call", CALL % 9), ("--call", CALL % 2, "--client", "bob")])
def test_a_call_that_is_not_there_is_not_exported(state: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    with pytest.raises(CommandError, match="No such call is on record") as refused:
        run("audit_export", tmp_path / "call.zip", *more)
    assert (refused.value.returncode, (tmp_path / "call.zip").exists()) == (2, False)
    assert not ConfigChange.objects.filter(table="exports").exists()


@pytest.mark.parametrize(
    ("client", "rows", "doubted"),
    [("bob", "3 rows", False), ("BOB", "no rows", True), ("mallory\x1b[8m", "no rows", True)],
)
def test_a_client_that_nobody_has_heard_of_is_doubted_aloud(
    state: Path, tmp_path: Path, client: str, rows: str, doubted: bool
) -> None:
    out, err = StringIO(), StringIO()
    call_command(
        "audit_export", str(tmp_path / "c.zip"), "--client", client, stdout=out, stderr=err, no_color=True
    )
    assert out.getvalue().endswith(f"c.zip: {rows}\n")
    assert ("There is no client called" in err.getvalue()) is doubted, err.getvalue()
    assert "\x1b" not in out.getvalue() + err.getvalue()


@pytest.mark.parametrize("form", ["jsonl", "csv", "pack"])
def test_how_many_rows_were_exported_is_said(state: Path, tmp_path: Path, form: str) -> None:
    assert run("audit_export", tmp_path / "all", "--format", form).endswith(": 5 rows\n")
    one = run("audit_export", tmp_path / "one", "--format", form, "--call", CALL % 3)
    assert one == f"wrote the call {CALL % 3} to {tmp_path / 'one'}: 1 row\n"


def test_of_an_export_to_standard_output_it_is_said_beside_it(
    state: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    err = StringIO()
    call_command("audit_export", "-", "--format", "jsonl", "--client", "charlie", stderr=err, no_color=True)
    assert err.getvalue() == "wrote calls of the client charlie to standard output: 2 rows\n"
    assert capfdbinary.readouterr().out.count(b"\n") == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_export_that_a_signal_ends_clears_away_what_it_began(
    state: Path, tmp_path: Path, number: signal.Signals
) -> None:
    def while_rows_are_read(execute: Any, sql: str, *more: Any) -> Any:
        if "telemetry_requestlog" in sql:
            begun.extend(tmp_path.glob(".audit-export-*"))
            os.kill(os.getpid(), number)
        return execute(sql, *more)

    begun: list[Path] = []
    before, mine = set(tmp_path.iterdir()), signal.getsignal(number)
    with connection.execute_wrapper(while_rows_are_read), pytest.raises(CommandError) as refused:
        run("audit_export", tmp_path / "all.zip")
    assert (refused.value.returncode, str(refused.value)) == (
        2,
        f"the export was broken off by {number.name}",
    )
    assert len(begun) == 1
    assert set(tmp_path.iterdir()) == before
    assert signal.getsignal(number) == mine


def test_a_signal_that_is_ignored_as_under_nohup_ends_no_export(state: Path, tmp_path: Path) -> None:
    def while_rows_are_read(execute: Any, sql: str, *more: Any) -> Any:
        os.kill(os.getpid(), signal.SIGHUP)
        return execute(sql, *more)

    mine = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with connection.execute_wrapper(while_rows_are_read):
            assert "5 rows" in run("audit_export", tmp_path / "all.zip")
    finally:
        signal.signal(signal.SIGHUP, mine)


def test_a_file_without_a_known_ending_needs_a_format(state: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="--format"):
        run("audit_export", tmp_path / "out.txt")


def test_pruning_can_be_looked_at_before_it_is_done(state: Path) -> None:
    RetentionRule.objects.create(days=30)
    assert (
        run("audit_prune", "--dry-run") == "every client, every outcome: 30 days: 5 calls would be removed\n"
    )
    assert RequestLog.objects.count() == 5
    assert run("audit_prune") == "5 calls removed\n"
    assert "nothing found" in run("audit_verify")


def test_a_signing_key_that_cannot_be_read_stops_the_writer_with_its_name(state: Path) -> None:
    audit_folder().key.write_text("broken")
    with pytest.raises(CommandError, match=r"signing\.key") as refused:
        call_command(WriteJournal())
    assert refused.value.returncode == 2


@pytest.mark.parametrize(
    "command",
    [("audit_prune",), ("audit_restored", "--reason", "the disk broke")],
    ids=lambda given: given[0],
)
def test_a_command_makes_no_signing_key_and_uses_no_other(state: Path, command: tuple[str, ...]) -> None:
    RetentionRule.objects.create(days=30)
    place = audit_folder()
    believed, own = place.public_keys(), place.key.read_bytes()
    place.key.unlink()
    with pytest.raises(CommandError, match=r"is missing \(.*signing\.key\): bring it back") as refused:
        run(*command)
    assert refused.value.returncode == 2
    assert not place.key.exists()
    open_signer(place.key, place.folder.with_name("elsewhere"))
    with pytest.raises(CommandError, match=r"is another one \(.*signing\.key\)") as refused:
        run(*command)
    assert refused.value.returncode == 2
    assert (place.public_keys(), RequestLog.objects.count()) == (believed, 5)
    place.key.write_bytes(own)
    run(*command)
    assert place.public_keys() == believed


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a column of PostgreSQL's takes nothing else")
def test_a_cell_that_cannot_be_read_keeps_old_calls_and_is_told(state: Path) -> None:
    RetentionRule.objects.create(days=30)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_requestlog SET call_id = 'x' WHERE sequence = 3")
    with pytest.raises(CommandError, match="where the record is not as it was signed: row 3 of chain"):
        run("audit_prune")
    assert RequestLog.objects.values("pk").count() == 5


def test_a_restored_database_with_more_wrong_with_it_is_refused(state: Path) -> None:
    RequestLog.objects.filter(sequence__gt=3).delete()
    AuditCheckpoint.objects.all().delete()
    with pytest.raises(
        CommandError, match=r"Nothing was signed: chain \w+ does not only lack its end"
    ) as refused:
        run("audit_restored", "--reason", "the disk broke")
    assert refused.value.returncode == 2
    assert AuditTombstone.objects.count() == 0


def test_rules_and_holds_are_in_the_change_log(state: Path) -> None:
    rule = RetentionRule.objects.create(days=30)
    rule.days = 60
    rule.save()
    LegalHold.objects.create(reason="case 7")
    told = ConfigChange.objects.filter(table__startswith="telemetry.").order_by("pk")
    assert [(row.table, row.action, row.before.get("days"), row.after.get("days")) for row in told] == [
        ("telemetry.retentionrule", "added", None, 30),
        ("telemetry.retentionrule", "changed", 30, 60),
        ("telemetry.legalhold", "added", None, None),
    ]


def test_a_hold_is_released_and_never_rewritten() -> None:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    hold = LegalHold.objects.create(reason="case 7", tool_id="bob")
    sent = {
        "reason": "nothing",
        "tool_id": "nobody",
        "released_at_0": f"{timezone.now():%Y-%m-%d}",
        "released_at_1": "00:00:00",
    }
    answer = browser.post(f"/admin/telemetry/legalhold/{hold.pk}/change/", sent)
    assert answer.status_code == 302, answer.content.decode()
    hold.refresh_from_db()
    assert (hold.reason, hold.tool_id) == ("case 7", "bob")
    assert hold.released_at is not None


def test_what_was_removed_for_its_age_is_told_by_every_verification(state: Path) -> None:
    RetentionRule.objects.create(days=1)
    run("audit_prune")
    told = run("audit_verify")
    assert (
        "5 rows were removed for their age, under 1 tombstone: every client, every outcome: 1 day (by "
        in told
    )
