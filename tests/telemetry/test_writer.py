"""From the journal into a real database: every call once, whatever happens to writer, process or database."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from recorded import AT, call, intent, left, outcome, outcomes, segments, serve, writer

from telemetry.journal import Journal
from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db(transaction=True)


def test_every_column_is_what_the_record_says(tmp_path: Path) -> None:
    attempt = {"provider": "a", "model": "m", "durationMs": 5}
    full = outcome(
        call(1), request_id="r-1", trace_id="t-1", claimed_tool="x", provider="a", model="m", strategy="fallback",
        reason="WHY", attempts=(msgspec.Raw(msgspec.json.encode(attempt)),), first_event_ms=0, input_tokens=1,
        output_tokens=2, bytes_in=3, bytes_out=4, sanitised={"removed": 5},
        decision=msgspec.Raw(b'{"capability": "chat"}'), request_digest="r", prompt_digest="p", answer_digest="a",
    )  # fmt: skip
    journal = Journal(tmp_path)
    journal.outcome(full)
    assert writer(tmp_path).run_once() == 1
    journal.close()
    row = RequestLog.objects.get()
    told = msgspec.structs.asdict(full) | {"attempts": [attempt], "call_id": uuid.UUID(int=1)}
    told["decision"] = {"capability": "chat"}
    told["started_at"] = datetime.fromtimestamp(AT, UTC)
    assert {name: getattr(row, name) for name in told} == told
    assert set(told) | {"id", "chain", "sequence", "hash"} == {
        field.name for field in RequestLog._meta.fields
    }


def test_a_segment_is_read_on_from_where_it_was_left(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path), writer(tmp_path)
    serve(journal, 1, 2)
    assert [moving.run_once(), moving.run_once()] == [2, 0]
    serve(journal, 3)
    assert moving.run_once() == 1
    journal.close()
    assert moving.run_once() == 0
    assert left(tmp_path) == []
    assert RequestLog.objects.count() == 3


def test_a_new_writer_that_reads_everything_again_stores_nothing_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=600)
    for n in range(1, 13):
        serve(journal, n)
        journal.outcome(outcome(call(n), status=599))  # a second outcome of the same call
        writer(tmp_path).run_once()
    journal.close()
    writer(tmp_path).run_once()
    assert outcomes() == {call(n): "ok" for n in range(1, 13)}
    assert left(tmp_path) == []


def test_copies_of_a_segment_store_nothing_twice(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1, 2, 3)
    (path,) = segments(tmp_path)
    moved = path.with_name("000000000000001-1-000001.spool")
    moved.write_bytes(path.read_bytes())
    writer(tmp_path).run_once()
    journal.close()
    assert RequestLog.objects.count() == 3
    assert not moved.exists()


def test_open_calls_of_a_dead_process_are_unknown_and_those_of_a_live_one_wait(tmp_path: Path) -> None:
    dying, living = Journal(tmp_path / "a"), Journal(tmp_path / "b")
    for journal in (dying, living):
        serve(journal, 1 if journal is dying else 3)
    dying.intent(intent(call(2), request_id="open", claimed_tool="other", bytes_in=8))
    living.intent(intent(call(4)))
    watching = {name: writer(tmp_path / name) for name in "ab"}
    assert [w.run_once() for w in watching.values()] == [1, 1]
    dying.close()
    for w in watching.values():
        w.run_once()
    assert outcomes() == {call(1): "ok", call(2): "UNKNOWN", call(3): "ok"}
    lost = RequestLog.objects.get(outcome="UNKNOWN")
    assert (lost.request_id, lost.claimed_tool, lost.bytes_in, lost.status) == ("open", "other", 8, 0)
    living.outcome(outcome(call(4), outcome="TEMPORARY", status=503))
    living.close()
    watching["b"].run_once()
    assert outcomes()[call(4)] == "TEMPORARY"
    assert [left(tmp_path / name) for name in "ab"] == [[], []]


def test_an_outcome_in_a_later_segment_closes_its_call(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path, segment_bytes=1), writer(tmp_path)
    journal.intent(intent(call(1)))
    journal.intent(intent(call(2)))
    moving.run_once()
    assert len(segments(tmp_path)) == 2
    journal.outcome(outcome(call(1)))
    moving.run_once()
    assert len(segments(tmp_path)) == 2, "the first is done, the second waits, the third is being written"
    journal.outcome(outcome(call(2)))
    moving.run_once()
    assert len(segments(tmp_path)) == 1
    journal.close()
    moving.run_once()
    assert outcomes() == {call(1): "ok", call(2): "ok"}


def test_a_line_not_yet_whole_waits_for_its_end(tmp_path: Path) -> None:
    other, alive, moving = Journal(tmp_path / "other"), Journal(tmp_path), writer(tmp_path)
    serve(other, 1, 2)
    other.close()
    data = segments(tmp_path / "other")[0].read_bytes()
    (growing,) = segments(tmp_path)
    for at in range(0, len(data), 97):
        with growing.open("ab") as file:
            file.write(data[at : at + 97])
        moving.run_once()
    alive.close()
    assert outcomes() == {call(1): "ok", call(2): "ok"}


def test_a_torn_last_line_is_given_up_with_its_process(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1, 2)
    (path,) = segments(tmp_path)
    path.write_bytes(path.read_bytes()[:-1])
    moving = writer(tmp_path)
    assert moving.run_once() == 1
    journal.close()
    moving.run_once()
    assert outcomes() == {call(1): "ok", call(2): "UNKNOWN"}
    assert left(tmp_path) == []


def test_what_is_too_long_is_cut_and_nul_is_removed(tmp_path: Path) -> None:
    widths = {"request_id": 200, "trace_id": 200, "tool_id": 200, "claimed_tool": 200, "model": 500}
    long = dict.fromkeys(widths, "x\0" * 600) | {"peer": "p" * 600, "reason": "r" * 600}
    journal = Journal(tmp_path)
    journal.outcome(outcome(call(1), **long))
    writer(tmp_path).run_once()
    journal.close()
    row = RequestLog.objects.get()
    assert {name: getattr(row, name) for name in widths} == {name: "x" * n for name, n in widths.items()}
    assert (row.peer, row.reason) == ("p" * 64, "r" * 50)


def test_each_token_s_last_use_is_told_once_a_batch(tmp_path: Path) -> None:
    told: list[Mapping[str, datetime]] = []
    journal = Journal(tmp_path)
    for n, (token, later) in enumerate([("a", 5), ("a", 9), ("a", 7), ("b", 1)]):
        journal.outcome(outcome(call(n), token_id=token, started_at=AT + later))
    journal.outcome(outcome(call(9), token_id="c"))
    writer(tmp_path, told.append).run_once()
    journal.close()
    began = datetime.fromtimestamp(AT, UTC)
    assert told == [{"a": began + timedelta(seconds=9), "b": began + timedelta(seconds=1), "c": began}]
    writer(tmp_path, told.append).run_once()
    assert told[1:] == [], "what is known already is no use"


def test_a_row_that_was_pruned_does_not_come_back_from_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    serve(journal, 1)
    journal.intent(intent(call(2)))
    writer(tmp_path).run_once()
    RequestLog.objects.all().delete()
    assert writer(tmp_path).run_once() == 0, "another writer knows how far the first one came"
    journal.outcome(outcome(call(2)))
    assert writer(tmp_path).run_once() == 1
    journal.intent(intent(call(3)))
    writer(tmp_path).run_once()
    journal.close()
    writer(tmp_path).run_once()
    assert outcomes() == {call(2): "ok", call(3): "UNKNOWN"}, "nor is an open intent forgotten"
    assert left(tmp_path) == []


def test_a_new_writer_knows_that_a_later_segment_closed_a_call_of_an_earlier_one(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=1)
    journal.intent(intent(call(1)))
    journal.outcome(outcome(call(1)))
    journal.intent(intent(call(2)))
    writer(tmp_path).run_once()
    writer(tmp_path).run_once()
    assert len(segments(tmp_path)) == 1, "the one that is written to"
    journal.close()


def test_what_was_stored_is_no_longer_readable_in_the_journal_once_its_file_is_old(tmp_path: Path) -> None:
    journal, moving = Journal(tmp_path, segment_s=0), writer(tmp_path)
    serve(journal, 1)
    moving.run_once()
    assert call(1).encode() in segments(tmp_path)[0].read_bytes()
    journal.tend()
    moving.run_once()
    (empty,) = segments(tmp_path)
    assert empty.stat().st_size == 0
    journal.close()
