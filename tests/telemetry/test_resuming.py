"""What the writer goes on with: nothing that was not signed, whoever has changed the database since; and calls are
recorded all the same."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import DatabaseError, connection, transaction
from recorded import audit, serve, writer
from signed import found, recorded, row

from telemetry.audit.canonical import canonical
from telemetry.audit.chain import row_of
from telemetry.audit.standing import faults
from telemetry.audit.verifier import ZEROS, encoded, link_of, row_hash
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog
from telemetry.writer import Writer

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)


def store(folder: Path, n: int, moving: Writer | None = None) -> int:
    journal = Journal(folder)
    serve(journal, n)
    journal.close()
    return (moving or writer(folder)).run_once()


def told(folder: Path) -> str:
    return "; ".join(faults(audit(folder).folder))


def chains() -> set[str]:
    return set(RequestLog.objects.values_list("chain", flat=True))


def last() -> AuditCheckpoint:
    return AuditCheckpoint.objects.order_by("-pk")[0]


def rows_anew(first: int) -> dict[int, str]:
    """From this row on they are Mallory's, and their hashes fit together. By number: the hash."""
    digest, made = (row(first - 1).hash if first > 1 else ZEROS), {}
    for one in RequestLog.objects.filter(sequence__gte=first).order_by("sequence"):
        one.tool_id = "mallory"
        assert one.sequence is not None
        digest = made[one.sequence] = one.hash = row_hash(digest, canonical(row_of(one)))
        one.save()
    return made


def last_batch_anew() -> None:
    """Without the key: the old signature stays, and is wrong."""
    kept = last()
    made = rows_anew(kept.sequence - 5)
    kept.line = kept.line.replace(kept.entry()["hash"], made[kept.sequence])
    kept.save()


def everything_anew() -> None:
    made, link = rows_anew(1), ""
    for kept in AuditCheckpoint.objects.order_by("number"):
        entry = kept.entry() | {"hash": made[kept.sequence], "previous": link}
        kept.line, link = encoded(entry).decode(), link_of(entry)
        kept.save()


def signed_by_a_stranger(tmp_path: Path) -> None:
    """A key that nobody here believes."""
    from telemetry.audit.keys import open_signer

    stranger, kept = open_signer(tmp_path / "stranger" / "key", tmp_path / "stranger"), last()
    made = rows_anew(25)
    facts = {name: value for name, value in kept.entry().items() if name not in ("key", "signature")}
    kept.line = stranger.sign("checkpoint", facts | {"hash": made[30]})
    kept.save()


def another_number_beside() -> None:
    AuditCheckpoint.objects.filter(number=5).update(number=6)


def another_row_beside() -> None:
    AuditCheckpoint.objects.filter(number=5).update(sequence=29)


def another_moment_beside() -> None:
    AuditCheckpoint.objects.filter(number=5).update(signed_at=last().signed_at.replace(year=2030))


def rows_removed_under_a_forged_tombstone() -> None:
    chain, entry = last().chain, last().entry()
    RequestLog.objects.all().delete()
    line = json.dumps(
        {"chain": chain, "runs": [[1, 30, entry["hash"], ZEROS]], "rows": 30, "key": entry["key"]}
    )
    AuditTombstone.objects.create(
        chain=chain, first=1, last=30, rows=30, signed_at=last().signed_at, line=line
    )


@contextmanager
def refusing(table: str, unless: str = "nothing at all") -> Iterator[None]:
    """A trigger that lets nothing into the table but lines with this text in them."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(
                f"CREATE TRIGGER refusing BEFORE INSERT ON {table} WHEN instr(NEW.line, '{unless}') = 0 "
                "BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        else:
            cursor.execute(
                "CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
                f"IF position('{unless}' in NEW.line) = 0 THEN RAISE unique_violation; END IF; RETURN NEW; END $$"
            )
            cursor.execute(
                f"CREATE TRIGGER refusing BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refused()"
            )
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            if connection.vendor == "sqlite":
                cursor.execute("DROP TRIGGER refusing")
            else:
                cursor.execute(f"DROP TRIGGER refusing ON {table}")
                cursor.execute("DROP FUNCTION refused")


@pytest.mark.parametrize(
    ("forge", "words"),
    [
        (last_batch_anew, "not what was signed: its signature does not belong to what it says"),
        (everything_anew, "not what was signed: its signature does not belong to what it says"),
        (another_number_beside, "not what was signed: the columns beside it say otherwise"),
        (another_row_beside, "not what was signed: the columns beside it say otherwise"),
        (another_moment_beside, "not what was signed: the columns beside it say otherwise"),
        (rows_removed_under_a_forged_tombstone, "last rows of the record are not those that were signed"),
    ],
)
def test_a_forged_end_is_not_signed_on_over(recorded: Path, forge: Callable[[], None], words: str) -> None:
    forge()
    assert store(recorded, 50) == 1
    assert words in told(recorded)
    assert last().number == 1, "another chain has been begun"
    assert len(chains()) == (1 if "tombstone" in forge.__name__ else 2)
    assert found(recorded) != set()


def test_what_a_stranger_has_signed_is_not_gone_on_with(recorded: Path, tmp_path: Path) -> None:
    signed_by_a_stranger(tmp_path)
    store(recorded, 50)
    assert "which is not one of those believed" in told(recorded)
    assert last().number == 1


def test_a_signature_over_something_else_than_its_copy_is_not_gone_on_with(recorded: Path) -> None:
    """The key signed both: two machines went on from one image."""
    path = audit(recorded).copies.path
    kept = last()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    entry = {name: value for name, value in kept.entry().items() if name not in ("key", "signature")}
    other = audit(recorded).signer().sign("checkpoint", entry | {"rows": 7})
    path.write_text(f"{path.read_text()}{other}\n")
    store(recorded, 50)
    assert "not the one that was copied outside of it" in told(recorded)
    assert last().number == 1


def test_a_copy_that_nobody_signed_ends_no_chain_and_keeps_nothing_from_being_copied(recorded: Path) -> None:
    path = audit(recorded).copies.path
    forged = path.read_text().splitlines()[4].replace('"number":5', '"number":99')
    path.write_text(f"{path.read_text()}{forged}\n")
    store(recorded, 50)
    assert (told(recorded), len(chains()), last().number) == ("", 1, 6)
    assert json.loads(path.read_text().splitlines()[-1])["number"] == 6


@pytest.mark.parametrize("forge", [last_batch_anew, everything_anew])
def test_a_statement_that_fails_makes_a_running_writer_adopt_nothing(
    recorded: Path, forge: Callable[[], None]
) -> None:
    """Mallory's trigger refuses whatever does not follow what he has forged."""
    moving = writer(recorded)
    assert store(recorded, 40, moving) == 1
    forge()
    with refusing("telemetry_auditcheckpoint", unless=link_of(last().entry())):
        assert store(recorded, 50, moving) == 0
    assert "not what was signed" in told(recorded)
    assert store(recorded, 51, moving) == 1
    assert last().number == 1


def test_a_running_writer_goes_on_with_what_it_signed_itself_alone(recorded: Path) -> None:
    """Another checkpoint with a good signature: that of a copy from before."""
    moving = writer(recorded)
    store(recorded, 40, moving)
    audit(recorded).copies.path.unlink()
    AuditCheckpoint.objects.filter(number=6).delete()
    RequestLog.objects.filter(sequence=31).delete()
    with refusing("telemetry_auditcheckpoint", unless='"number":6'):
        store(recorded, 50, moving)
    assert "does not end in what this writer signed last" in told(recorded)


def test_a_statement_that_fails_ends_no_honest_chain(recorded: Path) -> None:
    moving = writer(recorded)
    store(recorded, 40, moving)
    with refusing("telemetry_auditcheckpoint"):
        assert store(recorded, 50, moving) == 0
    assert store(recorded, 51, moving) == 1
    assert (told(recorded), len(chains()), last().number) == ("", 1, 7)
    assert found(recorded) == set()


def test_a_commit_that_nobody_was_told_of_is_gone_on_with(recorded: Path) -> None:
    """The connection breaks when the database has committed: what it has then is what this writer signed."""

    def lost() -> None:
        raise DatabaseError("server closed the connection unexpectedly")

    breaks = [True]
    moving = writer(recorded, lambda used: transaction.on_commit(lost) if breaks else None)
    with pytest.raises(DatabaseError):
        store(recorded, 40, moving)
    breaks.clear()
    assert store(recorded, 41, moving) == 1
    assert (told(recorded), len(chains()), last().number) == ("", 1, 7)
    assert found(recorded) == set()


def test_a_key_that_was_changed_goes_on_and_is_told_until_the_next_start(recorded: Path) -> None:
    place = audit(recorded)
    place.key.rename(place.key.with_suffix(".old"))
    moving = writer(recorded)
    store(recorded, 50, moving)
    assert "signed with another key from now on" in told(recorded)
    assert (len(chains()), last().number) == (1, 6)
    assert found(recorded) == set()
    store(recorded, 51)
    assert told(recorded) == ""


def test_a_believed_key_that_cannot_be_read_keeps_no_writer_from_starting(recorded: Path) -> None:
    (audit(recorded).folder / "believed" / "note.pub").write_text("a note")
    assert store(recorded, 50) == 1
    assert len(chains()) == 1


def test_copies_that_cannot_be_read_keep_no_writer_from_starting(recorded: Path) -> None:
    path = audit(recorded).copies.path
    path.unlink()
    path.mkdir()
    assert store(recorded, 50) == 1
    assert "cannot be copied" in told(recorded)
    assert len(chains()) == 1
