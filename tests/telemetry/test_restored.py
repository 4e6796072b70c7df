"""A database that was restored from an older copy: its operator signs what is lost, and nothing else is hidden by it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from recorded import audit, serve, writer
from signed import change, found, recorded

from telemetry.audit.keys import signatures
from telemetry.audit.restored import Lost, declare_restored
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


def declare(folder: Path) -> list[Lost]:
    place = audit(folder)
    return declare_restored(
        place.signer(),
        signatures(place.public_keys()),
        place.copies,
        reason="the disk broke",
        by="ada",
        now=datetime.now(UTC),
    )


def test_what_is_lost_is_a_finding_until_the_operator_signs_that_it_is(restored: Path) -> None:
    assert found(restored) == {("restored", 4)}
    (lost,) = declare(restored)
    assert lost[1:] == (19, 30, 4, 5)
    assert found(restored) == set()
    assert AuditTombstone.objects.get().entry()["reason"] == "restored: the disk broke"
    assert declare(restored) == [], "said once"


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
    assert lost[1:] == (1, 30, 1, 5)
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
