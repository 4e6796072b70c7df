"""Moves the journal into the database, in batches and exactly once.

A row's call id is unique, and each batch asks first which of its calls are there already: a segment that is
read again after a crash adds nothing twice. A row that bears the id and is not of that call stands in its way, and is
told of. A segment is deleted when all of it is in the database and every intent in it has its outcome, or its process
is dead and the outcome is recorded as UNKNOWN.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import DatabaseError, DataError, IntegrityError, connection, transaction

from telemetry import beside, rollups, uses
from telemetry.audit.chain import Chain
from telemetry.audit.pruning import Part, Place, prune_part
from telemetry.bulk import insert
from telemetry.journal import Entry, is_alive
from telemetry.journal_faults import JournalFaults
from telemetry.log_rows import is_row_of, row_of
from telemetry.models import RequestLog
from telemetry.open_files import lies_at
from telemetry.progress import ProgressFile
from telemetry.segment import Piece, Segment
from telemetry.set_aside import SetAside
from telemetry.types import CallRecord, unknown_outcome
from telemetry.unreadable import UnreadableCell, cells

POLL_S = 0.2
GATHER_S = 0.8
"""After a batch the next one gathers: each is signed, and its signature kept. Rows are to be seen within 2 s."""
LOCK_WAIT_S = 3.0
LOCK_BACK_S = 10.0
"""A process leaves its lock file behind when it dies. One that was removed is made anew while it lives, within seconds."""
REPORT_EVERY_S = 0.5
"""At the latest, and in the midst of a long round too, the writer says how far it is."""
UNFIT = (OverflowError, ValueError, TypeError, RecursionError, ValidationError, DataError, IntegrityError)
"""What a value raises that a column does not take. Everything else the database raises is waited out."""
PRUNE_EVERY = timedelta(hours=1)
SETTLE_EVERY = timedelta(seconds=5)
WAITS = "The record waits for the database"
CHORES = "The database does not take what is done beside storing calls"
ASIDE = "What was set aside is not tried again yet"
WORTH_TELLING_S, MOST_TOLD = 5.0, 200
OnRows = Callable[[Mapping[str, datetime]], None]
Hourly = Callable[[datetime], None]


class CallIdTaken(Exception):
    """By a row that is not of the call: somebody put it there."""


class Writer:
    """`on_rows` is told, inside the same transaction, of each batch: token id → last use. `hourly` removes what is
    past its time."""

    def __init__(
        self, folder: Path, on_rows: OnRows, chain: Chain, hourly: Hourly = lambda now: None
    ) -> None:
        self._folder, self._on_rows, self._chain, self._hourly = folder, on_rows, chain, hourly
        self._segments: dict[str, Segment] = {}
        self._progress = ProgressFile(folder)
        self._aside = SetAside(folder)
        self._faults = JournalFaults(folder)
        self._seen_alive: dict[str, float] = {}
        self._told_at = 0.0
        self._begun = False
        self._pruned: datetime | None = None
        self._settled = datetime.min.replace(tzinfo=UTC)
        self._place, self._unpruned = Place(), list[str]()
        self._waiting_since: dict[str, float] = {}

    def let_go(self) -> None:
        """Another one writes: by the next round of this one, journal and chain are where that has left them."""
        self._segments = {}
        self._chain.let_go()

    def begin(self, now: datetime) -> None:
        """Before the first rows, copies the checkpoints that have no copy yet, sums up a record of older versions, and
        tries again what was set aside."""
        if not self._begun:
            self._chain.follow()
            self._try("Earlier calls are not summed up", lambda: rollups.rebuild(now))
            self._try("Earlier uses of methods are not summed up", lambda: uses.rebuild(now))
            self._begun = self._try_again()

    def _try_again(self) -> bool:
        """What was set aside. On a full disk at a later round: what there is to store makes room."""
        try:
            for entries in self._aside.again():
                self._keep(entries)
        except OSError as error:
            self._faults.undone(ASIDE, error.strerror or str(error))
            return False
        self._faults.done(ASIDE)
        return True

    def keep_up(self, now: datetime) -> None:
        """Removes hourly what is too old. A moment in the future, of a clock that was wrong, counts for nothing."""
        self.begin(now)
        if now - self._settled >= SETTLE_EVERY or now < self._settled:
            self._settled = now
            self._try("Whether a restore was signed is not known", self._chain.settle)
        if self._pruned is None or not timedelta(0) <= now - self._pruned < PRUNE_EVERY:
            self._try("Old sums are not removed", lambda: rollups.prune(now))
            self._try("What is kept beside the calls is not removed in time", lambda: self._hourly(now))
            self._try("Old uses of methods are not removed", lambda: uses.prune(now))
            self._prune(now)

    def _prune(self, now: datetime) -> None:
        """A part at a time: storing what comes in goes on in between."""
        try:
            with cells():
                part = prune_part(self._chain.signer, self._place, now, by="schedule")
        except UnreadableCell as fault:
            self._unpruned, part = [f"Calls are not removed for their age: {fault}"], Part(0, None, [])
        else:
            self._unpruned = self._unpruned or part.faults
        self._place = part.place or Place()
        if part.place is None:
            self._chain.unpruned = self._unpruned[0] if self._unpruned else ""
            self._unpruned, self._pruned = [], now

    def _try(self, what: str, chore: Callable[[], None]) -> None:
        """What somebody has put into the database keeps no call from being recorded. `what`: is not done then."""
        try:
            with cells(), transaction.atomic() if connection.in_atomic_block else nullcontext():
                chore()
        except UnreadableCell as fault:
            self._faults.undone(what, str(fault))
        else:
            self._faults.done(what)

    def waits(self, what: str, error: DatabaseError | None) -> None:
        """For the database, which did not take it; None: no more. One that is locked for a moment is waited out without
        a word."""
        if error is None:
            self._waiting_since.pop(what, None)
            self._faults.done(what)
            return
        now = time.monotonic()
        if now - self._waiting_since.setdefault(what, now) >= WORTH_TELLING_S:
            lines = str(error).splitlines()
            self._faults.undone(what, f"{type(error).__name__}: {lines[0][:MOST_TOLD] if lines else ''}")
            self._faults.tell()

    def run_once(self) -> int:
        """Stores what is there now and returns the number of new rows. Raises `DatabaseError`."""
        stored = 0
        for owner, segments in self._by_owner().items():
            # Asked before reading: a process that dies in between is only found dead the next time.
            alive = self._is_alive(owner)
            for segment in segments:
                stored += self._drain(segment, segments)
            self._tidy(owner, segments, alive=alive)
        self._tell(at_once=stored > 0)
        self._chain.keep_copies()
        self._chain.tell()
        self._faults.tell()
        return stored

    def _by_owner(self) -> dict[str, list[Segment]]:
        found: dict[str, list[Segment]] = {}
        names = sorted(path.name for path in self._folder.glob("*.spool"))
        reached: Mapping[str, int] = {}
        if set(names) - set(self._segments):
            # A record that was pruned since must not come back from the journal.
            progress = self._progress.read()
            reached = progress.offsets if progress else {}
        known = self._segments
        for name in sorted(set(known) - set(names)):
            if not known[name].unread:  # of that one somebody was told, and saw to it
                self._faults.lost(name)
        self._segments = {}
        for name in names:
            segment = known.get(name) or Segment(self._folder / name, reached.get(name, 0))
            self._segments[name] = segment
            found.setdefault(segment.owner, []).append(segment)
        return found

    def _tell(self, *, at_once: bool = False) -> None:
        """How far it is."""
        now = time.time()
        if at_once or not 0 <= now - self._told_at < REPORT_EVERY_S:
            self._told_at = now
            # The journal's own names are ASCII; others need not even be text.
            reached = {name: segment.reached for name, segment in self._segments.items() if name.isascii()}
            self._progress.keep(now, reached)

    def _drain(self, segment: Segment, siblings: Sequence[Segment]) -> int:
        stored = 0
        while (piece := self._next(segment, siblings)) is not None:
            stored += self._keep(piece.entries)
            try:
                for line in piece.damaged:
                    self._aside.keep_line(line)
            except OSError as error:
                segment.unread = True
                self._faults.refused(segment.path.name, error)
                break
            segment.reach(piece)
            self._tell()
            segment.note(piece.entries, siblings)
        return stored

    def _next(self, segment: Segment, siblings: Sequence[Segment]) -> Piece | None:
        """None: it has no more, or cannot be read, which holds up no other."""
        try:
            segment.resume(siblings)
            piece = segment.read()
        except OSError as error:
            segment.unread = True
            self._faults.refused(segment.path.name, error)
            return None
        segment.unread = False
        if segment.cut:
            self._faults.lost(segment.path.name)
        return piece if piece.offset > segment.offset else None

    def _keep(self, entries: Sequence[Entry]) -> int:
        beside.store(entries, self._aside.keep)
        return self._store([entry for entry in entries if isinstance(entry, CallRecord)])

    def _is_alive(self, owner: str) -> bool:
        lock, now = self._folder / f"{owner}.lock", time.monotonic()
        try:
            alive = is_alive(lock)
        except OSError as error:
            self._faults.refused(lock.name, error)
            return True  # nothing is lost by waiting
        if alive:
            self._seen_alive[owner] = now
        return alive or (not lock.exists() and now - self._seen_alive.get(owner, -inf) < LOCK_BACK_S)

    def _tidy(self, owner: str, segments: Sequence[Segment], *, alive: bool) -> None:
        """While a file cannot be read, outcomes may lie in it of calls that are open in others. In order: outcomes of calls
        that began in a file that stays lie in those behind it, and the next writer has to find them there."""
        if alive or any(segment.unread for segment in segments):
            for segment in segments[:-1] if alive else segments:
                if segment.open or segment.unread or not self._remove(segment):
                    return
            return
        self._store([unknown_outcome(intent) for segment in segments for intent in segment.open.values()])
        if not all(self._remove(segment) for segment in segments):
            return
        for ending in ("ballast", "lock"):
            self._unlink(self._folder / f"{owner}.{ending}")
        self._seen_alive.pop(owner, None)

    def _remove(self, segment: Segment) -> bool:
        is_gone = self._unlink(segment.path)
        if is_gone:
            self._segments.pop(segment.path.name, None)
        return is_gone

    def _unlink(self, path: Path) -> bool:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._faults.refused(path.name, error)
            return False
        return True

    def _store(self, records: Sequence[CallRecord]) -> int:
        """One record that no column takes must not hold up the others: it is set aside."""
        if not records:
            return 0
        _ = self._chain.head  # what is wrong with the chain is not the records' fault
        try:
            return self._store_or_look_again(records)
        except UNFIT as error:
            if len(records) == 1:
                self._aside.keep(records[0], error)
                return 0
        return sum(self._store([record]) for record in records)

    def _store_or_look_again(self, records: Sequence[CallRecord]) -> int:
        """A place in the chain may be taken by a row that is not ours, and a database that went away may have committed
        before: then the chain is looked at again."""
        try:
            return self._store_batch(records)
        except DatabaseError as error:
            self._chain.look_again()
            if not isinstance(error, IntegrityError):
                raise
        return self._store_batch(records)

    def _store_batch(self, records: Sequence[CallRecord]) -> int:
        unique = {record.call_id: record for record in records}
        with transaction.atomic():
            taken = RequestLog.objects.filter(call_id__in=list(unique)).values_list("call_id", flat=True)
            for record in _not_stored([unique.pop(str(call_id)) for call_id in taken]):
                self._aside.keep(record, CallIdTaken())
            if not unique:
                return 0
            rows = [row_of(record) for record in unique.values()]
            head = self._chain.extend(rows)
            insert(RequestLog, rows)
            self._try("Calls are not summed up", lambda: rollups.add(rows))
            self._try("Uses of methods are not noted", lambda: uses.add(rows))
            self._on_rows(_last_use(unique.values()))
        self._chain.reached(head)
        return len(rows)


def _not_stored(taken: Sequence[CallRecord]) -> Sequence[CallRecord]:
    """Those whose ids are borne by rows of somebody's making. All are asked for at once, and by themselves where one row
    cannot be read."""
    try:
        with cells():
            rows = RequestLog.objects.in_bulk([record.call_id for record in taken], field_name="call_id")
            return [record for record in taken if not is_row_of(record, rows[UUID(record.call_id)])]
    except UnreadableCell:
        return taken if len(taken) == 1 else [odd for record in taken for odd in _not_stored([record])]


def _last_use(records: Iterable[CallRecord]) -> dict[str, datetime]:
    used: dict[str, datetime] = {}
    for record in records:
        moment = datetime.fromtimestamp(record.started_at, UTC)
        used[record.token_id] = max(moment, used.get(record.token_id, moment))
    return used


class WriterLock:
    """Held by the one writer of a journal folder."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "writer.lock"
        self._fd = self._opened()

    def take(self) -> bool:
        """Asked before each round: others hold the lock of the file that lies there, also where this one has that of a
        file that somebody removed. Whoever only waits leaves the holder of that one the time to make it anew."""
        if not self._is_locked():
            return False
        return lies_at(self._fd, self._path) or self._taken_anew()

    def _taken_anew(self) -> bool:
        left = self._fd
        try:
            self._fd = self._opened()
        except OSError:
            return not self._path.exists()  # where none can be made, nobody else holds one
        held = self._is_locked() and lies_at(self._fd, self._path)
        os.close(left)  # last: those who wait for it look at the new one then
        return held

    def _opened(self) -> int:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_locked(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _taken_in_time(lock: WriterLock) -> bool:
    """The last one to look at the journal waits a little for another writer that is about to end."""
    until = time.monotonic() + LOCK_WAIT_S
    while not lock.take():
        if time.monotonic() >= until:
            return False
        time.sleep(0.05)
    return True


def run(writer: Writer, lock: WriterLock, over: Callable[[float], bool]) -> None:
    """`over(seconds)` waits that long and tells whether to end. What is left is stored before the end.

    Database errors are waited out: the journal keeps what cannot be stored yet.
    """
    ending, what = False, WAITS
    pause = POLL_S
    while True:
        try:
            stored = 0
            if lock.take() or (ending and _taken_in_time(lock)):
                what = WAITS
                writer.begin(datetime.now(UTC))
                stored = writer.run_once()
                writer.waits(what, None)
                pause = GATHER_S if stored else POLL_S
                # Last: what cannot be removed holds up nothing that is to be stored.
                what = CHORES
                writer.keep_up(datetime.now(UTC))
                writer.waits(what, None)
            else:
                writer.let_go()
        except DatabaseError as error:
            connection.close()
            writer.waits(what, error)
            pause = min(pause * 2, 5.0)
        if ending:
            return
        ending = over(pause)
