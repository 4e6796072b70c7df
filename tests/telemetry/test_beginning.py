"""Checkpoints over nothing but rows that went for their age go too, and nobody can leave out others in that way."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recorded import AT, audit, call, outcome, writer

from telemetry.audit import beginning, verification
from telemetry.audit.keys import signatures
from telemetry.audit.pruning import prune
from telemetry.audit.verification import verify
from telemetry.audit.verifier import SIGNED_AS, Signatures
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditTombstone, LegalHold, RequestLog, RetentionRule

pytestmark = pytest.mark.django_db(transaction=True)
START = datetime.fromtimestamp(AT, UTC)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A call a day for twenty days, each with a signature of its own. They go one day after they began."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, 21):
        journal.outcome(outcome(call(n), started_at=AT + n * 86_400))
        moving.run_once()
    journal.close()
    RetentionRule.objects.create(days=1)
    return folder


def pruned_upto(folder: Path, row: int) -> None:
    prune(audit(folder).signer(), START + timedelta(days=row + 1, hours=1), by="ada")
    assert RequestLog.objects.filter(sequence__lte=row).count() == 0


def numbers() -> list[int]:
    return list(AuditCheckpoint.objects.order_by("number").values_list("number", flat=True))


def found(folder: Path) -> set[tuple[str, int]]:
    place = audit(folder)
    told = verify(signatures(place.public_keys()), place.copies, own=place.chain_name())
    return {(finding.kind, finding.sequence) for finding in told.findings}


def test_the_last_one_over_rows_that_went_stays_as_the_beginning(recorded: Path) -> None:
    pruned_upto(recorded, 7)
    assert numbers() == list(range(7, 21))
    assert found(recorded) == set()
    pruned_upto(recorded, 12)
    assert numbers() == list(range(12, 21))
    assert found(recorded) == set()


def test_when_all_rows_went_the_last_one_stays_and_the_chain_goes_on(recorded: Path) -> None:
    pruned_upto(recorded, 20)
    assert numbers() == [20]
    journal, moving = Journal(recorded), writer(recorded)
    journal.outcome(outcome(call(21), started_at=AT + 21 * 86_400))
    moving.run_once()
    journal.close()
    assert numbers() == [20, 21]
    assert found(recorded) == set()


def test_a_row_that_is_held_keeps_the_signatures_over_it_and_over_those_behind_it(recorded: Path) -> None:
    hold = LegalHold.objects.create(reason="case 7", since=START, until=START + timedelta(days=1, hours=1))
    prune(audit(recorded).signer(), START + timedelta(days=9), by="ada")
    assert RequestLog.objects.order_by("sequence").values_list("sequence", flat=True)[0] == 1
    assert numbers() == list(range(1, 21))
    hold.delete()
    pruned_upto(recorded, 9)
    assert numbers() == list(range(9, 21))
    assert found(recorded) == set()


def test_a_part_at_a_time_goes(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beginning, "AT_ONCE", 3)
    pruned_upto(recorded, 9)
    assert numbers() == list(range(4, 21))
    pruned_upto(recorded, 10)
    assert numbers() == list(range(7, 21))
    assert found(recorded) == set()


def test_those_that_are_let_go_while_they_are_read_are_not_missing(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two at a time are read, and before each signature of a checkpoint is checked, more of them go."""
    monkeypatch.setattr(verification, "BLOCK", 2)
    pruned_upto(recorded, 2)
    place, upto = audit(recorded), iter((5, 8, 13))
    believed = signatures(place.public_keys())

    def and_prune(key: bytes, signature: bytes, message: bytes) -> bool:
        if message.startswith(SIGNED_AS["checkpoint"]) and (row := next(upto, None)):
            pruned_upto(recorded, row)
        return believed._checks(key, signature, message)

    told = verify(Signatures(believed.keys.values(), and_prune), place.copies, own=place.chain_name())
    assert told.findings == []
    assert numbers()[0] == 13


def test_copies_that_are_moved_away_begin_anew_where_the_chain_does(recorded: Path) -> None:
    pruned_upto(recorded, 7)
    copies = audit(recorded).copies
    copies.path.rename(copies.path.with_suffix(".2026"))
    journal, moving = Journal(recorded), writer(recorded)
    journal.outcome(outcome(call(21), started_at=AT + 21 * 86_400))
    moving.run_once()
    journal.close()
    lines = [entry["number"] for _, _, entry in copies.lines(copies.size()) if entry]
    assert lines == list(range(7, 22))
    assert found(recorded) == set()


def test_one_that_was_removed_in_another_way_is_found_before_and_after(recorded: Path) -> None:
    """What went before does not follow: so nothing is let go, and it stays in sight."""
    AuditCheckpoint.objects.get(number=3).delete()
    before = {("checkpoint", 3), ("restored", 3)}
    assert found(recorded) == before
    pruned_upto(recorded, 7)
    assert found(recorded) == before
    assert numbers()[:3] == [1, 2, 4]


def test_one_that_was_changed_is_found_before_and_after(recorded: Path) -> None:
    forged = AuditCheckpoint.objects.get(number=3)
    forged.line = forged.line.replace('"rows":1', '"rows":2')
    forged.save()
    assert ("checkpoint", 3) in found(recorded)
    pruned_upto(recorded, 7)
    assert ("checkpoint", 3) in found(recorded)


def test_a_column_does_not_make_one_look_as_if_its_rows_were_gone(recorded: Path) -> None:
    """What it signs is row 8, which is there."""
    AuditCheckpoint.objects.filter(number=8).update(sequence=7)
    pruned_upto(recorded, 7)
    assert numbers()[0] == 7
    assert ("checkpoint", 8) in found(recorded)


def test_rows_that_were_removed_in_another_way_let_none_go(recorded: Path) -> None:
    RequestLog.objects.filter(sequence__in=(1, 2)).delete()
    pruned_upto(recorded, 7)
    assert numbers() == list(range(1, 21))
    assert found(recorded) == {("deleted", 1)}


@pytest.mark.parametrize("removed", [[7], [7, 8], [8], [19, 20]])
def test_none_beyond_the_beginning_can_be_left_out(recorded: Path, removed: list[int]) -> None:
    pruned_upto(recorded, 7)
    AuditCheckpoint.objects.filter(number__in=removed).delete()
    assert found(recorded) != set()


def test_the_tombstone_of_an_earlier_beginning_does_not_do(recorded: Path) -> None:
    pruned_upto(recorded, 7)
    pruned_upto(recorded, 12)
    AuditTombstone.objects.order_by("pk").last().delete()  # type: ignore[union-attr]
    assert {("checkpoint", 1), ("deleted", 8)} <= found(recorded)


def test_a_beginning_that_nobody_signed_is_none(recorded: Path) -> None:
    pruned_upto(recorded, 7)
    stone = AuditTombstone.objects.get()
    AuditCheckpoint.objects.filter(number=7).delete()
    previous = AuditCheckpoint.objects.get(number=8).entry()["previous"]
    begins = stone.entry()["begins"]
    stone.line = stone.line.replace(begins["previous"], previous).replace('"number":7', '"number":8')
    stone.save()
    assert {("tombstone", 1), ("checkpoint", 1)} <= found(recorded)
