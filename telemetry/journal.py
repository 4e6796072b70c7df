"""The append-only spool between the request path and the database.

One process owns a sequence of segment files `OWNER-NNNNNN.spool`, held alive by a lock on `OWNER.lock`;
the kernel gives the lock back when the process dies, however it dies. A line is

    CRC-32 (8 hex) SPACE kind SPACE JSON LF

    I intent · A announced outcome, of a call that waits for the disk · O outcome · F failed authentication
    C sealed content

A line that was not written whole fails its checksum and is passed over, never guessed at; one that was damaged later
is set aside. What `intent` and `outcome` have returned from is in the kernel's hands and survives the death of the
process; `durability.py` says when it survives a power cut too.
"""

import errno
import fcntl
import os
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from telemetry.captured import SealedContent
from telemetry.durability import Durability
from telemetry.failures import FailureCounts
from telemetry.open_files import lies_at
from telemetry.types import Announced, CallRecord, Intent

SEGMENT_BYTES = 16 * 1024 * 1024
SEGMENT_S = 3600.0
"""What is removed from the database for its age is not to be readable in the journal much longer."""
BALLAST_BYTES = 128 * 1024
"""Kept free for the outcomes of calls that are under way when the disk fills up."""
_CHECK_EVERY_S = 1.0
_encode = msgspec.json.Encoder().encode
Entry = Intent | Announced | CallRecord | FailureCounts | SealedContent
_decode_record = msgspec.json.Decoder(CallRecord).decode
_DECODERS: dict[bytes, Callable[[bytes], Entry]] = {
    b"I": msgspec.json.Decoder(Intent).decode,
    b"A": lambda body: Announced(_decode_record(body)),
    b"O": _decode_record,
    b"F": msgspec.json.Decoder(FailureCounts).decode,
    b"C": msgspec.json.Decoder(SealedContent).decode,
}

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What bytes raise that are none of ours."""


class JournalError(Exception):
    """The record cannot be written; nothing may be done that would have to be recorded."""


class NoRoomError(JournalError):
    """On the disk, where there may be some again."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def _refused(words: str, error: OSError) -> JournalError:
    return (NoRoomError if error.errno in _FULL else JournalError)(words)


class Journal:
    """Appends for one process. Not thread-safe: the event loop is its only user.

    `unwritten`: outcomes that found no room. They come first once there is some, before any new intent, so that there
    are never more of them than calls were under way.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        segment_s: float = SEGMENT_S,
        durability: Durability | None = None,
    ) -> None:
        """`durability`: absent, lines reach the disk when the system likes. Raises `JournalError` where no journal can
        be kept; a full disk is none of the reasons: what lies there may only wait for this start."""
        self._folder = folder
        self._durability = durability
        self.waits = durability is not None and durability.mode == "always"
        self._segment_bytes, self._segment_s = segment_bytes, segment_s
        self._owner = f"{time.time_ns() // 1_000_000:015d}-{os.getpid()}"
        self._lock = folder / f"{self._owner}.lock"
        self._number = 0
        self._fd = -1
        self._size = 0
        self._opened = 0.0
        self._torn = self._spent = False
        self._failing = self._closed = False
        self._checked = 0.0
        self._lock_fd = -1
        self._has_ballast = False
        self.unwritten: deque[CallRecord] = deque()
        try:
            self._open()
            self._take_ballast()
        except NoRoomError:
            self._failing = True

    @property
    def failing(self) -> bool:
        """Whether a call that came now would be refused."""
        return self._failing or (self.waits and self.is_unsynced)

    @property
    def is_unsynced(self) -> bool:
        """Whether what is written does not reach the disk, so that a power cut would lose it."""
        return self._durability is not None and self._durability.failing

    def intent(self, intent: Intent) -> None:
        """Raises `JournalError` when it could not be written; then no provider may be called."""
        self._append_with_room(b"I", _encode(intent))

    def announce(self, record: CallRecord) -> None:
        """The outcome of a call whose client waits until it is `durable`; then `outcome` follows, with what came of it.
        Raises `JournalError` as that does."""
        self._append_in_ballast(b"A", _encode(record))

    def outcome(self, record: CallRecord) -> None:
        """Raises `JournalError` when it could not be written; then no answer may be completed.

        On a full disk the ballast makes room for it: a call that was begun should not end without its outcome.
        """
        self._append_in_ballast(b"O", _encode(record))

    def owe(self, record: CallRecord) -> None:
        """The outcome of a call whose intent is written and whose outcome could not be: it is, once there is room."""
        self.unwritten.append(record)

    async def durable(self) -> None:
        """Where the journal `waits`: returns when what was appended is on the disk. Raises `JournalError`."""
        assert self._durability is not None, "only asked where the journal waits"
        number = self._number
        try:
            await self._durability.durable()
        except OSError as error:
            if number == self._number:  # else another one that waited has left the segment already
                self._spent = self._size > 0
            raise JournalError(
                f"The journal cannot be brought to the disk: {error.strerror or error}"
            ) from None

    def failed_authentication(self, counts: FailureCounts) -> None:
        """Raises `JournalError` when it could not be written."""
        self._append_with_room(b"F", _encode(counts))

    def content(self, content: SealedContent) -> None:
        """Raises `JournalError` when it could not be written; then its call has failed."""
        self._append_with_room(b"C", _encode(content))

    def tend(self) -> None:
        """Every second or so, off the way of calls: leaves a segment that has become old, also when no call comes, or
        whose lock file somebody removed: it is made anew. Raises `JournalError`; then the journal goes on as it was.
        What did not go is tried again, so that it goes well again by itself."""
        if self._closed:
            return
        if self._failing or self.unwritten or not self._has_ballast:
            self._recover()
        if self._fd < 0:
            return
        if self._durability is not None and (self._durability.failed or self._durability.failing):
            self._leave_unsynced(self._durability)
        is_old = self._size > 0 and time.monotonic() - self._opened >= self._segment_s
        if is_old or not lies_at(self._lock_fd, self._lock):
            self._open()

    def _recover(self) -> None:
        with suppress(JournalError):
            self._ensure_open()
            self._write_owed()
            if not self._has_ballast:
                self._take_ballast()
            self._failing = False
            if self.waits and self._durability is not None:
                self._durability.bring(self._fd)

    def _leave_unsynced(self, durability: Durability) -> None:
        """For a segment that begins on a disk that may be well again; of the old one nobody knows what is on it."""
        if self._size > 0:
            self._open()
        durability.failed = False
        durability.bring(self._fd)

    def close(self) -> None:
        """What still finds no room is lost but for its intents: `unwritten` says of how many calls."""
        self._closed = True
        self._has_ballast = False
        self._drop_ballast()
        with suppress(JournalError):
            self._write_owed()
        if self._durability is not None:
            if self._fd >= 0:
                self._durability.sealed(self._fd)
                self._fd = -1
            self._durability.close()
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1

    def _append_with_room(self, kind: bytes, body: bytes) -> None:
        """Not in the room that the ballast made: that is for outcomes, which are small and come last."""
        if self.unwritten:
            self._write_owed()
        if not self._has_ballast:
            self._take_ballast()
        self._append(kind, body)

    def _append_in_ballast(self, kind: bytes, body: bytes) -> None:
        try:
            self._append(kind, body)
        except JournalError:
            if not self._has_ballast:
                raise
            self._has_ballast = False
            self._drop_ballast()
            self._append(kind, body)

    def _write_owed(self) -> None:
        while self.unwritten:
            self._append(b"O", _encode(self.unwritten[0]))
            self.unwritten.popleft()

    def _append(self, kind: bytes, body: bytes) -> None:
        text = kind + b" " + body
        line = b"%08x %b\n" % (zlib.crc32(text), text)
        try:
            self._ensure_open()
            if self._torn:
                line = b"\n" + line
            written = os.write(self._fd, line)
            if written != len(line):
                self._take_back(written)
                raise OSError(errno.ENOSPC, "the line was written in part")
        except (OSError, JournalError) as error:
            self._failing = True
            # The next line begins a new segment, so that this one can be removed once it is stored, and makes room.
            self._spent = self._size > 0
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"The journal cannot be written: {error.strerror or error}") from None
        self._failing = self._torn = False
        self._size += written
        if self._durability is not None:
            self._durability.appended(self._fd)

    def _take_back(self, written: int) -> None:
        """What was written of a line in part, in bytes. Where that cannot be, the next begins a line of its own."""
        try:
            os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        except OSError:
            self._torn = True

    def _ensure_open(self) -> None:
        """Starts the next segment when this one is full, or is no longer what the writer has read of it."""
        now = time.monotonic()
        if now - self._checked > _CHECK_EVERY_S:
            self._checked = now
            if self._fd >= 0 and not self._is_whole():
                self._let_go()
        if self._fd < 0 or self._spent or self._size >= self._segment_bytes:
            self._open()

    def _is_whole(self) -> bool:
        """Whether all that was written still lies where the writer looks for it."""
        return lies_at(self._fd, self._path(self._number)) and os.fstat(self._fd).st_size >= self._size

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._owner}-{number:06d}.spool"

    def _hold_lock(self) -> None:
        if self._lock_fd >= 0 and lies_at(self._lock_fd, self._lock):
            return
        lock_fd = _locked(self._lock)
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        self._lock_fd = lock_fd

    def _open(self) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold_lock()
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            fd = os.open(self._path(self._number + 1), flags, 0o600)
        except OSError as error:
            raise _refused(f"The journal cannot be opened: {error}", error) from None
        if self._durability is not None:
            try:
                self._durability.opened(self._folder)
            except OSError as error:
                os.close(fd)
                with suppress(OSError):  # else the one before it would be taken for left
                    self._path(self._number + 1).unlink()
                raise JournalError(f"The journal's folder cannot be opened: {error}") from None
        self._let_go()
        self._number += 1
        self._fd, self._size, self._torn, self._spent = fd, 0, False, False
        self._opened = time.monotonic()

    @property
    def _ballast(self) -> Path:
        return self._folder / f"{self._owner}.ballast"

    def _drop_ballast(self) -> None:
        """Its folder may be gone, or something else may lie in its place."""
        with suppress(OSError):
            self._ballast.unlink()

    def _take_ballast(self) -> None:
        """Raises `JournalError`: without it no call may begin."""
        try:
            with open(os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(bytes(BALLAST_BYTES))
        except OSError as error:
            self._failing = True
            self._drop_ballast()
            raise _refused(f"The journal has no room: {error.strerror}", error) from None
        self._has_ballast = True

    def _let_go(self) -> None:
        """Of the segment that was written so far."""
        if self._fd >= 0 and self._durability is not None:
            self._durability.sealed(self._fd)
        elif self._fd >= 0:
            os.close(self._fd)
        self._fd = -1


def _locked(path: Path) -> int:
    """Held before it lies there: one that nobody holds is that of a dead process."""
    place = path if path.exists() else path.with_suffix(".locking")
    fd = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if place != path:
            place.rename(path)
    except OSError:
        os.close(fd)
        raise
    return fd


def is_alive(lock: Path) -> bool:
    """Whether the process that holds this lock file still runs."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def is_whole(line: bytes) -> bool:
    """Whether it is as it was written."""
    checksum, _, text = line.partition(b" ")
    return len(checksum) == 8 and checksum == b"%08x" % zlib.crc32(text)


def parse(data: bytes, unread: Callable[[bytes], None] | None = None) -> Iterator[Entry]:
    """The whole, undamaged entries of a piece of a segment, in order.

    `unread` is told each other line, as it is: damaged, or of another version. What has no end was cut off by a crash in
    the midst of its append, and is none.
    """
    *lines, _ = data.split(b"\n")
    for line in lines:
        if is_whole(line):
            decode = _DECODERS.get(line[9:10])
            if decode is not None:
                try:
                    yield decode(line[11:])
                    continue
                except UNREADABLE:
                    pass
        if unread is not None and line:
            unread(line)
