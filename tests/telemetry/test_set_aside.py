"""What no column took is tried again at the next start, and is never lost."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from recorded import call, outcome, writer

from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, RequestLog
from telemetry.set_aside import AGAIN, NAME, SetAside

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
        b'{"error":"E","kind":"Other","record":{}}',
        b'{"error":"E","record":{"call_id":1}}',
        b"cut",
    ]
    (tmp_path / NAME).write_bytes(b"\n".join(odd))
    writer(tmp_path).keep_up(NOW)
    assert lines(tmp_path) == odd
