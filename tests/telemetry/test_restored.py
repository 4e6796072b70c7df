"""A database that was restored from an older copy: its operator signs what is lost, and nothing else is hidden by it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recorded import audit, serve, writer
from signed import change, found, recorded

from telemetry.audit.copies import Copies
from telemetry.audit.head import OLDER
from telemetry.audit.keys import signatures
from telemetry.audit.restored import Lost, NotOnlyLost, declare_restored
from telemetry.audit.standing import faults
from telemetry.audit.verification import verify
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def restored(recorded: Path) -> Path:
    """Without its last two batches, as a copy from before them; and gone on with in another chain."""
    AuditCheckpoint.objects.filter(number__gt=3).delete()
    RequestLog.objects.filter(sequence__gt=18).delete()
    journal = Journal(recorded)
    serve(journal, *range(40, 46))
    writer(recorded).run_once()
    journal.close()
    return recorded


def declare(folder: Path, copies: Copies | None = None) -> list[Lost]:
    place = audit(folder)
    return declare_restored(
        place.signer(),
        signatures(place.public_keys()),
        copies or place.copies,
        reason="the disk broke",
        by="ada",
        now=datetime.now(UTC),
    )


def test_what_is_lost_is_a_finding_until_the_operator_signs_that_it_is(restored: Path) -> None:
    assert found(restored) == {("restored", 4)}
    (lost,) = declare(restored)
    assert lost[1:5] == (19, 30, 4, 5)
    assert found(restored) == set()
    assert AuditTombstone.objects.get().entry()["reason"] == "restored: the disk broke"
    assert declare(restored) == [], "said once"


def test_the_writer_says_no_more_that_the_database_is_older_once_that_is_signed(recorded: Path) -> None:
    AuditCheckpoint.objects.filter(number__gt=3).delete()
    RequestLog.objects.filter(sequence__gt=18).delete()
    moving, now = writer(recorded), datetime.now(UTC)

    def told(seconds: int) -> list[str]:
        moving.keep_up(now + timedelta(seconds=seconds))
        moving.run_once()
        return faults(audit(recorded).folder)

    assert told(0) == [OLDER]
    assert told(6) == [OLDER]
    declare(recorded)
    assert told(12) == []


def test_on_another_machine_it_goes_on_in_another_chain_and_an_auditor_s_copies_say_what_is_lost(
    recorded: Path, tmp_path: Path
) -> None:
    """Its backup ends with the third batch, `var/audit/` with it."""
    place = audit(recorded)
    known = tmp_path / "auditor.jsonl"
    lines = place.copies.path.read_bytes().splitlines(keepends=True)
    known.write_bytes(b"".join(lines))
    place.copies.path.write_bytes(b"".join(lines[:3]))
    AuditCheckpoint.objects.filter(number__gt=3).delete()
    RequestLog.objects.filter(sequence__gt=18).delete()
    (place.folder / "chain").unlink()
    journal = Journal(recorded)
    for first in (40, 46, 52):
        serve(journal, *range(first, first + 6))
        writer(recorded).run_once()
    journal.close()
    assert found(recorded) == set()
    assert compared(recorded, known) == {("restored", 4)}
    (lost,) = declare(recorded, Copies(known))
    assert lost[1:5] == (19, 30, 4, 5)
    assert compared(recorded, known) == found(recorded) == set()


def compared(folder: Path, copies: Path) -> set[tuple[str, int]]:
    told = verify(signatures(audit(folder).public_keys()), Copies(copies))
    return {(finding.kind, finding.sequence) for finding in told.findings}


def test_what_is_done_to_the_rest_is_still_found(restored: Path) -> None:
    declare(restored)
    (old,) = RequestLog.objects.filter(sequence=9)
    RequestLog.objects.filter(pk=old.pk).update(status=500)
    assert found(restored) == {("changed", 9)}


def test_a_note_that_nobody_signed_covers_nothing(restored: Path) -> None:
    declare(restored)
    stone = AuditTombstone.objects.get()
    stone.line = stone.line.replace("the disk broke", "the disk melted")
    stone.save()
    assert {("tombstone", 19), ("restored", 4)} <= found(restored)


def test_a_copy_that_nobody_signed_is_not_declared(restored: Path) -> None:
    path = audit(restored).copies.path
    forged = (
        path.read_text()
        .splitlines()[4]
        .replace('"sequence":30', '"sequence":90')
        .replace('"number":5', '"number":9')
    )
    path.write_text(path.read_text() + forged + "\n")
    assert "checkpoint #9: the last checkpoint there is was not signed" in refused(restored)


def refused(folder: Path) -> str:
    """In words. Nothing is signed."""
    before = list(AuditTombstone.objects.values_list("pk", flat=True))
    with pytest.raises(NotOnlyLost) as refusal:
        declare(folder)
    assert list(AuditTombstone.objects.values_list("pk", flat=True)) == before
    return str(refusal.value)


def old_chain() -> str:
    return AuditCheckpoint.objects.order_by("pk")[0].chain


def stone(line: str) -> None:
    chain, now = old_chain(), datetime.now(UTC)
    AuditTombstone.objects.create(chain=chain, first=19, last=30, rows=12, signed_at=now, line=line)


def signed_further_back() -> None:
    """So that rows 7 to 18, which were never lost, could be removed under the note."""
    kept = AuditCheckpoint.objects.get(number=3)
    AuditCheckpoint.objects.filter(number=3).update(line=kept.line.replace('"sequence":18', '"sequence":6'))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (signed_further_back, "checkpoint #3: the last checkpoint there is was not signed"),
        (lambda: AuditCheckpoint.objects.filter(number=3).update(line="{}"), "checkpoint #3"),
        (lambda: AuditCheckpoint.objects.filter(number=2).update(line="{}"), "checkpoint #2"),
        (lambda: AuditCheckpoint.objects.filter(number=2).delete(), "#2"),
        (lambda: RequestLog.objects.filter(sequence=9).update(status=500), "changed #9"),
        (lambda: RequestLog.objects.filter(sequence=9).delete(), "deleted #9"),
        (lambda: RequestLog.objects.filter(sequence__in=(17, 18)).delete(), "cut off #17"),
        (lambda: stone('{"lost":1}'), "tombstone #19"),
        (lambda: stone('{"runs":[[19,30,"",""]],"lost":{"first":4,"last":1000000000}}'), "tombstone #19"),
        (lambda: stone('"lost":'), "tombstone #19"),
    ],
)
def test_a_chain_with_anything_else_wrong_with_it_is_refused(
    restored: Path, change: Callable[[], object], words: str
) -> None:
    change()
    assert words in refused(restored)


def test_what_is_wrong_with_another_chain_refuses_nothing(restored: Path) -> None:
    RequestLog.objects.exclude(chain=old_chain()).filter(sequence=2).update(status=500)
    (lost,) = declare(restored)
    assert lost[1:5] == (19, 30, 4, 5)
    assert found(restored) == {("changed", 2)}


def test_what_is_found_to_be_lost_later_is_signed_behind_what_was_before(restored: Path) -> None:
    """Of the copies, only a part was there at first."""
    path = audit(restored).copies.path
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in whole if '"number":5' not in line))
    (first,) = declare(restored)
    assert first[1:5] == (19, 24, 4, 4)
    path.write_text("".join(whole))
    assert found(restored) == {("restored", 5)}
    (second,) = declare(restored)
    assert second[1:5] == (25, 30, 5, 5)
    assert (second.before, found(restored)) == (first.digest, set())
    assert declare(restored) == []


def test_a_whole_chain_that_is_lost_is_declared_too(recorded: Path) -> None:
    AuditCheckpoint.objects.all().delete()
    RequestLog.objects.all().delete()
    journal = Journal(recorded)
    serve(journal, 40)
    writer(recorded).run_once()
    journal.close()
    assert ("restored", 1) in found(recorded)
    (lost,) = declare(recorded)
    assert lost[1:5] == (1, 30, 1, 5)
    assert found(recorded) == set()


def test_an_honest_record_has_nothing_to_declare(recorded: Path) -> None:
    assert declare(recorded) == []
    change(9, status=500)
    assert declare(recorded) == []


def test_copies_that_were_kept_before_the_database_was_know_of_nothing_that_it_lacks(recorded: Path) -> None:
    """The order in which the guide says to keep them."""
    path = audit(recorded).copies.path
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    journal = Journal(recorded)
    serve(journal, *range(40, 46))
    writer(recorded).run_once()
    journal.close()
    assert found(recorded) == set()
    assert RequestLog.objects.values_list("chain", flat=True).distinct().count() == 1
