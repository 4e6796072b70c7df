"""How far the journal is behind, as whoever is asked tells it."""

import time
from pathlib import Path

import pytest
from disk import full_at
from recorded import audit, call, ignore, intent, outcome, segments

from telemetry.backlog import FIRST_LOOK, BacklogReader
from telemetry.captured import SealedContent
from telemetry.failures import FailureTally
from telemetry.journal import Journal
from telemetry.progress import PROGRESS_FILE
from telemetry.set_aside import NAME as SET_ASIDE
from telemetry.writer import Writer

pytestmark = pytest.mark.django_db(transaction=True)


def serve(journal: Journal, n: int, *, ago: float = 0.0) -> None:
    at = time.time() - ago
    journal.intent(intent(call(n), started_at=at))
    journal.outcome(outcome(call(n), started_at=at, duration_ms=1))


def test_without_a_journal_nothing_waits_and_no_writer_is_known(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "none", tmp_path / "file"):
        assert BacklogReader(folder).read() == (0, 0, None, 0)


def test_how_old_what_waits_is_is_looked_up_once(tmp_path: Path) -> None:
    """It is asked each second, inside the server, and just when the machine has other things to do."""
    journal = Journal(tmp_path)
    serve(journal, 1, ago=90)
    journal.close()
    (path,) = segments(tmp_path)
    reader = BacklogReader(tmp_path)
    assert reader.read().oldest_s == pytest.approx(90, abs=2)
    path.write_bytes(bytes(path.stat().st_size))
    assert reader.read().oldest_s == pytest.approx(90, abs=2), "it was not read again"
    path.unlink()
    assert reader.read().oldest_s == pytest.approx(0, abs=1)


def test_a_line_longer_than_the_first_look_is_found(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent(call(1), claimed_tool="t" * 5 * FIRST_LOOK, started_at=time.time() - 9))
    assert BacklogReader(tmp_path).read().oldest_s == pytest.approx(9, abs=2)
    journal.close()


def test_what_no_writer_has_stored_waits_since_its_oldest_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=300)
    for n in range(1, 4):
        serve(journal, n, ago=100 - n * 10)
    told = BacklogReader(tmp_path).read()
    assert told.bytes == sum(path.stat().st_size for path in segments(tmp_path))
    assert told.oldest_s == pytest.approx(90, abs=2)
    journal.close()


def test_what_is_stored_waits_no_more_though_its_file_is_still_there(tmp_path: Path) -> None:
    journal, writer, reader = (
        Journal(tmp_path),
        Writer(tmp_path, ignore, audit(tmp_path).chain()),
        BacklogReader(tmp_path),
    )
    serve(journal, 1, ago=50)
    journal.intent(intent(call(2), started_at=time.time() - 40))
    writer.run_once()
    told = reader.read()
    assert (told.bytes, told.oldest_s) == (0, 0), "a call that is being served is not behind"
    assert told.lag_s == pytest.approx(0, abs=2)
    serve(journal, 3, ago=5)
    told = reader.read()
    assert 0 < told.bytes < segments(tmp_path)[0].stat().st_size
    assert told.oldest_s == pytest.approx(5, abs=2)
    writer.run_once()
    assert reader.read().bytes == 0
    journal.close()


def test_a_writer_that_gets_nowhere_lags(tmp_path: Path) -> None:
    Writer(tmp_path, ignore, audit(tmp_path).chain()).run_once()
    assert BacklogReader(tmp_path).read(now=time.time() + 70).lag_s == pytest.approx(70, abs=2)


def test_a_torn_line_does_not_hide_the_age_of_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with segments(tmp_path)[0].open("ab") as file:
        file.write(b"0000 torn\n")
    serve(journal, 1, ago=30)
    assert BacklogReader(tmp_path).read().oldest_s == pytest.approx(30, abs=2)
    journal.close()


@pytest.mark.parametrize("what", ["content", "failed authentication"])
def test_what_is_kept_beside_calls_has_an_age_too(tmp_path: Path, what: str) -> None:
    journal, at = Journal(tmp_path), time.time() - 40
    if what == "content":
        sealed = bytes(524_288)  # the longest line there is
        journal.content(SealedContent(
            call_id=call(1), tool_id="bob", key_id="0a", sealed=sealed, stored_at=at, expires_at=at + 60
        ))  # fmt: skip
    else:
        failed = FailureTally()
        failed.note(address="::1", kind="missing", route="/health", now=at)
        failed.flush(journal.failed_authentication)
    serve(journal, 1, ago=5)
    assert BacklogReader(tmp_path).read().oldest_s == pytest.approx(40, abs=2)
    journal.close()


def test_records_set_aside_are_counted_as_they_come(tmp_path: Path) -> None:
    reader, path = BacklogReader(tmp_path), tmp_path / SET_ASIDE
    path.write_bytes(b"{}\n{}\n")
    assert reader.read().set_aside == 2
    with path.open("ab") as file:
        file.write(b"{}\n")
    assert reader.read().set_aside == 3
    path.write_bytes(b"{}\n")
    assert reader.read().set_aside == 1
    path.unlink()
    assert reader.read().set_aside == 0


def test_a_full_disk_keeps_no_writer_from_storing(tmp_path: Path) -> None:
    journal, writer = Journal(tmp_path), Writer(tmp_path, ignore, audit(tmp_path).chain())
    writer.run_once()
    before = (tmp_path / PROGRESS_FILE).read_bytes()
    with full_at(5):
        writer._tell(at_once=True)
    assert (tmp_path / PROGRESS_FILE).read_bytes() == before
    serve(journal, 1)
    assert writer.run_once() == 1
    journal.close()


def test_a_broken_report_is_as_none(tmp_path: Path) -> None:
    (tmp_path / PROGRESS_FILE).write_text("{")
    assert BacklogReader(tmp_path).read().lag_s is None
