"""The journal's files under the hands of others: what is cut, or cannot be read, loses no call silently."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded import call, intent, left, outcome, outcomes, segments, serve, writer

from gateway.writer_process import WriterProcess
from telemetry.audit.standing import faults
from telemetry.backlog import BacklogReader
from telemetry.journal import Journal, JournalError, is_alive
from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db(transaction=True)


def served(*numbers: int) -> dict[str, str]:
    return {call(n): "ok" for n in numbers}


def told(folder: Path) -> str:
    return "; ".join(faults(folder))


@pytest.mark.parametrize("calls", [1, 2, 5, 8], ids="{} calls after it".format)
def test_calls_after_a_file_was_emptied_are_stored_and_it_is_said(tmp_path: Path, calls: int) -> None:
    """Five were stored: the file grows to less than was read, to as much, to more."""
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, *range(10, 15))
    assert moving.run_once() == 5
    os.truncate(segments(tmp_path)[0], 0)
    serve(journal, *range(20, 20 + calls))
    assert moving.run_once() == calls
    assert segments(tmp_path)[0].name in told(tmp_path)
    journal.close()
    moving.run_once()
    assert outcomes() == served(*range(10, 15), *range(20, 20 + calls))
    assert left(tmp_path) == []


def test_a_file_that_was_cut_in_the_middle_is_read_again_and_nothing_is_stored_twice(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1, 2, 3)
    moving.run_once()
    (path,) = segments(tmp_path)
    os.truncate(path, path.stat().st_size // 2)
    serve(journal, 4)
    moving.run_once()
    serve(journal, 5)
    moving.run_once()
    journal.close()
    moving.run_once()
    assert outcomes() == served(1, 2, 3, 4, 5)


@pytest.mark.parametrize("calls", [1, 6], ids="{} calls after it".format)
def test_a_file_that_was_emptied_while_no_writer_ran_is_read_from_its_start(
    tmp_path: Path, calls: int
) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1, 2, 3)
    writer(tmp_path).run_once()
    os.truncate(segments(tmp_path)[0], 0)
    journal.intent(intent(call(20), request_id="of another length"))
    serve(journal, *range(20, 20 + calls))
    moving = writer(tmp_path)
    assert moving.run_once() == calls
    assert "cut short" in told(tmp_path)
    journal.close()
    moving.run_once()
    assert outcomes() == served(1, 2, 3, *range(20, 20 + calls))


def test_a_call_under_way_whose_intent_was_cut_away_is_stored_when_it_ends(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    journal.intent(intent(call(1)))
    journal.intent(intent(call(2)))
    moving.run_once()
    os.truncate(segments(tmp_path)[0], 0)
    moving.run_once()
    journal.outcome(outcome(call(1)))
    journal.close()
    moving.run_once()
    assert outcomes() == served(1) | {call(2): "UNKNOWN"}


def test_a_file_that_only_grows_is_never_taken_for_a_cut_one(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path, segment_bytes=2000), writer(tmp_path)
    for n in range(40):
        serve(journal, n)
        moving.run_once()
        if n % 7 == 0:
            moving = writer(tmp_path)
    assert told(tmp_path) == ""
    journal.close()
    moving.run_once()
    assert outcomes() == served(*range(40))


def test_what_lies_in_a_cut_file_waits_from_its_start(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, *range(10))
    writer(tmp_path).run_once()
    (path,) = segments(tmp_path)
    os.truncate(path, 0)
    assert BacklogReader(tmp_path).read().bytes == 0
    serve(journal, 11)
    assert BacklogReader(tmp_path).read().bytes == path.stat().st_size > 0
    journal.close()


def test_the_next_writer_says_no_more_of_it(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1)
    moving.run_once()
    os.truncate(segments(tmp_path)[0], 0)
    for _ in range(3):
        moving.run_once()
        assert "cut short" in told(tmp_path)
    journal.close()
    moving.run_once()
    writer(tmp_path).run_once()
    assert told(tmp_path) == ""


def test_the_journal_leaves_a_file_that_was_cut_within_a_second(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1)
    (cut,) = segments(tmp_path)
    os.truncate(cut, 10)
    until = time.monotonic() + 3
    while len(segments(tmp_path)) == 1 and time.monotonic() < until:
        serve(journal, 2)
    assert len(segments(tmp_path)) == 2
    journal.close()


def test_health_tells_of_it(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1)
    moving.run_once()
    os.truncate(segments(tmp_path)[0], 0)
    moving.run_once()
    beside = WriterProcess(tmp_path, tmp_path / "audit")
    assert segments(tmp_path)[0].name in "; ".join(beside._told())
    journal.close()


def folder_in_its_place(path: Path) -> None:
    path.mkdir()


def link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def pipe(path: Path) -> None:
    os.mkfifo(path)


NO_FILES = (folder_in_its_place, link_to_nowhere, link_to_itself, pipe)


@pytest.mark.parametrize("put", NO_FILES, ids=lambda put: put.__name__)
@pytest.mark.parametrize("name", ["0-1-000001.spool", "zzz.spool"])
def test_what_cannot_be_read_holds_up_no_other_file_and_is_named(
    tmp_path: Path, name: str, put: Callable[[Path], None]
) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    put(tmp_path / name)
    serve(journal, 1)
    assert moving.run_once() == 1
    before = len(os.listdir("/proc/self/fd"))
    serve(journal, 2)
    assert moving.run_once() == 1
    assert name in told(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
    assert BacklogReader(tmp_path).read().bytes == 0
    journal.close()
    moving.run_once()
    assert left(tmp_path) == [name], "nor is it removed"
    (tmp_path / name).rmdir() if put is folder_in_its_place else (tmp_path / name).unlink()
    moving.run_once()
    moving.run_once()
    assert told(tmp_path) == ""


def test_calls_of_a_dead_process_wait_while_one_of_its_files_cannot_be_read(tmp_path: Path) -> None:
    """Their outcomes may lie in that one: `UNKNOWN` could never be taken back."""
    journal, moving = Journal(tmp_path, segment_bytes=1), writer(tmp_path)
    journal.intent(intent(call(1)))
    serve(journal, 2)
    journal.outcome(outcome(call(1)))
    journal.close()
    last = segments(tmp_path)[-1]
    hidden = last.rename(last.with_suffix(".hidden"))
    last.symlink_to("nowhere")
    moving.run_once()
    moving.run_once()
    assert outcomes() == served(2)
    last.unlink()
    hidden.rename(last)
    moving.run_once()
    assert outcomes() == served(1, 2)
    assert left(tmp_path) == []


def test_a_file_whose_name_is_no_text_holds_up_no_other(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    (tmp_path / os.fsdecode(b"\xff-1.spool")).mkdir()
    serve(journal, 1)
    assert moving.run_once() == 1
    assert told(tmp_path).isascii()
    assert "\\udcff-1.spool" in told(tmp_path)
    journal.close()


def test_a_lock_that_cannot_be_read_holds_up_no_other_process(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    (tmp_path / "0-1-000001.spool").touch()
    (tmp_path / "0-1.lock").mkdir()
    serve(journal, 1)
    assert moving.run_once() == 1
    assert "0-1.lock" in told(tmp_path)
    journal.close()


def test_a_file_that_others_removed_is_told(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path, segment_bytes=1), writer(tmp_path)
    journal.intent(intent(call(1)))
    journal.intent(intent(call(2)))
    moving.run_once()
    segments(tmp_path)[0].unlink()
    moving.run_once()
    assert "removed" in told(tmp_path)
    journal.close()


def test_a_call_under_way_survives_that_others_remove_its_lock(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    journal.intent(intent(call(1)))
    moving.run_once()
    (lock,) = tmp_path.glob("*.lock")
    lock.unlink()
    moving.run_once()
    assert outcomes() == {}, "UNKNOWN could never be taken back"
    journal.tend()
    assert is_alive(lock)
    moving.run_once()
    journal.outcome(outcome(call(1)))
    journal.close()
    moving.run_once()
    assert outcomes() == served(1)
    assert left(tmp_path) == []


def test_a_process_that_nobody_saw_alive_and_that_has_no_lock_is_dead(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent(call(1)))
    journal.close()
    (lock,) = tmp_path.glob("*.lock")
    lock.unlink()
    writer(tmp_path).run_once()
    assert outcomes() == {call(1): "UNKNOWN"}


def test_a_lock_that_cannot_be_made_anew_is_said_and_the_journal_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (lock,) = tmp_path.glob("*.lock")
    lock.unlink()
    lock.mkdir()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(JournalError, match="cannot be opened"):
        journal.tend()
    assert len(os.listdir("/proc/self/fd")) == before
    journal.intent(intent(call(1)))
    lock.rmdir()
    journal.tend()
    assert is_alive(lock)
    journal.close()


def test_a_file_behind_one_that_stays_is_not_removed(tmp_path: Path) -> None:
    """In it are the ends of calls that began in the one before: the next writer would take them for calls that have none,
    and record them as UNKNOWN once their rows have been removed for their age."""
    journal, moving = Journal(tmp_path, segment_bytes=400), writer(tmp_path)
    journal.intent(intent(call(1)))  # a long stream
    journal.intent(intent(call(2)))
    numbers = iter(range(10, 100))
    while len(segments(tmp_path)) < 2:
        serve(journal, next(numbers))
    journal.outcome(outcome(call(2)))
    while len(segments(tmp_path)) < 4:
        serve(journal, next(numbers))
    for _ in range(2):
        moving.run_once()
    assert len(segments(tmp_path)) == 4
    moving = writer(tmp_path)  # the first was killed
    moving.run_once()
    journal.outcome(outcome(call(1)))
    for _ in range(2):
        moving.run_once()
    assert len(segments(tmp_path)) == 1
    RequestLog.objects.all().delete()
    journal.close()
    moving.run_once()
    assert (outcomes(), left(tmp_path)) == ({}, [])
