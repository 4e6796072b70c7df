"""What a wrong clock, a full disk or a broken table leave behind keeps the writer from nothing, and is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import OperationalError
from recorded import AT, audit, call, no_table, outcome, serve, writer

from telemetry import writer as writing
from telemetry.audit.keys import BELIEVED, KEY, KeyFileError, open_signer
from telemetry.audit.standing import faults
from telemetry.journal import Journal
from telemetry.models import RequestLog, RetentionRule
from telemetry.progress import PROGRESS_FILE, ProgressFile
from telemetry.set_aside import NAME as SET_ASIDE
from telemetry.writer import Writer, WriterLock, run

pytestmark = pytest.mark.django_db(transaction=True)
NOW = datetime.fromtimestamp(AT, UTC) + timedelta(days=100)


def test_a_clock_that_was_ahead_for_a_moment_does_not_put_off_removal(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    serve(journal, 1)
    moving.run_once()
    moving.keep_up(NOW + timedelta(days=400))
    RetentionRule.objects.create(days=30)
    moving.keep_up(NOW)
    journal.close()
    assert RequestLog.objects.count() == 0


def rounds(moving: Writer, lock: WriterLock) -> None:
    left = iter(range(2))
    run(moving, lock, lambda _: next(left, None) is None)


def told(folder: Path) -> str:
    return " ".join(faults(folder))


def test_a_table_that_is_away_is_told_with_what_the_database_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "WORTH_TELLING_S", 0)
    folder = tmp_path / "journal"
    journal = Journal(folder)
    serve(journal, 1)
    moving, lock = writer(folder), WriterLock(folder)
    with no_table():
        rounds(moving, lock)
        assert "The record waits for the database: " in told(folder)
        assert RequestLog._meta.db_table in told(folder)
    rounds(moving, lock)
    journal.close()
    assert RequestLog.objects.count() == 1
    assert told(folder) == ""


def test_what_cannot_be_removed_holds_up_no_call(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    serve(journal, 1)

    def refuse(now: datetime) -> None:
        raise OperationalError("no such table: beside")

    rounds(writer(folder, hourly=refuse), WriterLock(folder))
    journal.close()
    assert RequestLog.objects.count() == 1


@pytest.mark.parametrize("facts", [{"call_id": "no uuid"}, {"started_at": 1e17}])
def test_a_call_that_no_column_takes_is_set_aside_and_stops_no_other(
    tmp_path: Path, facts: dict[str, object]
) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    journal.outcome(outcome(**{"call_id": call(1), **facts}))
    journal.outcome(outcome(call(2)))
    journal.close()
    assert writer(folder).run_once() == 1
    assert [row.call_id.int for row in RequestLog.objects.all()] == [2]
    assert len((folder / SET_ASIDE).read_text().splitlines()) == 1


@pytest.mark.parametrize("data", [b'{"at":1,"offsets":{"\xff":1}}', b"[" * 100_000, b""])
def test_what_was_kept_of_the_progress_may_be_anything(tmp_path: Path, data: bytes) -> None:
    (tmp_path / PROGRESS_FILE).write_bytes(data)
    assert ProgressFile(tmp_path).read() is None


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"../x\n"])
def test_a_file_that_names_no_chain_is_as_good_as_missing(tmp_path: Path, data: bytes) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    serve(journal, 1)
    writer(folder).run_once()
    (audit(folder).folder / "chain").write_bytes(data)
    serve(journal, 2)
    assert writer(folder).run_once() == 1
    journal.close()
    assert "names none" in " ".join(told(audit(folder).folder).split())
    assert "" not in set(RequestLog.objects.values_list("chain", flat=True))


def test_an_empty_key_that_a_full_disk_left_is_made_anew_before_the_first_signature_alone(
    tmp_path: Path,
) -> None:
    (tmp_path / KEY).touch()
    signer = open_signer(tmp_path / KEY, tmp_path)
    assert open_signer(tmp_path / KEY, tmp_path).key_id == signer.key_id
    assert [path.name for path in (tmp_path / BELIEVED).iterdir()] == [f"{signer.key_id}.pub"]
    (tmp_path / KEY).write_text("")
    with pytest.raises(KeyFileError):
        open_signer(tmp_path / KEY, tmp_path)
