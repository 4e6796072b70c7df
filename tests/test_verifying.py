"""The server verifies the record by itself, and says what it found."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import CHARLIE, ROOT, RunningGateway, provider_entry, running_gateway
from django.db import connection
from fake_provider import FakeProvider

from gateway import gauges
from gateway.management.commands.write_journal import hourly
from gateway.verifying import Schedule
from gateway.writer_process import WriterProcess
from telemetry import families
from telemetry.audit import verdict
from telemetry.audit.verdict import NAME, Verdict
from telemetry.audit.verification import due_since
from telemetry.backlog import BacklogReader
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditVerification, LegalHold
from telemetry.types import Intent
from telemetry.unreadable import UnreadableCell, cells

NOW = datetime(2026, 11, 25, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Begun(list[list[str]]):
    """The commands that were begun; each is a process that sleeps until it is ended."""

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[subprocess.Popen[bytes]] = []

    def begin(self, command: list[str], **more: object) -> subprocess.Popen[bytes]:
        self.append(command[1:])
        self.processes.append(REAL([sys.executable, "-c", "import time; time.sleep(60)"]))
        return self.processes[-1]


REAL = subprocess.Popen


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[Begun]:
    found = Begun()
    monkeypatch.setattr("gateway.verifying.subprocess.Popen", found.begin)
    yield found
    for process in found.processes:
        process.kill()
        process.wait()


def signed(at: datetime) -> None:
    AuditCheckpoint.objects.create(chain="a", number=1, sequence=1, signed_at=at, line="{}")


def verified(at: datetime, *, whole: bool = True) -> None:
    AuditVerification.objects.create(
        started_at=at, finished_at=at, by="olga", scope="", whole=whole, rows=1, found=0
    )


@pytest.mark.django_db
def test_it_is_due_a_day_after_the_last_one_or_after_the_first_signature() -> None:
    assert due_since() is None, "there is nothing to verify"
    signed(NOW)
    assert due_since() == NOW
    verified(NOW + HOUR)
    verified(NOW + 2 * HOUR, whole=False)
    assert due_since() == NOW + HOUR


@pytest.mark.django_db
def test_one_at_a_time_is_begun_when_it_is_due_and_it_ends_with_the_writer(begun: Begun) -> None:
    schedule = Schedule(24)
    schedule.look(NOW)
    signed(NOW)
    schedule.look(NOW + 23 * HOUR)
    assert begun == []
    schedule.look(NOW + 24 * HOUR)
    schedule.look(NOW + 25 * HOUR)
    assert [command[1:] for command in begun] == [["audit_verify", "--scheduled"]]
    schedule.stop()
    assert begun.processes[0].poll() is not None
    schedule.look(NOW + 26 * HOUR)
    assert len(begun) == 2, "one that was not finished is begun again"
    schedule.stop()


@pytest.mark.django_db
def test_a_verification_in_the_future_ends_no_schedule(begun: Begun) -> None:
    """Somebody with the database may write one there, and a clock that was wrong may have."""
    signed(NOW)
    verified(NOW + 10_000 * HOUR)
    schedule = Schedule(24)
    schedule.look(NOW + HOUR)
    assert len(begun) == 1
    schedule.stop()


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="a column of PostgreSQL's takes nothing else")
def test_a_hold_that_cannot_be_read_keeps_nobody_from_verifying(begun: Begun) -> None:
    signed(NOW)
    LegalHold.objects.create(reason="case 7", since=NOW)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_legalhold SET since = '2026-13-45 00:00:00'")
    schedule = Schedule(24)
    with pytest.raises(UnreadableCell), cells():
        hourly(schedule)(NOW + 24 * HOUR)
    assert len(begun) == 1
    schedule.stop()


@pytest.mark.django_db
def test_it_can_be_turned_off(begun: Begun) -> None:
    signed(NOW)
    Schedule(0).look(NOW + 1000 * HOUR)
    assert begun == []


def test_what_was_found_degrades_the_health_of_the_record(tmp_path: Path) -> None:
    writer = WriterProcess(tmp_path, tmp_path)
    writer._process = REAL([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        for found, status in ((0, "ok"), (3, "degraded")):
            verdict.tell(tmp_path, Verdict(at=1.0, rows=9, found=found))
            assert writer.health()[0] == status
        assert "found 3 things that are not as they were signed" in str(writer.health()[1])
        verdict.tell_unverified(tmp_path, "the copies are away")
        told = str(writer.health()[1])
        assert "found 3 things" in told
        assert "The record cannot be verified: the copies are away" in told
        (tmp_path / NAME).write_text('{"at":1.0,"rows":9,"found":0}')
        assert writer.health() == ("ok", None), "as an earlier release wrote it"
        (tmp_path / NAME).write_text("{")
        assert writer.health() == ("ok", None)
    finally:
        writer.stop()


def test_the_metrics_tell_of_no_verification_before_one_was_made(tmp_path: Path) -> None:
    verdict.tell_unverified(tmp_path, "the copies are away")
    told = gauges.shared(BacklogReader(tmp_path), tmp_path)
    assert not {families.VERIFIED, families.FINDINGS} & set(told)
    verdict.tell(tmp_path, Verdict(at=1.0, rows=9, found=3))
    verdict.tell_unverified(tmp_path, "the copies are away")
    told = gauges.shared(BacklogReader(tmp_path), tmp_path)
    assert (told[families.VERIFIED], told[families.FINDINGS]) == ({(): 1.0}, {(): 3})


def waiting(age_s: float) -> Intent:
    return Intent(
        call_id="c", request_id="r", tool_id="bob", token_id="t", method="chat", peer="127.0.0.1",
        started_at=time.time() - age_s, config_version=1,
    )  # fmt: skip


def test_a_line_that_waits_for_long_degrades_the_health_of_the_record(tmp_path: Path) -> None:
    writer = WriterProcess(tmp_path / "journal", tmp_path)
    writer._process = REAL(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    journal = Journal(tmp_path / "journal")
    try:
        journal.intent(waiting(50))
        writer.look()
        assert writer.health() == ("ok", None)
        for age, words in ((90, "90 seconds"), (600, "10 minutes")):
            journal.close()
            for path in (tmp_path / "journal").glob("*.spool"):
                path.unlink()
            # Two of one process, made within a millisecond, would have one name.
            made = time.time_ns() // 1_000_000
            while time.time_ns() // 1_000_000 == made:
                pass
            journal = Journal(tmp_path / "journal")
            journal.intent(waiting(age))
            writer.look()
            assert writer.health() == (
                "degraded",
                f"The journal waits for the database, its oldest line for {words}",
            )
    finally:
        writer.stop()


def test_a_server_finds_a_forgery_by_itself_and_tells_of_it(fake: FakeProvider, tmp_path: Path) -> None:
    with running_gateway(tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}) as gateway:
        gateway.chat()
        gateway.wait_for_records(1)
        gateway.stop()
        forge(gateway)
        gateway.start()
        until = time.monotonic() + 60
        while (audit := part(gateway, "audit"))["status"] == "ok":
            assert time.monotonic() < until, "nothing was found"
            time.sleep(0.2)
        assert audit["status"] == "degraded"
        assert "found 1 thing that is not as it was signed" in audit["details"]
        text = gateway.get("/metrics", token=CHARLIE).text
        assert "llm_caller_audit_findings 1" in text
        assert "llm_caller_audit_verified_timestamp_seconds" in text
        code = "from telemetry.models import AuditVerification as V; print(list(V.objects.values_list('by', 'found')))"
        assert (
            gateway.manage("shell", "-v", "0", "-c", code).stdout.strip() == "[('schedule', 1), ('ada', 0)]"
        )


def part(gateway: RunningGateway, name: str) -> dict[str, str]:
    parts = gateway.get("/health", token=CHARLIE).json()["components"]
    return next(found for found in parts if found["name"] == name)


def forge(gateway: RunningGateway) -> None:
    """A row is changed, and the last verification was two days ago."""
    code = (
        "from datetime import timedelta; from django.utils import timezone; "
        "from telemetry.models import AuditVerification, RequestLog; then = timezone.now() - timedelta(days=2); "
        "RequestLog.objects.update(bytes_in=7); AuditVerification.objects.create("
        "started_at=then, finished_at=then, by='ada', scope='', whole=True, rows=1, found=0)"
    )
    gateway.manage("shell", "-v", "0", "-c", code)


def test_what_cannot_be_printed_is_kept_and_is_no_finding(fake: FakeProvider, tmp_path: Path) -> None:
    """On a full disk, or where nobody reads: exit code 1 would say that something was found."""
    command = [sys.executable, str(ROOT / "manage.py"), "audit_verify"]
    with running_gateway(tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}) as gateway:
        gateway.chat()
        gateway.wait_for_records(1)
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command, env=gateway.env, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 2
        assert done.stderr.strip() == (
            "CommandError: What was found (0) cannot be printed: No space left on device"
        )
        kept = gateway.manage("shell", "-v", "0", "-c", KEPT)
        assert kept.stdout.split() == ["1"]


KEPT = "from telemetry.models import AuditVerification as V; print(V.objects.filter(whole=True, found=0).count())"
