"""A call whose end could not be written, or not brought to the disk: its client, its row, its log line and its count say
the same, and it is on record once there is room."""

import asyncio
import json
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from logged import lines, logging_to
from recorded import call, intent, left, outcome, outcomes, segments, writer
from staged import PATHS, Stage

from gateway.errors import NOT_MADE, WITHHELD
from gateway.monitor import UNSYNCED, Monitor
from gateway.writer_process import WriterProcess
from telemetry.durability import Durability
from telemetry.journal import Journal, JournalError
from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db(transaction=True)


class Disk:
    """Syncs files until so many were; from then on none. Those past `held` wait for `go`."""

    def __init__(self, until: int = 10**6, held: int = 10**6) -> None:
        self.until, self.held, self.synced = until, held, 0
        self.go = threading.Event()

    def sync(self, fd: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{fd}"):
            return
        assert self.synced < self.held or self.go.wait(10)
        if self.synced >= self.until:
            raise OSError(5, "Input/output error")
        self.synced += 1

    def always(self) -> Durability:
        return Durability("always", on_failure=lambda error: None, sync=self.sync)


def told(stage: Stage, path: str) -> tuple[str, str]:
    """Code and message that the client was given, in its body or its last frame."""
    streamed = path == "/mcp/chatStream" and stage.status == 200
    body = json.loads(stage.sent.split(b"\n\n")[-3].removeprefix(b"data: ") if streamed else stage.sent)
    return body["error"], body["message"]


async def stored(folder: Path) -> RequestLog:
    """The one row, after the writer has been there."""
    return await asyncio.to_thread(_stored, folder)


def _stored(folder: Path) -> RequestLog:
    try:
        writer(folder).run_once()
        return RequestLog.objects.get()
    finally:
        BaseDatabaseWrapper.close(connection)  # the thread's own


@pytest.mark.parametrize("path", PATHS)
async def test_a_call_whose_end_found_no_room_is_on_record_as_its_client_was_told(
    tmp_path: Path, path: str
) -> None:
    stage = Stage(tmp_path / "j", full="outcome")
    with logging_to(tmp_path / "out", stage.gateway.log):
        await stage.call(path, close=False)
    assert told(stage, path) == ("AUDIT_UNAVAILABLE", WITHHELD)
    (owed,) = stage.journal.unwritten
    stage.journal.tend()
    row = await stored(tmp_path / "j")
    assert (row.outcome, row.status, str(row.call_id)) == ("AUDIT_UNAVAILABLE", stage.status, owed.call_id)
    assert (row.provider, len(row.attempts), row.decision["stage"]) == ("a", 1, "outcome")
    (line,) = lines(tmp_path / "out")
    assert line["metadata"]["code"] == "AUDIT_UNAVAILABLE"
    assert stage.gateway.metrics.counters["journal_failures"] == 1
    stage.journal.close()


@pytest.mark.parametrize("path", PATHS)
async def test_a_call_that_was_not_made_is_told_so_and_owes_nothing(tmp_path: Path, path: str) -> None:
    stage = Stage(tmp_path, full="intent")
    await stage.call(path, close=False)
    assert told(stage, path) == ("AUDIT_UNAVAILABLE", NOT_MADE)
    assert not stage.journal.unwritten
    stage.journal.close()


@pytest.mark.parametrize("path", PATHS)
async def test_where_calls_wait_for_the_disk_their_end_is_announced_first(tmp_path: Path, path: str) -> None:
    stage = Stage(tmp_path / "j", durability=Disk().always())
    await stage.call(path)
    assert stage.happened[-3:] == ["announced ok", "outcome ok", "last byte"]
    row = await stored(tmp_path / "j")
    assert (row.outcome, row.status) == ("ok", 200)


@pytest.mark.parametrize("path", PATHS)
async def test_a_disk_that_fails_at_the_end_is_in_row_log_and_count_what_the_client_was_told(
    tmp_path: Path, path: str
) -> None:
    stage = Stage(tmp_path / "j", durability=Disk(until=1).always())
    with logging_to(tmp_path / "out", stage.gateway.log):
        await stage.call(path)
    assert stage.happened[-3:] == ["announced ok", "outcome AUDIT_UNAVAILABLE", "last byte"]
    assert told(stage, path) == ("AUDIT_UNAVAILABLE", WITHHELD)
    row = await stored(tmp_path / "j")
    assert (row.outcome, row.status) == ("AUDIT_UNAVAILABLE", stage.status)
    (line,) = lines(tmp_path / "out")
    assert (line["level"], line["metadata"]["code"]) == ("error", "AUDIT_UNAVAILABLE")
    assert stage.gateway.metrics.counters["journal_failures"] == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("ends", ["CLIENT_CLOSED", "DRAINED"])
async def test_a_call_that_is_broken_off_while_it_waits_for_the_disk_ended_so(
    tmp_path: Path, path: str, ends: str
) -> None:
    disk = Disk(held=1)
    stage = Stage(tmp_path / "j", durability=disk.always())
    calling = asyncio.ensure_future(stage.call(path, close=False))
    await seen(stage, "announced ok")
    if ends == "DRAINED":
        stage.gateway.cut()
        await seen(stage, "announced DRAINED")
    else:
        stage.over.set()
        await seen(stage, "outcome CLIENT_CLOSED")
    disk.go.set()
    await calling
    stage.journal.close()
    assert b'"completion"' not in stage.sent
    row = await stored(tmp_path / "j")
    assert row.outcome == ends
    told = "told" if path == "/mcp/chatStream" else ""
    digest = stage.gateway.runtime.policy.digest_key.of_text(told)
    assert row.answer_digest == (digest if told else ""), "of what the client was sent"


@pytest.mark.parametrize("path", ["/mcp/chat", "/mcp/chatStream"])
async def test_a_refused_call_whose_client_leaves_while_it_waits_for_the_disk_ends_all_the_same(
    tmp_path: Path, path: str
) -> None:
    disk = Disk(held=0)
    stage = Stage(tmp_path / "j", durability=disk.always())
    calling = asyncio.ensure_future(stage.call(path, close=False, provider="nope"))
    await seen(stage, "announced NOT_FOUND")
    stage.over.set()
    await seen(stage, "outcome CLIENT_CLOSED")
    disk.go.set()
    await calling
    stage.journal.close()
    assert (await stored(tmp_path / "j")).outcome == "CLIENT_CLOSED"


async def test_a_drained_call_whose_client_leaves_while_it_waits_for_the_disk_ended_so(
    tmp_path: Path,
) -> None:
    disk = Disk(held=1)
    stage = Stage(tmp_path / "j", durability=disk.always())
    calling = asyncio.ensure_future(stage.call("/mcp/chat", close=False))
    await seen(stage, "announced ok")
    stage.gateway.cut()
    await seen(stage, "announced DRAINED")
    stage.gateway.cut()
    calling.cancel()
    await seen(stage, "outcome DRAINED")
    disk.go.set()
    with suppress(asyncio.CancelledError):
        await calling
    stage.journal.close()
    assert (await stored(tmp_path / "j")).outcome == "DRAINED"


async def seen(stage: Stage, what: str) -> None:
    async with asyncio.timeout(5):
        while what not in stage.happened:
            await asyncio.sleep(0.002)


async def test_bytes_on_record_are_those_of_the_refusal(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "j", durability=Disk(until=1).always())
    await stage.call("/mcp/chat")
    row = await stored(tmp_path / "j")
    assert (row.bytes_out, row.answer_digest) == (len(stage.sent), "")


@pytest.mark.parametrize("path", PATHS)
async def test_an_answer_that_is_on_the_disk_is_given_though_the_journal_fills_up_just_then(
    tmp_path: Path, path: str
) -> None:
    stage = Stage(tmp_path / "j", full="outcome", durability=Disk().always())
    await stage.call(path, close=False)
    assert (stage.status, b"error" in stage.sent, len(stage.journal.unwritten)) == (200, False, 1)
    stage.journal.close()
    row = await stored(tmp_path / "j")
    assert (row.outcome, row.status) == ("ok", 200)


def test_what_is_announced_is_no_row_before_its_outcome_is_there(tmp_path: Path) -> None:
    """A disk may take its time before it says that it is broken."""
    journal, moving = Journal(tmp_path, segment_bytes=1), writer(tmp_path)
    journal.intent(intent(call(1)))
    journal.announce(outcome(call(1)))
    assert moving.run_once() == 0
    assert writer(tmp_path).run_once() == 0
    journal.outcome(outcome(call(1), outcome="AUDIT_UNAVAILABLE", status=503))
    moving.run_once()
    assert outcomes() == {call(1): "AUDIT_UNAVAILABLE"}
    journal.close()
    moving.run_once()
    assert left(tmp_path) == []


@pytest.mark.parametrize("segment_bytes", [1, 10_000])
def test_what_a_dead_process_had_announced_is_its_outcome(tmp_path: Path, segment_bytes: int) -> None:
    """Its client may have been answered: that was on the disk."""
    journal, moving = Journal(tmp_path, segment_bytes=segment_bytes), writer(tmp_path)
    for n in (1, 2):
        journal.intent(intent(call(n)))
    journal.announce(outcome(call(1)))
    moving.run_once()
    journal.close()
    writer(tmp_path).run_once()
    assert outcomes() == {call(1): "ok", call(2): "UNKNOWN"}
    assert left(tmp_path) == []


def test_what_is_owed_comes_before_the_next_call_may_begin(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent(call(1)))
    journal.owe(outcome(call(1), outcome="AUDIT_UNAVAILABLE"))
    journal.intent(intent(call(2)))
    assert not journal.unwritten
    writer(tmp_path).run_once()
    assert outcomes() == {call(1): "AUDIT_UNAVAILABLE"}
    journal.close()
    assert len(segments(tmp_path)) == 1


def test_what_is_owed_at_the_end_of_the_process_is_written_with_the_room_of_the_ballast(
    tmp_path: Path,
) -> None:
    journal = Journal(tmp_path)
    journal.intent(intent(call(1)))
    journal.owe(outcome(call(1), outcome="AUDIT_UNAVAILABLE"))
    journal.close()
    writer(tmp_path).run_once()
    assert outcomes() == {call(1): "AUDIT_UNAVAILABLE"}


async def test_health_tells_of_a_disk_that_does_not_take_the_journal(tmp_path: Path) -> None:
    """Calls go on where they do not wait for it; where they do, they are refused."""
    for mode, status in (("interval", "degraded"), ("always", "failed")):
        durability = Durability(mode, on_failure=lambda error: None, sync=Disk(until=0).sync)  # type: ignore[arg-type]
        stage = Stage(tmp_path / mode, durability=durability)
        stage.journal.intent(intent(call(1)))
        with suppress(JournalError):
            await stage.journal.durable()
        beside = WriterProcess(tmp_path / mode, tmp_path / "audit")
        monitor = Monitor(
            stage.gateway, interval_s=1, writer=beside, database=lambda: (True, ""), on_models=print
        )
        found, words = monitor._audit()
        assert (found, UNSYNCED in str(words)) == (status, mode == "interval")
        stage.journal.close()
