"""The journal's files under the hands of others: what is cut, or cannot be read, loses no call silently."""

import os
import time
from pathlib import Path

import pytest
from recorded import call, intent, left, outcome, outcomes, segments, serve, writer

from gateway.writer_process import WriterProcess
from telemetry.audit.standing import faults
from telemetry.backlog import BacklogReader
from telemetry.journal import Journal

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


def test_a_file_that_was_emptied_while_no_writer_ran_is_read_from_its_start(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1, 2, 3)
    writer(tmp_path).run_once()
    os.truncate(segments(tmp_path)[0], 0)
    serve(journal, 4)
    moving = writer(tmp_path)
    assert moving.run_once() == 1
    assert "cut short" in told(tmp_path)
    journal.close()
    moving.run_once()
    assert outcomes() == served(1, 2, 3, 4)


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
