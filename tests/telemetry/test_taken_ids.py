"""Whoever can write to the database cannot keep a call from being recorded by putting a row with its call id there first."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from recorded import call, intent, left, outcome, outcomes, segments, serve, writer
from signed import change, found, recorded, row

from telemetry.journal import Journal
from telemetry.models import RequestLog
from telemetry.set_aside import NAME as SET_ASIDE
from telemetry.types import CallRecord

__all__ = ["recorded"]

pytestmark = pytest.mark.django_db(transaction=True)

LATE = call(77)


def planted(**facts: Any) -> RequestLog:
    """A copy of a genuine row under the call id of a call that is under way."""
    copy = row(9)
    copy.pk = None
    for name, value in {"call_id": LATE, "sequence": None, "chain": "", "hash": "", **facts}.items():
        setattr(copy, name, value)
    copy.save(force_insert=True)
    return copy


def set_aside(folder: Path) -> list[tuple[str, str]]:
    path = folder / SET_ASIDE
    lines = [msgspec.json.decode(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(line["error"], line["record"]["call_id"]) for line in lines]


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"chain": "f" * 16, "sequence": 1},
        {"chain": "f" * 16, "sequence": 1, "outcome": "UNKNOWN", "duration_ms": 0, "bytes_in": 3},
    ],
)
def test_a_row_put_under_the_id_of_a_call_under_way_is_told_of_and_the_call_is_stored_later(
    recorded: Path, facts: dict[str, Any]
) -> None:
    journal = Journal(recorded)
    journal.intent(intent(LATE))
    foreign = planted(**facts)
    journal.outcome(outcome(LATE, duration_ms=8))
    serve(journal, 78)
    assert writer(recorded).run_once() == 1, "the others are stored, in one batch"
    assert set_aside(recorded) == [("CallIdTaken", LATE)]
    journal.close()
    assert found(recorded), "while it lies there"
    RequestLog.objects.filter(pk=foreign.pk).delete()
    again = writer(recorded)
    again.keep_up(foreign.started_at)
    assert (outcomes()[LATE], RequestLog.objects.get(call_id=LATE).duration_ms) == ("ok", 8)
    assert (set_aside(recorded), found(recorded)) == ([], set())


def test_a_genuine_row_that_is_lent_the_id_is_told_of_too(recorded: Path) -> None:
    journal = Journal(recorded)
    lent = row(9).call_id
    change(9, call_id=LATE)
    journal.outcome(outcome(LATE, duration_ms=8))
    journal.close()
    assert writer(recorded).run_once() == 0
    change(9, call_id=lent)
    assert set_aside(recorded) == [("CallIdTaken", LATE)]


def test_a_row_that_cannot_be_read_is_not_the_call_s(recorded: Path) -> None:
    journal = Journal(recorded)
    foreign = planted()
    RequestLog.objects.filter(pk=foreign.pk).update(decision=[])
    journal.outcome(outcome(LATE))
    journal.close()
    assert writer(recorded).run_once() == 0
    assert set_aside(recorded) == [("CallIdTaken", LATE)]


FULL = outcome(
    LATE,
    request_id="nul \0 in it",
    model="m" * 600,
    attempts=(msgspec.Raw(b'{"provider":"a","model":"m","latencyMs":1.23456,"errorClass":null}'),),
    decision=msgspec.Raw(b'{"stage":"routing","score":1e3,"z":0.1234567,"a":null}'),
    input_tokens=2**70,
    first_event_ms=0,
    sanitised={"split": 2, "dropped": 1},
    answer_digest="d" * 64,
)


@pytest.mark.parametrize(
    ("stored", "again"),
    [
        (FULL, FULL),
        (outcome(LATE, outcome="UNKNOWN", status=0, duration_ms=0), outcome(LATE, duration_ms=8)),
        (outcome(LATE, duration_ms=8), outcome(LATE, outcome="UNKNOWN", status=0, duration_ms=0)),
    ],
)
def test_a_call_that_is_stored_and_read_again_is_not_set_aside(
    tmp_path: Path, stored: CallRecord, again: CallRecord
) -> None:
    moving = writer(tmp_path)
    for record, count in ((stored, 1), (again, 0)):
        journal = Journal(tmp_path)
        journal.outcome(record)
        journal.close()
        assert moving.run_once() == count
    assert (outcomes(), set_aside(tmp_path)) == ({LATE: stored.outcome}, [])


def test_that_calls_read_again_are_stored_is_asked_for_all_of_them_at_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, *range(300))
    (segment,) = segments(tmp_path)
    kept = segment.read_bytes()
    journal.close()
    assert writer(tmp_path).run_once() == 300
    segment.write_bytes(kept)
    again = writer(tmp_path)
    with CaptureQueriesContext(connection) as asked:
        assert again.run_once() == 0
    assert len(asked) < 30
    assert (RequestLog.objects.count(), set_aside(tmp_path), left(tmp_path)) == (300, [], [])
