"""What no column took is tried again at the next start, and is never lost."""

import zlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from disk import full_at
from django.db import DatabaseError
from recorded import call, no_table, outcome, outcomes, segments, serve, writer

from gateway.writer_process import WriterProcess
from telemetry.backlog import BacklogReader
from telemetry.journal import Journal, JournalError
from telemetry.models import AuditCheckpoint, RequestLog
from telemetry.set_aside import AGAIN, NAME, OF_ANOTHER_VERSION, SetAside

NOW = datetime(2026, 11, 25, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)


def lines(folder: Path) -> list[bytes]:
    return (folder / NAME).read_bytes().splitlines()


def test_what_can_be_stored_by_the_next_start_is_and_the_rest_stays(tmp_path: Path) -> None:
    aside = SetAside(tmp_path)
    aside.keep(outcome(call(1)), ValueError())
    aside.keep(outcome(call(2), config_version=2**80), ValueError())
    aside.keep(outcome(call(3)), ValueError())
    writer(tmp_path).keep_up(NOW)
    assert [row.call_id.int for row in RequestLog.objects.order_by("sequence")] == [1, 3]
    assert AuditCheckpoint.objects.count() > 0
    (left,) = lines(tmp_path)
    assert msgspec.json.decode(left)["record"]["call_id"] == str(call(2))
    assert not (tmp_path / AGAIN).exists()


def test_a_record_that_was_stored_meanwhile_is_not_stored_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.outcome(outcome(call(1)))
    writer(tmp_path).run_once()
    journal.close()
    SetAside(tmp_path).keep(outcome(call(1)), ValueError())
    writer(tmp_path).keep_up(NOW)
    assert RequestLog.objects.count() == 1
    assert not (tmp_path / NAME).exists()


def test_an_attempt_that_was_cut_off_begins_anew(tmp_path: Path) -> None:
    aside = SetAside(tmp_path)
    aside.keep(outcome(call(1)), ValueError())
    assert next(aside.again())
    aside.keep(outcome(call(2)), ValueError())
    writer(tmp_path).keep_up(NOW)
    assert RequestLog.objects.filter(call_id=call(1)).exists()
    assert len(lines(tmp_path)) == 1, "what was set aside since waits for the start after this one"
    writer(tmp_path).keep_up(NOW)
    assert RequestLog.objects.filter(call_id=call(2)).exists()


def test_a_call_that_an_older_version_set_aside_is_tried_too(tmp_path: Path) -> None:
    old = {"error": "DataError", "record": outcome(call(1))}
    (tmp_path / NAME).write_bytes(msgspec.json.encode(old) + b"\n")
    writer(tmp_path).keep_up(NOW)
    assert RequestLog.objects.get().call_id.int == 1


def test_what_cannot_be_read_stays_as_it_is(tmp_path: Path) -> None:
    odd = [
        b"no JSON",
        b'{"error":"\xff","record":{}}',
        b'{"error":"E","record":{"decision":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"error":"E","kind":"Other","record":{}}',
        b'{"error":"E","record":{"call_id":1}}',
        b"cut",
    ]
    (tmp_path / NAME).write_bytes(b"\n".join(odd))
    writer(tmp_path).keep_up(NOW)
    assert lines(tmp_path) == odd


def damaged(folder: Path, line: int) -> bytes:
    """One byte of the `line`th line of the only segment is turned into another."""
    (path,) = segments(folder)
    parts = path.read_bytes().split(b"\n")
    parts[line] = parts[line][:40] + bytes([parts[line][40] ^ 0x01]) + parts[line][41:]
    path.write_bytes(b"\n".join(parts))
    return parts[line]


def test_a_damaged_line_is_kept_as_it_is_and_told(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1, 2, 3)
    line = damaged(tmp_path, 3)
    assert moving.run_once() == 2
    journal.close()
    moving.run_once()
    assert outcomes() == {call(1): "ok", call(2): "UNKNOWN", call(3): "ok"}
    assert segments(tmp_path) == []
    assert lines(tmp_path) == [line]
    for _ in range(2):
        moving.run_once()
        writer(tmp_path).keep_up(NOW)
    assert lines(tmp_path) == [line], "once, and at each start anew"
    assert BacklogReader(tmp_path).read().set_aside == 1
    beside = WriterProcess(tmp_path, tmp_path / "audit")
    beside.look()
    assert NAME in "; ".join(beside._told())


def test_a_damaged_end_of_a_line_is_told_too(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1, 2)
    (path,) = segments(tmp_path)
    data = path.read_bytes().split(b"\n")
    data[1] = data[1][:-1] + b"|"
    path.write_bytes(b"\n".join(data))
    assert moving.run_once() == 1
    assert lines(tmp_path) == [data[1]]
    journal.close()


def of_another_version(kind: bytes, body: bytes) -> bytes:
    text = kind + b" " + body
    return b"%08x %b" % (zlib.crc32(text), text)


@pytest.mark.parametrize(
    "line", [of_another_version(b"Z", b'{"new":1}'), of_another_version(b"O", b'{"call_id":1}')], ids=str
)
def test_a_whole_line_of_another_version_is_not_called_damaged(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "000000000000001-1-000001.spool").write_bytes(line + b"\n")
    writer(tmp_path).run_once()
    for _ in range(2):
        (told,) = lines(tmp_path)
        assert msgspec.json.decode(told) == {"error": OF_ANOTHER_VERSION, "line": line.decode()}
        writer(tmp_path).keep_up(NOW)


@pytest.mark.parametrize("bare", [True, False], ids=["as it was set aside before", "with its words"])
def test_a_line_that_this_version_can_read_is_stored_at_its_start(tmp_path: Path, bare: bool) -> None:
    line = of_another_version(b"O", msgspec.json.encode(outcome(call(1))))
    told = line if bare else msgspec.json.encode({"error": OF_ANOTHER_VERSION, "line": line.decode()})
    (tmp_path / NAME).write_bytes(told + b"\n")
    writer(tmp_path).keep_up(NOW)
    assert outcomes() == {call(1): "ok"}
    assert not (tmp_path / NAME).exists()


def test_what_stays_set_aside_is_there_once_however_often_the_database_is_away(tmp_path: Path) -> None:
    aside = SetAside(tmp_path)
    aside.keep_line(b"0badc0de O {damaged}")
    aside.keep(outcome(call(2), config_version=2**80), ValueError())
    aside.keep(outcome(call(1)), ValueError())
    moving = writer(tmp_path)
    with no_table():
        failures = []
        for _ in range(5):
            with pytest.raises(DatabaseError) as failure:
                moving.keep_up(NOW)
            failures.append(failure)
            assert BacklogReader(tmp_path).read().set_aside == 3, "it is told meanwhile, too"
    moving.keep_up(NOW)
    assert outcomes() == {call(1): "ok"}
    assert [b"damaged" in line for line in lines(tmp_path)] == [True, False]
    assert sorted(path.name for path in tmp_path.glob("set-aside*")) == [NAME]


def test_a_record_that_a_full_disk_cut_off_spoils_no_other(tmp_path: Path) -> None:
    aside = SetAside(tmp_path)
    aside.keep(outcome(call(1)), ValueError())
    with full_at((tmp_path / NAME).stat().st_size + 40), pytest.raises(OSError, match="File too large"):
        aside.keep(outcome(call(2)), ValueError())
    aside.keep(outcome(call(3)), ValueError())
    assert [[record.call_id for record in part] for part in aside.again()] == [[call(1), call(3)]]


def test_a_record_whose_writer_was_killed_in_the_midst_of_it_spoils_no_other(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b'{"error":"E","rec')
    SetAside(tmp_path).keep(outcome(call(3)), ValueError())
    writer(tmp_path).keep_up(NOW)
    assert outcomes() == {call(3): "ok"}
    assert lines(tmp_path) == [b'{"error":"E","rec']


def test_a_damaged_line_waits_for_the_database_with_the_others(tmp_path: Path) -> None:
    """Or each round that fails would set it aside once more."""
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1, 2)
    line = damaged(tmp_path, 0)
    with no_table():
        for _ in range(3):
            with pytest.raises(DatabaseError):
                moving.run_once()
    assert not (tmp_path / NAME).exists()
    assert moving.run_once() == 2
    assert lines(tmp_path) == [line]
    journal.close()


def test_a_line_that_a_full_disk_cut_off_is_not_set_aside(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with full_at(60), pytest.raises(JournalError):
        journal.outcome(outcome(call(1)))
    journal.outcome(outcome(call(2)))
    assert writer(tmp_path).run_once() == 1
    journal.close()
    assert not (tmp_path / NAME).exists()
