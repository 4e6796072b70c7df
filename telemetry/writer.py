"""Moves the journal into the database, in batches and exactly once.

A row's call id is unique, and each batch asks first which of its calls are there already: a segment that is
read again after a crash adds nothing twice. A segment is deleted when all of it is in the database and
every intent in it has its outcome, or its process is dead and the outcome is recorded as UNKNOWN.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from django.db import DatabaseError, DataError, IntegrityError, connection, transaction

from telemetry import beside, rollups
from telemetry.journal import Entry, is_alive, parse
from telemetry.models import RequestLog
from telemetry.types import CallRecord, Intent, unknown_outcome

BATCH_BYTES = 1024 * 1024
POLL_S = 0.2
INT32, INT64 = 2**31 - 1, 2**63 - 1
SET_ASIDE = "set-aside.jsonl"
UNFIT = (OverflowError, ValueError, TypeError, DataError, IntegrityError)
"""What a value raises that a column does not take. Everything else the database raises is waited out."""
PRUNE_EVERY = timedelta(hours=1)
OnRows = Callable[[Mapping[str, datetime]], None]
Hourly = Callable[[datetime], None]


class Segment:
    """How far one file has been read, and which intents in it wait for an outcome."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.owner = path.name.rsplit("-", 1)[0]
        self.offset = 0
        self.open: dict[str, Intent] = {}

    def read(self) -> tuple[list[Entry], int]:
        """The next whole lines and the offset behind them; the offset is moved once they are stored."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = file.read(BATCH_BYTES)
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) == BATCH_BYTES:
            end = len(data)
        return list(parse(data[:end])), self.offset + end


class Writer:
    """`on_rows` is told, inside the same transaction, of each batch: token id → last use. `hourly` removes what is
    past its time."""

    def __init__(self, folder: Path, on_rows: OnRows, hourly: Hourly = lambda now: None) -> None:
        self._folder, self._on_rows, self._hourly = folder, on_rows, hourly
        self._segments: dict[str, Segment] = {}
        self._pruned: datetime | None = None

    def keep_rollups(self, now: datetime) -> None:
        """Before the first rows, sums up a record that has no roll-ups; removes old ones hourly."""
        if self._pruned is None:
            rollups.rebuild(now)
        if self._pruned is None or now - self._pruned >= PRUNE_EVERY:
            rollups.prune(now)
            self._hourly(now)
            self._pruned = now

    def run_once(self) -> int:
        """Stores what is there now and returns the number of new rows. Raises `DatabaseError`."""
        stored = 0
        for owner, segments in self._by_owner().items():
            # Asked before reading: a process that dies in between is only found dead the next time.
            alive = is_alive(self._folder / f"{owner}.lock")
            for segment in segments:
                stored += self._drain(segment, segments)
            self._tidy(owner, segments, alive=alive)
        return stored

    def _by_owner(self) -> dict[str, list[Segment]]:
        found: dict[str, list[Segment]] = {}
        names = sorted(path.name for path in self._folder.glob("*.spool"))
        self._segments = {name: self._segments.get(name) or Segment(self._folder / name) for name in names}
        for segment in self._segments.values():
            found.setdefault(segment.owner, []).append(segment)
        return found

    def _drain(self, segment: Segment, siblings: Sequence[Segment]) -> int:
        stored = 0
        while True:
            entries, offset = segment.read()
            if offset == segment.offset:
                return stored
            outcomes = [entry for entry in entries if isinstance(entry, CallRecord)]
            beside.store(entries, self._set_aside)
            stored += self._store(outcomes)
            segment.offset = offset
            for entry in entries:
                if isinstance(entry, Intent):
                    segment.open[entry.call_id] = entry
            for outcome in outcomes:
                for sibling in siblings:
                    sibling.open.pop(outcome.call_id, None)

    def _tidy(self, owner: str, segments: Sequence[Segment], *, alive: bool) -> None:
        if not alive:
            lost = [unknown_outcome(intent) for segment in segments for intent in segment.open.values()]
            self._store(lost)
            for segment in segments:
                self._remove(segment)
            (self._folder / f"{owner}.lock").unlink(missing_ok=True)
            return
        for segment in segments[:-1]:
            if not segment.open:
                self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        segment.path.unlink(missing_ok=True)
        self._segments.pop(segment.path.name, None)

    def _store(self, records: Sequence[CallRecord]) -> int:
        """One record that no column takes must not hold up the others: it is set aside."""
        if not records:
            return 0
        try:
            return self._store_batch(records)
        except UNFIT as error:
            if len(records) == 1:
                self._set_aside(records[0], error)
                return 0
        return sum(self._store([record]) for record in records)

    def _set_aside(self, record: CallRecord, error: Exception) -> None:
        """Where the health of the record tells of it. Nothing is lost: the line is the journal's own."""
        line = msgspec.json.encode({"error": type(error).__name__, "record": record}) + b"\n"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with open(os.open(self._folder / SET_ASIDE, flags, 0o600), "ab") as file:
            file.write(line)

    def _store_batch(self, records: Sequence[CallRecord]) -> int:
        unique = {record.call_id: record for record in records}
        with transaction.atomic():
            known = RequestLog.objects.filter(call_id__in=list(unique)).values_list("call_id", flat=True)
            for call_id in known:
                unique.pop(str(call_id), None)
            rows = [_row(record) for record in unique.values()]
            RequestLog.objects.bulk_create(rows, batch_size=500)
            rollups.add(rows)
            self._on_rows(_last_use(unique.values()))
        return len(unique)


def _last_use(records: Iterable[CallRecord]) -> dict[str, datetime]:
    used: dict[str, datetime] = {}
    for record in records:
        moment = datetime.fromtimestamp(record.started_at, UTC)
        used[record.token_id] = max(moment, used.get(record.token_id, moment))
    return used


def _row(record: CallRecord) -> RequestLog:
    """Cut to the columns' widths, so that no odd value can hold up the journal."""
    return RequestLog(
        call_id=record.call_id,
        request_id=_text(record.request_id, 200),
        trace_id=_text(record.trace_id, 200),
        tool_id=_text(record.tool_id, 200),
        token_id=record.token_id,
        claimed_tool=_text(record.claimed_tool, 200),
        method=record.method,
        peer=record.peer[:64],
        provider=record.provider,
        model=_text(record.model, 500),
        strategy=record.strategy,
        attempts=[msgspec.json.decode(attempt) for attempt in record.attempts],
        outcome=record.outcome,
        reason=record.reason[:50],
        status=record.status,
        started_at=datetime.fromtimestamp(record.started_at, UTC),
        first_event_ms=None if record.first_event_ms is None else _count(record.first_event_ms, INT32),
        duration_ms=_count(record.duration_ms, INT32),
        input_tokens=_count(record.input_tokens, INT64),
        output_tokens=_count(record.output_tokens, INT64),
        bytes_in=_count(record.bytes_in, INT64),
        bytes_out=_count(record.bytes_out, INT64),
        sanitised=record.sanitised,
        config_version=record.config_version,
        decision=msgspec.json.decode(record.decision),
        request_digest=record.request_digest,
        prompt_digest=record.prompt_digest,
        answer_digest=record.answer_digest,
    )


def _count(value: int, most: int) -> int:
    return min(max(value, 0), most)


def _text(value: str, width: int) -> str:
    """PostgreSQL takes no NUL in text."""
    return value.replace("\0", "")[:width]


class WriterLock:
    """Held by the one writer of a journal folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(folder / "writer.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def run(writer: Writer, lock: WriterLock, over: Callable[[float], bool]) -> None:
    """`over(seconds)` waits that long and tells whether to end. What is left is stored before the end.

    Database errors are waited out: the journal keeps what cannot be stored yet.
    """
    ending = False
    pause = POLL_S
    while True:
        try:
            if lock.take():
                writer.keep_rollups(datetime.now(UTC))
                writer.run_once()
            pause = POLL_S
        except DatabaseError:
            connection.close()
            pause = min(pause * 2, 5.0)
        if ending:
            return
        ending = over(pause)
