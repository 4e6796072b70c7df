"""Sealed content on its way from the journal into its table, and out of it again when its days are over."""

import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from recorded import AT, call, segments, serve, writer

from telemetry import beside, captured_rows
from telemetry.captured import SealedContent
from telemetry.failures import FailureCount, FailureCounts, FailureTally
from telemetry.journal import Journal
from telemetry.models import (
    CapturedContent,
    ContentAccess,
    FailedAuthentication,
    LegalHold,
    RequestLog,
    RetentionRule,
)
from telemetry.segment import BATCH_BYTES
from telemetry.set_aside import NAME as SET_ASIDE

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime.fromtimestamp(AT, UTC)


def content(n: int, sealed: bytes = b"sealed", days: float = 30) -> SealedContent:
    return SealedContent(
        call_id=call(n),
        tool_id="bob",
        key_id="0a0b0c0d",
        sealed=sealed,
        stored_at=AT,
        expires_at=AT + days * 86_400,
    )


def test_content_reaches_its_table_once_however_often_it_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for n in (1, 2):
        journal.content(content(n, bytes(range(256))))
        serve(journal, n)
    (path,) = segments(tmp_path)
    (tmp_path / "000000000000001-1-000001.spool").write_bytes(path.read_bytes())
    writer(tmp_path).run_once()
    writer(tmp_path).run_once()
    journal.close()
    row = CapturedContent.objects.get(call_id=call(1))
    assert (bytes(row.ciphertext), row.size, row.key_id) == (bytes(range(256)), 256, "0a0b0c0d")
    assert (row.stored_at, row.expires_at) == (NOW, NOW + timedelta(days=30))
    assert (CapturedContent.objects.count(), RequestLog.objects.count()) == (2, 2)


def test_what_was_removed_does_not_come_back_and_what_lies_behind_it_is_stored(tmp_path: Path) -> None:
    journal, failed = Journal(tmp_path), FailureTally()

    def happen(n: int) -> None:
        failed.note(address=f"::{n}", kind="missing", route="/health", now=AT)
        failed.flush(journal.failed_authentication)
        journal.content(content(n, b"sealed"))
        serve(journal, n)

    happen(1)
    writer(tmp_path).run_once()
    beside.prune(NOW + timedelta(days=99), failed_authentication_days=1)
    happen(2)
    writer(tmp_path).run_once()
    journal.close()
    assert [str(row.call_id) for row in CapturedContent.objects.all()] == [call(2)]
    assert [row.address for row in FailedAuthentication.objects.all()] == ["::2"]
    assert RequestLog.objects.count() == 2


def test_the_largest_content_fits_into_what_the_writer_reads_at_once(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1)
    for n in range(2, 6):
        journal.content(content(n, bytes(524_288 + 200)))
        serve(journal, n)
    assert segments(tmp_path)[0].stat().st_size > 2 * BATCH_BYTES
    moving.run_once()
    journal.close()
    assert (CapturedContent.objects.count(), RequestLog.objects.count()) == (4, 5)


def test_a_line_that_no_column_takes_is_set_aside_and_holds_up_no_other(tmp_path: Path) -> None:
    journal, failed = Journal(tmp_path), FailureTally()
    failed.note(address="::1", kind="missing", route="/health", now=AT)
    for n, odd in enumerate(({}, {"call_id": "no uuid"}, {"expires_at": 1e18}, {})):
        journal.content(msgspec.structs.replace(content(n), **odd))
    failed.flush(journal.failed_authentication)
    journal.failed_authentication(
        FailureCounts(process="p", counts=(FailureCount(
            minute=10**18, address="::1", kind="missing", route="", count=1, first_at=AT, last_at=AT
        ),))
    )  # fmt: skip
    serve(journal, 9)
    writer(tmp_path).run_once()
    journal.close()
    assert (CapturedContent.objects.count(), FailedAuthentication.objects.count()) == (2, 1)
    assert RequestLog.objects.count() == 1
    assert len((tmp_path / SET_ASIDE).read_bytes().splitlines()) == 3


def test_content_is_removed_when_its_days_are_over_and_not_found_before_that_is_done(tmp_path: Path) -> None:
    captured_rows.store([content(1, days=1), content(2, days=2)])
    later = NOW + timedelta(days=1)
    assert captured_rows.find(call(1), later) is None
    assert captured_rows.find(call(2), later) is not None
    moving = writer(tmp_path, hourly=lambda now: beside.prune(now, failed_authentication_days=90))
    moving.keep_up(later)
    assert [row.call_id for row in CapturedContent.objects.all()] == [uuid.UUID(call(2))]
    moving.keep_up(later + timedelta(minutes=59))
    moving.keep_up(later + timedelta(days=1))
    assert not CapturedContent.objects.exists()


def test_openings_are_added_and_neither_changed_nor_removed() -> None:
    captured_rows.note_access(call(1), who="olga", reason="a complaint")
    row = ContentAccess.objects.get()
    row.reason = "another"
    for attempt in (row.save, row.delete, ContentAccess.objects.all().delete):
        with pytest.raises(TypeError):
            attempt()
    with pytest.raises(TypeError):
        ContentAccess.objects.filter(who="olga").update(reason="another")
    assert ContentAccess.objects.get().reason == "a complaint"


def began(row: int, moment: datetime) -> str:
    """A call id as the gateway makes it: its time lies in the first 48 bits."""
    return str(uuid.UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0b10 << 62 | row))


def kept() -> set[int]:
    return {one.call_id.int & 0xFFFF for one in CapturedContent.objects.all()}


def test_a_legal_hold_keeps_content_beyond_its_days_until_it_is_released() -> None:
    """Five calls, an hour between them; the last three are Charlie's, and the rows of the even ones are gone."""
    starts = [NOW + timedelta(hours=n) for n in range(6)]
    ids = [began(n, starts[n]) for n in range(6)]
    for n in range(1, 6):
        tool = "bob" if n < 3 else "charlie"
        captured_rows.store([msgspec.structs.replace(content(n), call_id=ids[n], tool_id=tool)])
        if n % 2:
            RequestLog.objects.create(
                call_id=ids[n], tool_id=tool, started_at=starts[n], status=200, duration_ms=1
            )
    LegalHold.objects.create(reason="case 7", tool_id="bob", since=starts[2])
    LegalHold.objects.create(reason="case 8", since=starts[2], until=starts[4])
    LegalHold.objects.create(reason="case 9", tool_id="charlie", since=starts[5], until=starts[5])
    LegalHold.objects.create(reason="case 6", released_at=NOW)
    over = NOW + timedelta(days=99)
    captured_rows.prune(over)
    assert kept() == {2, 3, 4}, "4 is at the very end, to the millisecond that its id tells"
    assert captured_rows.find(ids[2], over) is not None, "what is held can be opened"
    everything = LegalHold.objects.create(reason="everything")
    LegalHold.objects.exclude(pk=everything.pk).update(released_at=NOW)
    captured_rows.prune(over)
    assert kept() == {2, 3, 4}
    LegalHold.objects.update(released_at=NOW)
    assert captured_rows.find(ids[2], over) is None
    captured_rows.prune(over)
    assert kept() == set()


def test_a_hold_on_a_client_alone_keeps_all_its_content() -> None:
    captured_rows.store([content(1), msgspec.structs.replace(content(2), tool_id="charlie")])
    LegalHold.objects.create(reason="case 8", tool_id="charlie")
    captured_rows.prune(NOW + timedelta(days=99))
    assert kept() == {2}


def test_content_outlives_the_row_of_its_call_for_its_own_days(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.content(content(1, days=30))
    serve(journal, 1)
    moving = writer(tmp_path)
    moving.run_once()
    journal.close()
    RetentionRule.objects.create(days=1)
    moving.keep_up(NOW + timedelta(days=2))
    assert not RequestLog.objects.exists()
    assert captured_rows.find(call(1), NOW + timedelta(days=29)) is not None
