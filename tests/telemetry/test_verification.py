"""To an honest record verification says nothing; what pruning leaves cannot be used to hide anything."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from recorded import audit, serve, writer
from signed import checkpoints_file, claims, found, recorded, row, verified
from test_manipulations import edit, edit_and_hash_anew, rehash, rehash_to_the_end

from telemetry.audit import copied, reader
from telemetry.audit.keys import signatures
from telemetry.audit.pruning import NotAsSigned, bury, prune
from telemetry.audit.verification import verify
from telemetry.audit.verifier import SIGNED_AS, Signatures
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, RequestLog, RetentionRule

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)


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
    whole = claims(reader.runs(chain, after=3, until=29))
    assert [sequence for sequence, _ in whole] == list(range(4, 30))
    for size in (1, 4, 26, 27):
        monkeypatch.setattr(reader, "AT_ONCE", size)
        monkeypatch.setattr(reader, "MOST_AT_ONCE", size)
        assert claims(reader.runs(chain, after=3, until=29)) == whole


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_copies_that_end_early_are_found_once_they_should_be_there(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    path = checkpoints_file(recorded)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:kept]))
    assert found(recorded) == set(), "the file is written after the database"
    monkeypatch.setattr(copied, "COPIED_WITHIN", timedelta(0))
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
    with pytest.raises(NotAsSigned, match="is not as it was signed"):
        prune(audit(recorded).signer(), timezone.now(), by="ada")
    assert found(recorded) == before
    assert row(9)


def test_what_stands_before_pruned_rows_is_signed_by_their_tombstone(recorded: Path) -> None:
    """Between the last checkpoint and the gap nothing else is."""
    prune_from(recorded, 10, 12)
    assert found(recorded) == set()
    rehash(9, 9, output_tokens=999)
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
