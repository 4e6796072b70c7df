"""What pages tell of verifications: which of them counts, what it looked at, and which calls its findings name."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from recorded import call, ignore, intent, outcome
from test_audit_commands import state

from gateway.places import audit_folder
from telemetry.audit.keys import signatures
from telemetry.audit.verification import keep, verify
from telemetry.audit.verifier import Finding
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditVerification, RequestLog
from telemetry.writer import Writer

__all__ = ("state",)
pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
LIST, VERIFICATIONS = "/admin/telemetry/requestlog/", "/admin/telemetry/auditverification/"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def olga() -> Browser:
    user = User.objects.create_user("olga", "", "olga's password 1", is_staff=True)
    user.groups.add(Group.objects.get(name="auditors"))
    browser = Browser(raise_request_exception=False)
    browser.force_login(user)
    return browser


@pytest.fixture
def recorded(tmp_path: Path) -> None:
    """Three calls of Bob under one signature of the gateway's."""
    folder = tmp_path / "journal"
    journal, writing = Journal(folder), Writer(folder, ignore, audit_folder().chain())
    for n in range(1, 4):
        journal.intent(intent(call(n)))
        journal.outcome(outcome(call(n)))
    writing.run_once()
    journal.close()


def verification(n: int, *, found: int = 0, **more: Any) -> AuditVerification:
    at = NOW + timedelta(hours=n)
    facts: dict[str, Any] = {"by": "olga", "scope": "the first to the last", "whole": True, "rows": 9}
    return AuditVerification.objects.create(started_at=at, finished_at=at, found=found, **(facts | more))


def words(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return " ".join(answer.content.decode().split())


def banner(browser: Browser) -> str:
    found = re.search(r'<p class="protection">(.*?)</p>', words(browser, LIST))
    assert found
    return found[1]


def test_what_is_found_in_the_whole_record_stays_above_it_whatever_a_part_says(olga: Browser) -> None:
    tampered = verification(1, found=2)
    verification(2, whole=False, rows=0)
    verification(3, whole=False, scope="the first to the last, with the key 00 that was named")
    said = banner(olga)
    assert '<strong class="state failed">2 findings</strong>' in said
    assert f"{VERIFICATIONS}{tampered.pk}/change/" in said
    verification(4)
    assert "Nothing found" in banner(olga)


def test_a_stranger_s_key_is_no_alarm(olga: Browser) -> None:
    verification(1)
    verification(2, whole=False, found=9)
    assert "Nothing found" in banner(olga)
    AuditVerification.objects.filter(whole=True).delete()
    assert "Not verified yet" in banner(olga)


def test_the_list_tells_a_whole_verification_from_a_part(olga: Browser) -> None:
    verification(1, scope="2026-11-01 00:00:00+00:00 to the last", whole=False)
    verification(2)
    page = words(olga, VERIFICATIONS)
    assert "2026-11-01 00:00:00 UTC to the last" in page
    assert "+00:00" not in page
    assert re.findall(r'field-reach">(.*?)<', page) == ["whole", "a part, or by other keys or copies"]


def test_a_verification_says_what_it_believed_and_compared_with(state: Path, tmp_path: Path) -> None:
    place = audit_folder()
    (mine,) = (place.folder / "believed").glob("*.pub")
    copies = tmp_path / ("COPY" * 60 + ".jsonl")
    copies.write_text(place.copies.path.read_text())
    call_command("audit_verify", since=None, until=None)
    call_command("audit_verify", public_key=[mine])
    call_command("audit_verify", checkpoints=copies, since=datetime(2023, 1, 1, tzinfo=UTC))
    whole, keyed, copied = AuditVerification.objects.order_by("pk")
    assert (whole.whole, whole.scope) == (True, "the first to the last")
    assert (keyed.whole, keyed.scope) == (
        False,
        f"the first to the last, with the key {mine.stem} that was named",
    )
    assert copied.scope.startswith("2023-01-01 00:00:00 UTC to the last, against the copies in COPYCOPY")
    assert len(copied.scope) == 200


def test_a_finding_leads_to_the_call_that_it_names(olga: Browser, recorded: None) -> None:
    rows = {row.sequence: row for row in RequestLog.objects.all()}
    chain = rows[1].chain
    findings = [
        Finding("changed", chain, 2, "the row is not the one that was recorded"),
        Finding("cut off", chain, 3, "it ends here"),
        Finding("deleted", chain, 9, "a row is missing"),
        Finding("checkpoint", chain, 1, "it is missing"),
        Finding("forged", "", 0, f"the row with call id {call(1)} was put in beside the chain"),
        Finding("changed", "<b>#", 1, "no such chain"),
    ]
    kept = verification(1, found=6, findings=[str(finding) for finding in findings])
    page = words(olga, f"{VERIFICATIONS}{kept.pk}/change/")
    listed = re.search(r'<ul class="findings">(.*?)</ul>', page)
    assert listed
    links = re.findall(r'href="([^"]+)"', listed[1])
    assert links == [
        f"{LIST}{rows[2].pk}/change/",
        f"{LIST}{rows[3].pk}/change/",
        f"{LIST}?trace={call(1)}",
    ]
    assert "&lt;b&gt;#" in listed[1]
    assert "requestlog/?trace=" in listed[1]
    assert words(olga, links[2]).count('<th scope="row">') == 1


def test_one_finding_is_one(olga: Browser) -> None:
    assert str(verification(1, found=1, rows=1)) == "2026-03-14 16:09: 1 finding in 1 row"
    assert str(verification(1, found=2)) == "2026-03-14 16:09: 2 findings in 9 rows"
    odd = verification(2, findings={"not": "a list"})
    assert "not" in words(olga, f"{VERIFICATIONS}{odd.pk}/change/")


def test_pages_open_over_a_signature_whose_moment_cannot_be_read(olga: Browser, recorded: None) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite stores anything anywhere")
    signed = AuditCheckpoint.objects.get()
    found = RequestLog.objects.get(sequence=2)
    assert "Yes: it is call 2" in words(olga, f"{LIST}{found.pk}/change/")
    for text in ("2026-13-45 00:00:00", "junk", "9999-12-31 23:59:59.999999+24:00"):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE telemetry_auditcheckpoint SET signed_at = %s", [text])
        assert f"a moment that cannot be read (“{text}”)" in banner(olga)
        for path in ("", f"{signed.pk}/change/"):
            assert f"not readable: “{text}”" in words(olga, f"/admin/telemetry/auditcheckpoint/{path}")
        assert "Yes: it is call 2" not in words(olga, f"{LIST}{found.pk}/change/")


def test_a_period_s_scope_is_never_too_long_to_be_kept() -> None:
    kept = keep(verify(signatures([]), None), by="olga", scope="x" * 300, whole=False, started_at=NOW)
    assert len(AuditVerification.objects.get(pk=kept.pk).scope) == 200
