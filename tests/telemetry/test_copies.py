"""The copies of the checkpoints are complete without a further call, also in a file that is begun anew; and whatever
lies in the file, reading it takes neither long nor much memory."""

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from disk import full_at
from django.db import connection
from recorded import audit, serve, writer
from signed import found, recorded, row, verified

from telemetry.audit import copied, copies, kept
from telemetry.audit.keys import signatures
from telemetry.audit.standing import faults
from telemetry.audit.verifier import Signatures
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint

__all__ = ("recorded",)
pytestmark = pytest.mark.django_db(transaction=True)
MIB = 2**20


def lines(folder: Path) -> list[tuple[str, int]]:
    """Chain and number of each line."""
    told = map(json.loads, audit(folder).copies.path.read_text().splitlines())
    return [(entry["chain"], entry["number"]) for entry in told]


def stored() -> list[tuple[str, int]]:
    return list(AuditCheckpoint.objects.order_by("pk").values_list("chain", "number"))


def shortened(folder: Path, lines: int) -> None:
    path = audit(folder).copies.path
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:lines]))


def believed(folder: Path) -> Signatures:
    return signatures(audit(folder).public_keys())


def store(folder: Path, n: int) -> None:
    journal = Journal(folder)
    serve(journal, n)
    journal.close()
    writer(folder).run_once()


@pytest.fixture
def two_chains(recorded: Path) -> Path:
    """The name of the first one was lost."""
    (audit(recorded).folder / "chain").unlink()
    store(recorded, 40)
    store(recorded, 41)
    return recorded


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy is missing from the first moment on."""
    monkeypatch.setattr(copied, "COPIED_WITHIN", timedelta(0))


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("left", [0, 3, 4])
def test_a_start_appends_what_a_crash_kept_from_the_file_though_nobody_calls(
    recorded: Path, left: int
) -> None:
    shortened(recorded, left)
    if left:
        assert ("copy", left + 1) in found(recorded)
    writer(recorded).keep_up(datetime.now(UTC))
    assert lines(recorded) == stored()
    assert found(recorded) == set()


@pytest.mark.usefixtures("at_once")
def test_copies_that_end_early_may_be_what_a_crash_left(recorded: Path) -> None:
    shortened(recorded, 4)
    (finding,) = verified(recorded).findings
    assert finding.words == (
        "the copies outside the database end before checkpoint 5: a crash just before it was copied looks the same, "
        "and the next start of the server adds the copy"
    )


@pytest.mark.usefixtures("at_once")
def test_a_file_that_was_moved_away_is_begun_anew_though_nobody_calls(
    two_chains: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "AT_ONCE", 2)
    moving = writer(two_chains)
    moving.keep_up(datetime.now(UTC))
    path = audit(two_chains).copies.path
    path.rename(path.with_suffix(".old"))
    moving.run_once()
    assert lines(two_chains) == stored(), "the older chain too"
    assert found(two_chains) == set()


def test_an_older_chain_has_copies_in_a_file_that_was_begun_anew(two_chains: Path) -> None:
    """So that cutting it shows."""
    path = audit(two_chains).copies.path
    path.rename(path.with_suffix(".old"))
    store(two_chains, 42)
    assert found(two_chains) == set()
    old = AuditCheckpoint.objects.filter(chain=AuditCheckpoint.objects.order_by("pk")[0].chain)
    old.filter(number__gte=4).delete()
    assert ("restored", 4) in found(two_chains)


@pytest.mark.parametrize("left", [1, 3, 5])
def test_a_file_whose_beginning_was_cut_off_by_a_crash_is_completed(two_chains: Path, left: int) -> None:
    shortened(two_chains, left)
    writer(two_chains).keep_up(datetime.now(UTC))
    assert lines(two_chains) == stored()


def test_copies_that_an_older_chain_lacks_come_before_the_first_of_the_next(recorded: Path) -> None:
    """Its writer was killed before it had copied, and then its name was lost."""
    shortened(recorded, 3)
    (audit(recorded).folder / "chain").unlink()
    moving = writer(recorded)
    moving.keep_up(datetime.now(UTC))
    journal = Journal(recorded)
    serve(journal, 40)
    journal.close()
    moving.run_once()
    assert lines(recorded) == stored()


@pytest.mark.parametrize(
    "change",
    [
        {"line": "no checkpoint"},
        {"line": "{}\n{}"},
        {"line": " " * 70_000},
        {"number": 9},
    ],
)
def test_what_is_no_checkpoint_is_not_copied(two_chains: Path, change: dict[str, object]) -> None:
    audit(two_chains).copies.path.unlink()
    AuditCheckpoint.objects.filter(number=3).update(**change)
    writer(two_chains).keep_up(datetime.now(UTC))
    assert lines(two_chains) == [place for place in stored() if place[1] not in (3, 9)]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a text of PostgreSQL's is one")
@pytest.mark.parametrize(
    "cell", ["line = CAST(x'ff' AS TEXT)", "line = 5", "number = 'x'", "number = 3.5", "chain = x'ff'"]
)
def test_a_cell_that_cannot_be_read_keeps_no_other_from_being_copied(two_chains: Path, cell: str) -> None:
    audit(two_chains).copies.path.unlink()
    places = [place for place in stored() if place[1] != 3]
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(f"UPDATE telemetry_auditcheckpoint SET {cell} WHERE number = 3")
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    writer(two_chains).keep_up(datetime.now(UTC))
    assert lines(two_chains) == places
    assert faults(audit(two_chains).folder) == []


def test_a_full_disk_leaves_no_copy_there_twice(recorded: Path) -> None:
    shortened(recorded, 1)
    place, chain = audit(recorded), row(1).chain
    with full_at(place.copies.size() * 5 // 2):
        place.copies.follow(chain, believed(recorded))
    assert "cannot be copied" in place.copies.fault
    place.copies.follow(chain, believed(recorded))
    assert place.copies.fault == ""
    assert lines(recorded) == stored()


@contextmanager
def little(seconds: float = 5) -> Iterator[None]:
    began = time.monotonic()
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * MIB, f"{peak:,} bytes of memory"
    assert time.monotonic() - began < seconds


def longer_by(path: Path, size: int) -> None:
    """NULs, which take no room on the disk."""
    with path.open("ab") as file:
        file.truncate(path.stat().st_size + size)


READS: list[Callable[[copies.Copies, str, Signatures], list[int]]] = [
    lambda read, chain, keys: [read.last(chain, keys)["number"]],  # type: ignore[index]
    lambda read, chain, keys: [entry["number"] for _, _, entry in read.lines(read.size()) if entry],
    lambda read, chain, keys: [entry["number"] for _, entry in read.of(chain, read.size())],
]


@pytest.mark.parametrize("read", READS, ids=["last", "lines", "of"])
@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_line_that_is_far_too_long_costs_nothing(
    recorded: Path, read: Callable[..., list[int]], ending: bytes
) -> None:
    place, chain = audit(recorded), row(1).chain
    expected = read(place.copies, chain, believed(recorded))
    longer_by(place.copies.path, 128 * MIB)
    with place.copies.path.open("ab") as file:
        file.write(ending)
    with little():
        assert read(place.copies, chain, believed(recorded)) == expected


@pytest.mark.parametrize("read", READS, ids=["last", "lines", "of"])
def test_what_follows_such_a_line_is_read(recorded: Path, read: Callable[..., list[int]]) -> None:
    place, chain = audit(recorded), row(1).chain
    expected = read(place.copies, chain, believed(recorded))
    text = place.copies.path.read_bytes().splitlines(keepends=True)
    place.copies.path.write_bytes(b"".join(text[:2]))
    longer_by(place.copies.path, 5 * MIB)
    with place.copies.path.open("ab") as file:
        file.write(b"\n" + b"".join(text[2:]))
    assert read(place.copies, chain, believed(recorded)) == expected
    odd = [number for number, _, entry in place.copies.lines(place.copies.size()) if entry is None]
    assert odd == [3], "it is told of"


@pytest.mark.parametrize("read", READS, ids=["last", "lines", "of"])
def test_a_copy_with_more_behind_it_than_a_line_may_have_is_none(
    recorded: Path, read: Callable[..., list[int]]
) -> None:
    """Nor does its beginning stand for it."""
    place, chain = audit(recorded), row(1).chain
    text = place.copies.path.read_bytes().splitlines(keepends=True)
    shortened(recorded, 4)
    expected = read(place.copies, chain, believed(recorded))
    place.copies.path.write_bytes(b"".join(text[:4]) + text[4].rstrip() + b" " * 2 * kept.LONGEST + b"junk\n")
    assert read(place.copies, chain, believed(recorded)) == expected


def test_what_is_appended_to_such_a_line_begins_one_of_its_own(recorded: Path) -> None:
    shortened(recorded, 4)
    place = audit(recorded)
    longer_by(place.copies.path, MIB)
    writer(recorded).keep_up(datetime.now(UTC))
    assert place.copies.path.read_bytes().splitlines()[-1].startswith(b'{"chain"')
    assert ("copy", 5) in found(recorded), "the line is told of"
    assert {kind for kind, _ in found(recorded)} == {"copy"}


def test_a_disk_that_was_away_for_a_moment_lacks_nothing_when_it_is_back(recorded: Path) -> None:
    """Meanwhile they are written where it was mounted."""
    moving, path = writer(recorded), audit(recorded).copies.path
    journal = Journal(recorded)
    serve(journal, 31)
    moving.run_once()
    path.rename(path.with_suffix(".mounted"))
    serve(journal, 32)
    moving.run_once()
    path.with_suffix(".mounted").replace(path)
    serve(journal, 33)
    moving.run_once()
    journal.close()
    assert lines(recorded) == stored()
    assert found(recorded) == set()
