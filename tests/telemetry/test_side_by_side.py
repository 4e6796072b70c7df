"""Several processes that read and hash rows tell the same as one, in the same order, and do not outlive it."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest
from django.db import connection, connections, transaction
from recorded import audit
from scraped import wait_until
from signed import change, claims, recorded

from telemetry.audit import reader, side_by_side
from telemetry.audit.keys import signatures
from telemetry.audit.verification import verify
from telemetry.models import AuditCheckpoint, RequestLog

__all__ = ("recorded",)
FORK = multiprocessing.get_context("fork")
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def chain(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of thirty rows, which are enough for several processes: a page is a batch of six."""
    monkeypatch.setattr(side_by_side, "MANY", 0)
    monkeypatch.setattr(reader, "AT_ONCE", 1)
    (name,) = set(RequestLog.objects.values_list("chain", flat=True))
    return name


@pytest.fixture
def stored_in_a_file(chain: str, tmp_path: Path) -> Iterator[None]:
    """A process that is forked gets a copy of a database in memory, and does not see what others do to it."""
    before = connections["default"]
    if before.vendor == "sqlite":
        path = tmp_path / "record.sqlite3"
        with before.cursor() as cursor:
            cursor.execute("VACUUM INTO %s", [str(path)])
        connections["default"] = before.copy()
        connections["default"].settings_dict = {
            **before.settings_dict,
            "NAME": str(path),
            # Without it, nobody could remove a row while a page is held.
            "OPTIONS": {**before.settings_dict["OPTIONS"], "init_command": "PRAGMA journal_mode=WAL"},
        }
    yield
    connections["default"].close()
    connections["default"] = before


def beside(chain: str, processes: int = 3, **more: int) -> list[tuple[int, str]]:
    return claims(side_by_side.runs(chain, **{"after": 0, "until": 30, **more}, processes=processes))


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_they_tell_what_one_tells(chain: str, processes: int) -> None:
    alone = claims(reader.runs(chain, after=0, until=30))
    assert [sequence for sequence, _ in alone] == list(range(1, 31))
    assert beside(chain, processes) == alone
    assert beside(chain, processes, after=4, until=20) == alone[4:20]


def test_they_are_processes(chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, seen = reader.hashed, []
    monkeypatch.setattr(reader, "hashed", lambda page: seen.append(os.getpid()) or hashed(page))
    assert len(beside(chain)) == 30
    assert seen == [], "what a process notes, another does not see"
    assert len(beside(chain, 1)) == 30
    assert set(seen) == {os.getpid()}


def test_a_page_of_many_rows_comes_in_parts(chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = claims(reader.runs(chain, after=0, until=30))
    AuditCheckpoint.objects.all().delete()
    monkeypatch.setattr(reader, "MOST_AT_ONCE", 4)
    assert beside(chain) == alone


def test_what_was_changed_is_found_and_nothing_else(chain: str, recorded: Path) -> None:
    place = audit(recorded)
    believed = signatures(place.public_keys())
    assert verify(believed, place.copies, processes=3).found == 0
    change(9, status=500)
    change(22, model="other")
    RequestLog.objects.filter(sequence=15).delete()
    found = [verify(believed, place.copies, processes=processes).findings for processes in (1, 3)]
    assert [(each.kind, each.sequence) for each in found[0]] == [
        ("changed", 9),
        ("deleted", 15),
        ("changed", 22),
    ]
    assert found[1] == found[0]


def test_what_keeps_one_from_reading_is_raised_where_it_would_be_alone(
    chain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reader.read

    def spoiled(chain: str, after: int, upto: int) -> object:
        if after >= 12:
            raise ValueError("nothing can be read here")
        return read(chain, after, upto)

    monkeypatch.setattr(reader, "read", spoiled)
    told = side_by_side.runs(chain, after=0, until=30, processes=3)
    assert [sequence for sequence, _ in claims(islice(told, 2))] == list(range(1, 13))
    with pytest.raises(ValueError, match="nothing can be read here"):
        next(told)


def test_pages_are_of_moments_that_follow_one_another(
    chain: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However long one takes: rows that are removed meanwhile are missing behind those that were read, and not before."""
    hold, noted = side_by_side._hold, tmp_path / "held"

    def slow(cursor: object) -> None:
        with noted.open("a") as file:
            file.write("begin ")
        if noted.read_text().count("begin") == 2:
            time.sleep(0.2)  # it is the test: whoever does not wait for its turn looks meanwhile
        hold(cursor)
        with noted.open("a") as file:
            file.write("end ")

    monkeypatch.setattr(side_by_side, "_hold", slow)
    beside(chain)
    assert noted.read_text() == "begin end " * 5


@pytest.mark.usefixtures("stored_in_a_file")
def test_a_page_is_of_its_moment_however_late_it_is_read(
    chain: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read, is_removed = reader.read, tmp_path / "removed"

    def late(chain: str, after: int, upto: int) -> object:
        if after == 6:
            wait_until(is_removed.exists)
        elif after == 12:  # so the page before it has its moment
            with closing(connection.copy()) as another, another.cursor() as cursor:
                cursor.execute("DELETE FROM telemetry_requestlog WHERE sequence IN (8, 29)")
            is_removed.touch()
        return read(chain, after, upto)

    alone = claims(reader.runs(chain, after=0, until=30))
    monkeypatch.setattr(reader, "read", late)
    monkeypatch.setattr(side_by_side, "AHEAD", 1)  # the last page is asked for when the second has been read
    assert beside(chain) == [claim for claim in alone if claim[0] != 29]
    assert not RequestLog.objects.filter(sequence=8).exists()


def test_none_is_left_when_the_walk_ends_early(chain: str) -> None:
    rows = side_by_side.runs(chain, after=0, until=30, processes=3)
    next(rows)
    assert len(multiprocessing.active_children()) == 3
    rows.close()
    assert multiprocessing.active_children() == []


def test_none_is_left_when_the_one_that_walks_is_killed(chain: str) -> None:
    ours, theirs = FORK.Pipe()

    def walk() -> None:
        rows = side_by_side.runs(chain, after=0, until=30, processes=3)
        next(rows)
        theirs.send([child.pid for child in multiprocessing.active_children()])
        signal.pause()

    connections.close_all()
    walking = FORK.Process(target=walk)
    walking.start()
    children = ours.recv()
    assert len(children) == 3
    assert walking.pid is not None
    os.kill(walking.pid, signal.SIGKILL)
    walking.join()
    wait_until(lambda: not any(map(is_alive, children)))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_process_that_is_killed_is_told_and_nothing_is_said_to_be_verified(
    chain: str, recorded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = audit(recorded)
    monkeypatch.setattr(reader, "hashed", lambda page: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ChildProcessError, match="a process that verified was killed"):
        verify(signatures(place.public_keys()), place.copies, processes=3)


def test_within_a_transaction_one_process_sees_what_it_has_done(chain: str) -> None:
    with transaction.atomic():
        change(9, status=500)
        assert beside(chain) == claims(reader.runs(chain, after=0, until=30))
