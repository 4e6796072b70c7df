"""What somebody puts beside rows that are due, the gateway does not sign for him when it removes them."""

import copy
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.utils import timezone
from recorded import audit, call, outcome, writer
from signed import found, row
from test_manipulations import rehash

from telemetry.audit import pruning, reader
from telemetry.audit.canonical import canonical
from telemetry.audit.chain import row_of
from telemetry.audit.keys import signatures
from telemetry.audit.one_row import verify_row
from telemetry.audit.pruning import NotAsSigned, prune
from telemetry.audit.verifier import ZEROS, Run, row_hash
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditTombstone, LegalHold, RequestLog, RetentionRule

pytestmark = pytest.mark.django_db(transaction=True)


def recorded(folder: Path, clients: str, batch: int) -> Path:
    """A call a letter, signed every `batch`: of Bob, or of Charlie, whose calls are kept for a day alone."""
    folder = folder / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n, letter in enumerate(clients, 1):
        journal.outcome(outcome(call(n), tool_id={"b": "bob", "c": "charlie"}[letter]))
        if n % batch == 0:
            moving.run_once()
    journal.close()
    moving.run_once()
    RetentionRule.objects.create(days=1, tool_id="charlie")
    return folder


def scheduled(folder: Path, most: int | None = None) -> int:
    return prune(audit(folder).signer(), timezone.now(), by="schedule", most=most)


def put_in(like: RequestLog, sequence: int, previous: str) -> str:
    """A row of Charlie's that follows; returns its hash."""
    made = copy.copy(like)
    made.pk, made._state.adding = None, True
    made.sequence, made.call_id, made.tool_id = sequence, uuid.UUID(call(900 + sequence)), "charlie"
    made.hash = row_hash(previous, canonical(row_of(made)))
    made.save()
    return made.hash


def tool_ids(last: int) -> list[str]:
    return list(
        RequestLog.objects.filter(sequence__lte=last).order_by("sequence").values_list("tool_id", flat=True)
    )


def test_rows_put_among_those_that_went_do_not_go_a_second_time(tmp_path: Path) -> None:
    """Else their tombstone would say of the altered row before them that it is genuine."""
    folder = recorded(tmp_path, "cccb" + "c" * 11 + "b" * 15, batch=15)
    LegalHold.objects.create(reason="case 4711", tool_id="bob")
    assert scheduled(folder, most=5) == 5
    assert scheduled(folder) == 9
    assert found(folder) == set()
    (before,) = [
        run[2] for stone in AuditTombstone.objects.all() for run in stone.entry()["runs"] if run[1] == 3
    ]
    four = row(4)
    four.model, four.status = "another model", 500
    four.hash = row_hash(before, canonical(row_of(four)))
    four.save()
    previous = four.hash
    for sequence in (5, 6, 7):
        previous = put_in(four, sequence, previous)
    with pytest.raises(NotAsSigned, match=r"row 5 .* a tombstone covers a row that is there"):
        scheduled(folder)
    assert {("tombstone", 5), ("tombstone", 6), ("tombstone", 7)} <= found(folder)
    (_, told) = verify_row(signatures(audit(folder).public_keys()), row(4))
    assert told


def test_a_row_that_was_away_when_those_behind_it_went_is_not_believed_when_it_is_back(
    tmp_path: Path,
) -> None:
    folder = recorded(tmp_path, "b" * 12 + "c" * 6 + "b" * 6, batch=18)
    away = row(12)
    away.delete()
    assert scheduled(folder) == 6
    away.save(force_insert=True)
    rehash(7, 12, tool_id="mallory", status=500)
    assert found(folder) == {("unsigned", 12)}


def test_a_tombstone_without_a_signature_lets_nothing_go(tmp_path: Path) -> None:
    """Neither the checkpoints before it, nor the hash of what stood before."""
    folder = recorded(tmp_path, "b" * 12 + "c" * 6 + "b" * 12, batch=6)
    kept = list(RequestLog.objects.filter(sequence__lte=12).order_by("sequence"))
    RequestLog.objects.filter(sequence__lte=12).delete()
    told = {"chain": row(20).chain, "runs": [[1, 12, "", ""]], "rows": 12, "signature": "", "key": ""}
    forged = AuditTombstone.objects.create(
        chain=row(20).chain, first=1, last=12, rows=12, signed_at=timezone.now(), line=json.dumps(told)
    )
    assert scheduled(folder) == 6
    forged.delete()
    previous = ZEROS
    for one in kept:
        one.tool_id = "mallory"
        previous = one.hash = row_hash(previous, canonical(row_of(one)))
        one.save(force_insert=True)
    assert {("forged", 6), ("forged", 12)} <= found(folder)


def alter_a_row_that_stays(folder: Path) -> None:
    RequestLog.objects.filter(sequence=3).update(status=500)


def alter_one_that_goes(folder: Path) -> None:
    RequestLog.objects.filter(sequence=5).update(status=500)


def alter_the_row_before(folder: Path) -> None:
    rehash(4, 4, status=500)


def delete_one_behind(folder: Path) -> None:
    row(6).delete()


@pytest.mark.parametrize(
    "manipulate", [alter_a_row_that_stays, alter_one_that_goes, alter_the_row_before, delete_one_behind]
)
def test_between_two_signatures_of_which_something_is_found_nothing_goes_and_all_else_does(
    tmp_path: Path, manipulate: Callable[[Path], None]
) -> None:
    folder = recorded(tmp_path, "bbbbcb" + "cc" + "b" * 4 + "cccbbb", batch=6)
    manipulate(folder)
    before = found(folder)
    with pytest.raises(NotAsSigned, match=r"is not as it was signed: row [3-7] of chain"):
        scheduled(folder)
    assert tool_ids(6).count("charlie") == 1
    assert "charlie" not in tool_ids(18)[6:]
    assert found(folder) == before


def test_calls_that_no_signature_covers_any_more_stay(tmp_path: Path) -> None:
    folder = recorded(tmp_path, "c" * 12, batch=6)
    AuditCheckpoint.objects.filter(number=2).delete()
    with pytest.raises(NotAsSigned, match="no signature"):
        scheduled(folder)
    assert RequestLog.objects.count() == 6


def test_what_is_due_is_removed_where_cells_of_it_cannot_be_read(tmp_path: Path) -> None:
    """Or what somebody spoiled would keep others' calls beyond their days."""
    folder = recorded(tmp_path, "c" * 18, batch=6)
    RequestLog.objects.filter(sequence=3).update(decision={"routing": "\ud7ff"}, outcome="nothing")
    with pytest.raises(NotAsSigned, match="row 3"):
        scheduled(folder)
    assert RequestLog.objects.count() == 6


def test_a_row_under_a_signature_that_is_another_one_vouches_for_no_removal_behind_it(tmp_path: Path) -> None:
    """Its tombstone would say which hash stood before it."""
    folder = recorded(tmp_path, "b" * 6 + "c" * 6 + "b" * 6, batch=6)
    rehash(6, 6, status=500)
    with pytest.raises(NotAsSigned, match=r"row 6 of chain"):
        scheduled(folder)
    assert 7 in set(RequestLog.objects.values_list("sequence", flat=True))
    assert AuditTombstone.objects.filter(first__lte=7, last__gte=7).count() == 0


def test_what_cannot_be_proved_is_not_read_from_the_first_row_on_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever spoils the signatures would keep the writer from storing calls."""
    folder = recorded(tmp_path, "c" * 60, batch=6)
    AuditCheckpoint.objects.update(line="x")
    monkeypatch.setattr(pruning, "ROWS_A_TOMBSTONE", 10)
    read: list[int] = []
    runs = reader.runs

    def counted(chain: str, **more: int) -> Iterator[Run]:
        for run in runs(chain, **more):
            read.append(run.first)
            yield run

    monkeypatch.setattr(reader, "runs", counted)
    with pytest.raises(NotAsSigned, match="checkpoint 1 of chain"):
        scheduled(folder)
    assert read == []


def test_rows_far_apart_are_proved_in_parts_that_keep_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = recorded(tmp_path, ("b" * 5 + "c") * 10, batch=6)
    monkeypatch.setattr(pruning, "FAR_APART", 3)
    monkeypatch.setattr(pruning, "READ_AT_ONCE", 12)
    place, parts = pruning.Place(), []
    while place is not None:
        part = pruning.prune_part(audit(folder).signer(), place, timezone.now(), by="schedule")
        parts.append(part.removed)
        place = part.place
    assert sum(parts) == 10
    assert max(parts) < 4
    assert found(folder) == set()
