"""The journal's writer when the database fails, when another one runs, and under load."""

import os
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import msgspec
import pytest
from django.db import DatabaseError, connection
from recorded import audit, call, intent, no_table, outcome, outcomes, segments, serve, writer

from telemetry.audit.standing import faults
from telemetry.journal import Journal
from telemetry.models import RequestLog
from telemetry.set_aside import NAME as SET_ASIDE
from telemetry.types import CallRecord
from telemetry.writer import WriterLock, run

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_record_that_no_column_takes_is_set_aside_and_the_others_are_stored(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    odd = outcome(call(2), config_version=2**80)
    for record in (outcome(call(1)), odd, outcome(call(3))):
        journal.outcome(record)
    assert writer(tmp_path).run_once() == 2
    journal.close()
    assert {row.call_id.int for row in RequestLog.objects.all()} == {1, 3}
    (line,) = (tmp_path / SET_ASIDE).read_text().splitlines()
    kept = msgspec.json.decode(line)
    assert kept["error"] in ("OverflowError", "DataError"), (
        "SQLite's driver says the one, PostgreSQL the other"
    )
    assert kept["record"]["call_id"] == odd.call_id
    assert (tmp_path / SET_ASIDE).stat().st_mode & 0o777 == 0o600


def test_counts_are_cut_to_what_the_columns_hold(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.outcome(
        outcome(call(1), input_tokens=2**70, bytes_out=-5, duration_ms=2**40, first_event_ms=2**40)
    )
    assert writer(tmp_path).run_once() == 1
    journal.close()
    row = RequestLog.objects.get()
    assert (row.input_tokens, row.bytes_out) == (2**63 - 1, 0)
    assert (row.duration_ms, row.first_event_ms) == (2**31 - 1, 2**31 - 1)


def test_a_failing_database_leaves_the_journal_as_it_is(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1, 2)
    journal.intent(intent(call(3)))
    journal.close()
    before = segments(tmp_path)[0].read_bytes()
    with no_table():
        for _ in range(2):
            with pytest.raises(DatabaseError):
                moving.run_once()
    assert segments(tmp_path)[0].read_bytes() == before
    assert RequestLog.objects.count() == 0
    assert moving.run_once() == 2
    assert outcomes() == {call(1): "ok", call(2): "ok", call(3): "UNKNOWN"}


def test_rows_and_last_use_are_one_transaction(tmp_path: Path) -> None:
    def fail(_: Mapping[str, datetime]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM no_such_table")

    journal = Journal(tmp_path)
    serve(journal, 1)
    with pytest.raises(DatabaseError):
        writer(tmp_path, fail).run_once()
    journal.close()
    assert RequestLog.objects.count() == 0


def test_the_loop_waits_a_failing_database_out_and_stores_what_is_left_at_the_end(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1)
    pauses: list[float] = []
    away = no_table()
    away.__enter__()

    def over(pause: float) -> bool:
        pauses.append(pause)
        if len(pauses) == 6:
            away.__exit__(None, None, None)
        if len(pauses) == 8:
            serve(journal, 2)
        return len(pauses) == 8

    run(writer(tmp_path), WriterLock(tmp_path), over)
    journal.close()
    assert pauses == [0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 0.8, 0.2], "after a batch the next one gathers"
    assert outcomes() == {call(1): "ok", call(2): "ok"}


def test_only_one_writer_has_the_folder(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1)
    first, second = WriterLock(tmp_path), WriterLock(tmp_path)
    assert first.take()
    assert first.take(), "its holder may ask again"
    assert not second.take()
    run(writer(tmp_path), second, lambda _: True)
    assert RequestLog.objects.count() == 0
    run(writer(tmp_path), first, lambda _: True)
    journal.close()
    assert RequestLog.objects.count() == 1
    assert (tmp_path / "writer.lock").stat().st_mode & 0o777 == 0o600


def test_a_lock_file_that_somebody_removes_is_made_anew_by_its_holder(tmp_path: Path) -> None:
    first, waiting = WriterLock(tmp_path), WriterLock(tmp_path)
    assert first.take()
    for _ in range(2):
        (tmp_path / "writer.lock").unlink()
        assert not waiting.take(), "its holder still stores"
        assert first.take()
        assert (tmp_path / "writer.lock").stat().st_mode & 0o777 == 0o600
        assert not waiting.take()
        assert not WriterLock(tmp_path).take()


def test_of_two_that_hold_a_lock_only_that_of_the_file_that_lies_there_counts(tmp_path: Path) -> None:
    first, waiting = WriterLock(tmp_path), WriterLock(tmp_path)
    assert first.take()
    (tmp_path / "writer.lock").unlink()
    second = WriterLock(tmp_path)
    assert second.take(), "it was quicker than the first one's next round"
    assert [lock.take() for lock in (first, second, waiting)] == [False, True, False]
    os.close(second._fd)
    assert [lock.take() for lock in (waiting, first)] == [True, False]


def test_where_no_lock_file_can_be_made_anew_its_holder_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    lock = WriterLock(folder)
    assert lock.take()
    (folder / "writer.lock").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    assert lock.take()


def test_a_writer_that_lost_its_lock_for_a_while_goes_on_where_the_other_stopped(tmp_path: Path) -> None:
    """The other has stored, signed and removed meanwhile what the first one still knows of."""
    folder = tmp_path / "journal"
    journal = Journal(folder, segment_bytes=1)
    first, lock = writer(folder), WriterLock(folder)
    serve(journal, 1)
    assert lock.take()
    assert first.run_once() == 1
    (folder / "writer.lock").unlink()
    other = WriterLock(folder)
    assert other.take()
    serve(journal, 2)
    assert writer(folder).run_once() == 1
    serve(journal, 3)
    stored: list[int] = []

    def over(_: float) -> bool:
        stored.append(RequestLog.objects.count())
        if len(stored) == 1:
            os.close(other._fd)
        return len(stored) == 2

    run(first, lock, over)
    journal.close()
    assert stored == [2, 3], "while another has it, nothing is stored"
    assert RequestLog.objects.values("chain").distinct().count() == 1
    assert [*faults(folder), *faults(audit(folder).folder)] == []


@pytest.mark.alone
def test_ten_thousand_calls_are_replayed_in_five_seconds(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, *range(10_000))
    for n in range(10_000, 10_050):
        journal.intent(intent(call(n)))
    journal.close()
    began = time.perf_counter()
    stored = writer(tmp_path).run_once()
    took = time.perf_counter() - began
    print(f"promise 1: {stored} calls replayed in {took:.2f} s")
    assert stored == 10_000
    assert RequestLog.objects.count() == 10_050
    assert RequestLog.objects.filter(outcome="UNKNOWN").count() == 50
    assert took <= 5


def test_a_record_of_the_largest_size_fits_a_batch(tmp_path: Path) -> None:
    """A line longer than a batch would never be read; records are far below that."""
    attempt = msgspec.Raw(b'{"provider":"%b","model":"%b","durationMs":1}' % (b"p" * 200, b"m" * 2000))
    big: CallRecord = outcome(call(1), attempts=(attempt,) * 400)
    journal = Journal(tmp_path)
    serve(journal, 2)
    journal.outcome(big)
    serve(journal, 3)
    writer(tmp_path).run_once()
    journal.close()
    assert set(outcomes()) == {call(1), call(2), call(3)}
