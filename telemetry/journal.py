"""The append-only spool between the request path and the database.

One process owns a sequence of segment files `OWNER-NNNNNN.spool`, held alive by a lock on `OWNER.lock`;
the kernel gives the lock back when the process dies, however it dies. A line is

    CRC-32 (8 hex) SPACE kind (I intent | O outcome | F failed authentication | C sealed content) SPACE JSON LF

A line that was not written whole fails its checksum and is passed over, never guessed at. What `append`
has returned from is in the kernel's hands: it survives the death of the process, though not a power cut.
"""

import fcntl
import os
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from telemetry.captured import SealedContent
from telemetry.failures import FailureCounts
from telemetry.types import CallRecord, Intent

SEGMENT_BYTES = 16 * 1024 * 1024
_CHECK_EVERY_S = 1.0
_encode = msgspec.json.Encoder().encode
Entry = Intent | CallRecord | FailureCounts | SealedContent
_DECODERS: dict[bytes, Callable[[bytes], Entry]] = {
    b"I": msgspec.json.Decoder(Intent).decode,
    b"O": msgspec.json.Decoder(CallRecord).decode,
    b"F": msgspec.json.Decoder(FailureCounts).decode,
    b"C": msgspec.json.Decoder(SealedContent).decode,
}


class JournalError(Exception):
    """The record cannot be written; nothing may be done that would have to be recorded."""


class Journal:
    """Appends for one process. Not thread-safe: the event loop is its only user. `failing`: the last append did."""

    def __init__(self, folder: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._owner = f"{time.time_ns() // 1_000_000:015d}-{os.getpid()}"
        self._number = 0
        self._fd = -1
        self._size = 0
        self._torn = False
        self.failing = False
        self._checked = 0.0
        self._lock_fd = -1
        self._open()

    def intent(self, intent: Intent) -> None:
        """Raises `JournalError` when it could not be written; then no provider may be called."""
        self._append(b"I", _encode(intent))

    def outcome(self, record: CallRecord) -> None:
        """Raises `JournalError` when it could not be written; then no answer may be completed."""
        self._append(b"O", _encode(record))

    def failed_authentication(self, counts: FailureCounts) -> None:
        """Raises `JournalError` when it could not be written."""
        self._append(b"F", _encode(counts))

    def content(self, content: SealedContent) -> None:
        """Raises `JournalError` when it could not be written."""
        self._append(b"C", _encode(content))

    def close(self) -> None:
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._lock_fd = -1

    def _append(self, kind: bytes, body: bytes) -> None:
        text = kind + b" " + body
        line = b"%08x %b\n" % (zlib.crc32(text), text)
        try:
            self._ensure_open()
            if self._torn:
                line = b"\n" + line
            written = os.write(self._fd, line)
            if written != len(line):
                self._torn = True
                raise OSError("the line was written in part")
        except (OSError, JournalError) as error:
            self.failing = True
            if isinstance(error, JournalError):
                raise
            raise JournalError(f"The journal cannot be written: {error.strerror or error}") from None
        self.failing = self._torn = False
        self._size += written

    def _ensure_open(self) -> None:
        """Starts the next segment when this one is full, or is no longer where the writer looks for it."""
        now = time.monotonic()
        if now - self._checked > _CHECK_EVERY_S:
            self._checked = now
            if self._fd >= 0 and not _lies_at(self._fd, self._path(self._number)):
                os.close(self._fd)
                self._fd = -1
        if self._fd < 0 or self._size >= self._segment_bytes:
            self._open()

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._owner}-{number:06d}.spool"

    def _open(self) -> None:
        lock = self._folder / f"{self._owner}.lock"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._lock_fd < 0 or not _lies_at(self._lock_fd, lock):
                lock_fd = _locked(lock)
                if self._lock_fd >= 0:
                    os.close(self._lock_fd)
                self._lock_fd = lock_fd
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            fd = os.open(self._path(self._number + 1), flags, 0o600)
        except OSError as error:
            raise JournalError(f"The journal cannot be opened: {error}") from None
        if self._fd >= 0:
            os.close(self._fd)
        self._number += 1
        self._fd, self._size, self._torn = fd, 0, False


def _lies_at(fd: int, path: Path) -> bool:
    """Whether this path still leads to the open file: it may have been deleted, or its folder moved away."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except OSError:
        return False


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
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


def parse(data: bytes) -> Iterator[Entry]:
    """The whole, undamaged entries of a piece of a segment, in order."""
    for line in data.split(b"\n"):
        checksum, _, text = line.partition(b" ")
        if len(checksum) != 8 or checksum != b"%08x" % zlib.crc32(text):
            continue
        decode = _DECODERS.get(text[:1])
        if decode is None:
            continue
        try:
            yield decode(text[2:])
        except msgspec.DecodeError:
            continue
