"""A disk without room: what a journal does at its start and while it lasts, and that it goes well again by itself."""

from pathlib import Path

import pytest
from disk import full_at
from recorded import call, intent, outcome, outcomes, segments, serve, writer

from telemetry.journal import Journal, JournalError

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_start_on_a_full_disk_refuses_calls_and_not_itself(tmp_path: Path) -> None:
    """Its writer is what makes room."""
    with full_at(1000):
        journal = Journal(tmp_path)
        for _ in range(3):
            journal.tend()
        assert journal.failing
        with pytest.raises(JournalError, match="no room"):
            journal.intent(intent(call(1)))
        assert len(segments(tmp_path)) == 1, "nothing more lies there for each attempt"
    journal.tend()
    assert not journal.failing
    serve(journal, 2)
    journal.close()
    writer(tmp_path).run_once()
    assert outcomes() == {call(2): "ok"}


def test_a_folder_that_can_be_none_refuses_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.write_text("a file in its place")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(folder)


def test_a_journal_that_refused_a_call_is_well_again_though_no_other_comes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent(call(1)))
    with full_at(60):
        with pytest.raises(JournalError):
            journal.outcome(outcome(call(1)))
        journal.owe(outcome(call(1), outcome="AUDIT_UNAVAILABLE"))
        with pytest.raises(JournalError):
            journal.intent(intent(call(2)))
        journal.tend()
        assert (journal.failing, len(journal.unwritten)) == (True, 1)
    journal.tend()
    assert (journal.failing, len(journal.unwritten)) == (False, 0)
    writer(tmp_path).run_once()
    assert outcomes() == {call(1): "AUDIT_UNAVAILABLE"}
    journal.close()


def test_a_line_that_found_room_in_part_is_taken_back(tmp_path: Path) -> None:
    """Else it would look as if somebody had damaged it."""
    journal = Journal(tmp_path)
    with full_at(60), pytest.raises(JournalError):
        journal.outcome(outcome(call(1)))
    assert [path.stat().st_size for path in segments(tmp_path)] == [0]
    journal.outcome(outcome(call(1)))
    assert b"\n" not in segments(tmp_path)[-1].read_bytes()[:-1]
    journal.close()
