"""Whatever is done to the record, verification finds it and names the row; to an honest record it says nothing."""

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from recorded import audit, call, serve, spoil_decision, writer

from telemetry.audit import reader, verification
from telemetry.audit.keys import signatures
from telemetry.audit.pruning import NotAsSigned, bury, prune
from telemetry.audit.verification import Verified, verify
from telemetry.audit.verifier import SIGNED_AS, ZEROS, Signatures
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog, RetentionRule

pytestmark = pytest.mark.django_db(transaction=True)
BATCHES, ROWS_A_BATCH = 5, 6


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Thirty calls of Bob, signed in five batches of six."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for batch in range(BATCHES):
        serve(journal, *range(batch * ROWS_A_BATCH + 1, (batch + 1) * ROWS_A_BATCH + 1))
        assert moving.run_once() == ROWS_A_BATCH
    journal.close()
    return folder


def verified(folder: Path) -> Verified:
    place = audit(folder)
    return verify(signatures(place.public_keys()), place.copies, own=place.chain_name())


def found(folder: Path) -> set[tuple[str, int]]:
    return {(finding.kind, finding.sequence) for finding in verified(folder).findings}


def row(sequence: int) -> RequestLog:
    return RequestLog.objects.get(sequence=sequence)


def change(at: int, /, **facts: object) -> None:
    assert RequestLog.objects.filter(sequence=at).update(**facts) == 1


def checkpoints_file(folder: Path) -> Path:
    return audit(folder).copies.path


def test_an_honest_record_has_no_findings(recorded: Path) -> None:
    told = verified(recorded)
    assert (told.rows, told.found) == (30, 0)
    assert [kept.sequence for kept in AuditCheckpoint.objects.order_by("number")] == [6, 12, 18, 24, 30]
    assert checkpoints_file(recorded).stat().st_mode & 0o777 == 0o600


def test_a_record_that_grows_meanwhile_has_no_findings(recorded: Path) -> None:
    """The first signature that is checked is the moment: checkpoints have been read by then, rows have not."""
    place, journal, moving = audit(recorded), Journal(recorded), writer(recorded)
    believed, more = signatures(place.public_keys()), iter(range(31, 100))

    def grow(key: bytes, signature: bytes, message: bytes) -> bool:
        serve(journal, next(more))
        assert moving.run_once() == 1
        return believed._checks(key, signature, message)

    for _ in range(2):
        told = verify(Signatures(believed.keys.values(), grow), place.copies)
        assert (told.found, told.findings) == (0, [])
    assert told.rows < RequestLog.objects.count()
    journal.close()


def test_rows_that_are_pruned_meanwhile_are_not_missing(recorded: Path) -> None:
    """The signature of a tombstone is checked when all of them have been read, and no row has."""
    place = audit(recorded)
    believed, more = signatures(place.public_keys()), iter([6, 7])
    RetentionRule.objects.create(days=1)
    prune(place.signer(), timezone.now(), by="ada", most=7)

    def pruned(key: bytes, signature: bytes, message: bytes) -> bool:
        if message.startswith(SIGNED_AS["tombstone"]) and (most := next(more, None)):
            prune(place.signer(), timezone.now(), by="ada", most=most)
        return believed._checks(key, signature, message)

    told = verify(Signatures(believed.keys.values(), pruned), place.copies)
    assert (told.found, told.findings, told.rows) == (0, [], 17)


def test_a_table_is_read_in_pages_of_which_each_begins_where_one_ended(
    recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (chain,) = set(RequestLog.objects.values_list("chain", flat=True))
    whole = list(reader.bodies(chain, after=3, until=29))
    assert [sequence for sequence, _, _ in whole] == list(range(4, 30))
    for size in (1, 4, 26, 27):
        monkeypatch.setattr(reader, "AT_ONCE", size)
        assert list(reader.bodies(chain, after=3, until=29)) == whole


def edit(folder: Path) -> None:
    change(9, output_tokens=999)


def edit_within_json(folder: Path) -> None:
    change(9, decision={"stage": "limits"})


def edit_time_by_a_microsecond(folder: Path) -> None:
    found = row(9)
    change(9, started_at=found.started_at.replace(microsecond=found.started_at.microsecond + 1))


def edit_and_hash_anew(folder: Path) -> None:
    """A row with a hash that fits it; the next one does not follow it."""
    _rehash(9, 9, output_tokens=999)


def rehash_to_the_end(folder: Path) -> None:
    """Everything from the changed row on fits together again; only the signatures are missing."""
    _rehash(9, 30, output_tokens=999)


def _rehash(first: int, last: int, **facts: object) -> None:
    from telemetry.audit.canonical import canonical
    from telemetry.audit.chain import row_of
    from telemetry.audit.verifier import row_hash

    change(first, **facts)
    previous = row(first - 1).hash
    for sequence in range(first, last + 1):
        previous = row_hash(previous, canonical(row_of(row(sequence))))
        change(sequence, hash=previous)


def edit_to_no_json(folder: Path) -> None:
    spoil_decision(9)


def delete_one(folder: Path) -> None:
    row(9).delete()


def delete_several(folder: Path) -> None:
    RequestLog.objects.filter(sequence__range=(9, 14)).delete()


def delete_all(folder: Path) -> None:
    RequestLog.objects.all().delete()


def cut_the_end(folder: Path) -> None:
    RequestLog.objects.filter(sequence__gt=20).delete()


def cut_the_beginning(folder: Path) -> None:
    RequestLog.objects.filter(sequence__lt=4).delete()


def swap(folder: Path) -> None:
    change(9, sequence=900)
    change(10, sequence=9)
    change(900, sequence=10)


def duplicate_behind_the_end(folder: Path) -> None:
    copy = row(9)
    copy.pk, copy.call_id, copy.sequence = None, call(77), 31
    copy.save(force_insert=True)


def beside_the_chain(folder: Path) -> None:
    forged = row(9)
    forged.pk, forged.call_id, forged.chain, forged.sequence, forged.hash = None, call(77), "", None, ""
    forged.save(force_insert=True)


def in_a_chain_of_its_own(folder: Path) -> None:
    forged = row(9)
    forged.pk, forged.call_id, forged.chain, forged.sequence = None, call(77), "mine", 1
    forged.save(force_insert=True)


def an_older_copy(folder: Path) -> None:
    RequestLog.objects.filter(sequence__gt=18).delete()
    AuditCheckpoint.objects.filter(number__gt=3).delete()


def drop_a_checkpoint(folder: Path) -> None:
    AuditCheckpoint.objects.get(number=3).delete()


def drop_the_last_checkpoint(folder: Path) -> None:
    AuditCheckpoint.objects.get(number=5).delete()


def change_a_checkpoint(folder: Path) -> None:
    kept = AuditCheckpoint.objects.get(number=3)
    kept.line = json.dumps(kept.entry() | {"sequence": 17, "hash": row(17).hash})
    kept.save()


def make_a_checkpoint_unreadable(folder: Path) -> None:
    AuditCheckpoint.objects.filter(number=3).update(line="no JSON")


def take_a_part_of_a_checkpoint_away(folder: Path) -> None:
    AuditCheckpoint.objects.filter(number=3).update(line='{"number": "x"}')


def change_a_checkpoint_s_time(folder: Path) -> None:
    kept = AuditCheckpoint.objects.get(number=3)
    kept.line = json.dumps(kept.entry() | {"signedAt": "2020-01-01T00:00:00.000000Z"})
    kept.save()


def sign_with_another_key(folder: Path) -> None:
    """Charlie re-chains everything and signs it with a key of his own."""
    from telemetry.audit.keys import open_signer

    rehash_to_the_end(folder)
    signer = open_signer(folder / "charlie.key", folder / "charlie")
    kept = AuditCheckpoint.objects.get(number=5)
    entry = kept.entry() | {"hash": row(30).hash}
    kept.line = signer.sign("checkpoint", {k: v for k, v in entry.items() if k not in ("key", "signature")})
    kept.save()


def drop_a_line_of_the_copies(folder: Path) -> None:
    path = checkpoints_file(folder)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:2] + lines[3:]))


def change_a_line_of_the_copies(folder: Path) -> None:
    path = checkpoints_file(folder)
    lines = path.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"rows":6', '"rows":7')
    path.write_text("".join(lines))


def without_a_place(folder: Path) -> None:
    _forged(None)


def before_the_first(folder: Path) -> None:
    _forged(0)


def _forged(sequence: int | None) -> None:
    copy = row(9)
    copy.pk, copy.call_id, copy.sequence, copy.outcome = None, uuid.UUID(int=99), sequence, "forged"
    copy.save(force_insert=True)


def date_a_checkpoint_otherwise(folder: Path) -> None:
    AuditCheckpoint.objects.filter(number=3).update(signed_at=timezone.now() - timedelta(days=900))


def move_a_checkpoint(folder: Path) -> None:
    AuditCheckpoint.objects.filter(number=5).update(sequence=999)


def junk_in_the_copies(folder: Path) -> None:
    path = checkpoints_file(folder)
    odd = ('{"number":1e999,"sequence":1,"chain":"x"}', "[" * 100_000, '"\\ud800"')
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in odd))


def junk_for_a_tombstone(folder: Path) -> None:
    for line in (
        '{"runs":[["x",1,"h"]],"signature":"","key":""}',
        "[" * 100_000,
        '{"runs":[[3,9,"\\ud800","b"]]}',
    ):
        AuditTombstone.objects.create(
            chain=row(1).chain, signed_at=timezone.now(), line=line, first=7, last=8, rows=2
        )


def a_tombstone_of_another_chain(folder: Path) -> None:
    told = {"chain": "other", "runs": [[1, 30, row(30).hash, ZEROS]], "rows": 30}
    line = audit(folder).signer().sign("tombstone", told)
    AuditTombstone.objects.create(
        chain=row(1).chain, signed_at=timezone.now(), line=line, first=1, last=30, rows=30
    )
    delete_all(folder)


MANIPULATIONS: list[tuple[Callable[[Path], None], set[tuple[str, int]]]] = [
    (edit, {("changed", 9)}),
    (edit_within_json, {("changed", 9)}),
    (edit_to_no_json, {("changed", 9)}),
    (edit_time_by_a_microsecond, {("changed", 9)}),
    (edit_and_hash_anew, {("changed", 10)}),
    (rehash_to_the_end, {("forged", 12), ("forged", 18), ("forged", 24), ("forged", 30)}),
    (delete_one, {("deleted", 9)}),
    (delete_several, {("deleted", 9)}),
    (delete_all, {("cut off", 1)}),
    (cut_the_end, {("cut off", 21)}),
    (cut_the_beginning, {("deleted", 1)}),
    (swap, {("changed", 9), ("changed", 10), ("changed", 11)}),
    (duplicate_behind_the_end, {("changed", 31), ("unsigned", 31)}),
    (beside_the_chain, {("forged", 0)}),
    (in_a_chain_of_its_own, {("changed", 1), ("unsigned", 1)}),
    (an_older_copy, {("restored", 4), ("restored", 5)}),
    (drop_a_checkpoint, {("checkpoint", 3), ("restored", 3)}),
    (drop_the_last_checkpoint, {("restored", 5), ("unsigned", 25)}),
    (change_a_checkpoint, {("checkpoint", 3), ("checkpoint", 4)}),
    (make_a_checkpoint_unreadable, {("checkpoint", 3), ("checkpoint", 4)}),
    (take_a_part_of_a_checkpoint_away, {("checkpoint", 3), ("checkpoint", 4)}),
    (change_a_checkpoint_s_time, {("checkpoint", 3), ("checkpoint", 4)}),
    (
        sign_with_another_key,
        {("forged", 12), ("forged", 18), ("forged", 24), ("checkpoint", 5), ("unsigned", 25)},
    ),
    (without_a_place, {("forged", 0)}),
    (before_the_first, {("forged", 0)}),
    (date_a_checkpoint_otherwise, {("checkpoint", 3)}),
    (move_a_checkpoint, {("checkpoint", 5)}),
    (junk_in_the_copies, {("copy", 6), ("copy", 7), ("copy", 8)}),
    (junk_for_a_tombstone, {("tombstone", 7), ("tombstone", 3)}),
    (a_tombstone_of_another_chain, {("tombstone", 1), ("cut off", 1)}),
    (drop_a_line_of_the_copies, {("copy", 3)}),
    (change_a_line_of_the_copies, {("copy", 3)}),
]


@pytest.mark.parametrize(
    ("manipulate", "expected"), MANIPULATIONS, ids=lambda value: getattr(value, "__name__", "")
)
def test_each_manipulation_is_found_and_named(
    recorded: Path, manipulate: Callable[[Path], None], expected: set[tuple[str, int]]
) -> None:
    assert found(recorded) == set()
    manipulate(recorded)
    assert found(recorded) == expected


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_copies_that_end_early_are_found_once_they_should_be_there(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    path = checkpoints_file(recorded)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:kept]))
    assert found(recorded) == set(), "the file is written after the database"
    monkeypatch.setattr(verification, "COPIED_WITHIN", timedelta(0))
    assert found(recorded) == {("copy", kept + 1)}
    path.unlink()
    assert found(recorded) == {("copy", 1)}


def test_rows_put_back_under_their_tombstone_are_found(recorded: Path) -> None:
    rows = list(RequestLog.objects.filter(sequence__lte=6).order_by("sequence"))
    RetentionRule.objects.create(days=1)
    prune(audit(recorded).signer(), timezone.now(), by="ada", most=6)
    assert found(recorded) == set()
    RequestLog.objects.bulk_create(rows[:2])
    assert found(recorded) == {("tombstone", 1), ("tombstone", 2)}


@pytest.mark.parametrize("manipulate", [edit, edit_and_hash_anew, rehash_to_the_end])
def test_pruning_does_not_turn_a_forgery_into_a_tombstone(
    recorded: Path, manipulate: Callable[[Path], None]
) -> None:
    manipulate(recorded)
    before = found(recorded)
    RetentionRule.objects.create(days=1)
    with pytest.raises(NotAsSigned, match="is not as it was recorded"):
        prune(audit(recorded).signer(), timezone.now(), by="ada")
    assert found(recorded) == before
    assert row(9)


def test_what_stands_before_pruned_rows_is_signed_by_their_tombstone(recorded: Path) -> None:
    """Between the last checkpoint and the gap nothing else is."""
    prune_from(recorded, 10, 12)
    assert found(recorded) == set()
    _rehash(9, 9, output_tokens=999)
    assert found(recorded) == {("forged", 9)}


def prune_from(folder: Path, first: int, last: int) -> None:
    """As if a rule had named exactly these rows."""
    rows = list(RequestLog.objects.filter(sequence__range=(first, last)).order_by("sequence"))
    bury(audit(folder).signer(), rows, reason="a rule", by="ada", now=timezone.now())


def test_a_number_that_is_none_is_found(recorded: Path) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite keeps a text in a column of numbers")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE telemetry_requestlog SET sequence = 'nine' WHERE sequence = 9")
    assert found(recorded) == {("forged", 0), ("deleted", 9)}
    journal, moving = Journal(recorded), writer(recorded)
    serve(journal, 31)
    assert moving.run_once() == 1, "calls go on being recorded, in a chain of their own"
    journal.close()


@pytest.mark.parametrize("ending", [".9", "+14:00", " ", ".2500000"])
def test_a_moment_that_only_looks_alike_is_found(recorded: Path, ending: str) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite keeps moments as texts")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE telemetry_requestlog SET started_at = started_at || %s WHERE sequence = 9", [ending]
        )
    assert found(recorded) == {("changed", 9)}
