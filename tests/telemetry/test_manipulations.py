"""Whatever is done to the record, verification finds it and names the row."""

import json
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from recorded import audit, call, spoil_decision
from signed import change, checkpoints_file, found, recorded, row

from telemetry.audit.verifier import ZEROS
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)


def edit(folder: Path) -> None:
    change(9, output_tokens=999)


def edit_within_json(folder: Path) -> None:
    change(9, decision={"stage": "limits"})


def edit_time_by_a_microsecond(folder: Path) -> None:
    found = row(9)
    change(9, started_at=found.started_at.replace(microsecond=found.started_at.microsecond + 1))


def edit_and_hash_anew(folder: Path) -> None:
    """A row with a hash that fits it; the next one does not follow it."""
    rehash(9, 9, output_tokens=999)


def rehash_to_the_end(folder: Path) -> None:
    """Everything from the changed row on fits together again; only the signatures are missing."""
    rehash(9, 30, output_tokens=999)


def rehash(first: int, last: int, **facts: object) -> None:
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
    (an_older_copy, {("restored", 4)}),
    (drop_a_checkpoint, {("checkpoint", 3), ("restored", 3)}),
    (drop_the_last_checkpoint, {("restored", 5), ("unsigned", 25)}),
    (change_a_checkpoint, {("checkpoint", 3), ("checkpoint", 4)}),
    (make_a_checkpoint_unreadable, {("checkpoint", 3), ("checkpoint", 4)}),
    (take_a_part_of_a_checkpoint_away, {("checkpoint", 3), ("checkpoint", 4)}),
    (change_a_checkpoint_s_time, {("checkpoint", 3), ("checkpoint", 4)}),
    (
        sign_with_another_key,
        {("forged", 12), ("forged", 18), ("forged", 24), ("forged", 30), ("checkpoint", 5), ("unsigned", 25)},
    ),
    (without_a_place, {("forged", 0)}),
    (before_the_first, {("forged", 0)}),
    (date_a_checkpoint_otherwise, {("checkpoint", 3)}),
    (move_a_checkpoint, {("checkpoint", 5)}),
    (junk_in_the_copies, {("copy", 6), ("copy", 7), ("copy", 8)}),
    (junk_for_a_tombstone, {("tombstone", 7)}),
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
