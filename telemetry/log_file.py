"""The log's file: appended to by several processes, rotated by size, and what to tell the operator about it."""

import errno
import fcntl
import os
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from telemetry.open_files import is_torn
from telemetry.whole_lines import LINE_END, WholeLines

FOR_OTHERS = 0o077
"""The rights of a file that a log has not: it names clients and addresses."""
LARGE_BYTES = 5 * 1024 * 1024
"""What the runbook wants to be warned of: a log file past 5 MiB, which rotation was set to allow."""


LOCK_WAIT_S = 1.0
"""Others hold the lock while they write a batch. Whoever holds it for longer is stuck, and must not stop the log."""
_APPENDED = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
"""A pipe that nobody reads is an error, and keeps nobody waiting."""


class Notice(NamedTuple):
    """A warning about the log itself. `event`: what it is counted as."""

    event: str
    words: str
    metadata: dict[str, Any]


class Standing(NamedTuple):
    """The file that is written to, in bytes; how many rotated ones there are, and how many are kept."""

    bytes: int
    rotated: int
    kept: int


class RotatingFile:
    """Appends to `path`, moving it to `.1 … .N` before it would pass `max_bytes`. Safe for several processes:
    a lock file is held while a batch is written, and a file that was moved or deleted is opened anew."""

    def __init__(self, path: Path, *, max_bytes: int, max_files: int) -> None:
        self.path, self.max_bytes, self.max_files = path, max_bytes, max_files
        self._all_used = self._is_stuck = False
        self._lines = WholeLines()

    def write(self, data: bytes) -> list["Notice"]:
        """What the operator should be told of, each once until it was otherwise. Raises `OSError` when the file
        cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = self._locked()
        try:
            return self._append(data)
        finally:
            os.close(lock)

    def require_writable(self) -> None:
        """Raises `OSError` when it is not. A full disk is no reason: it may be empty again."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        os.close(self._locked())
        os.close(os.open(self.path, _APPENDED, 0o600))

    def _locked(self) -> int:
        """Of a lock file that was deleted meanwhile, others would hold a new one. Raises `OSError` when it is held for
        too long; the next time it is not waited for."""
        path = Path(f"{self.path}.lock")
        until = time.monotonic() + (0 if self._is_stuck else LOCK_WAIT_S)
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with suppress(FileNotFoundError):
                self._is_stuck = not _held(fd, until)
                if self._is_stuck:
                    os.close(fd)
                    raise OSError(errno.EWOULDBLOCK, "another process holds its lock file", str(path))
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return fd
            os.close(fd)

    def standing(self) -> "Standing":
        """Raises `OSError`."""
        rotated = sum(Path(f"{self.path}.{number}").exists() for number in range(1, self.max_files + 1))
        return Standing(self._size(), rotated, self.max_files)

    def _size(self) -> int:
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def _append(self, data: bytes) -> list["Notice"]:
        before = size = self._size()
        rotated = False
        fitting = [LINE_END] if size and _ends_torn(self.path) else []
        size += len(fitting)
        for line in data.split(b"\n")[:-1]:
            if size and size + len(line) + 1 > self.max_bytes:
                self._write_all(b"".join(fitting))
                self._rotate()
                fitting, before, size, rotated = [], 0, 0, True
            fitting.append(line + b"\n")
            size += len(line) + 1
        self._write_all(b"".join(fitting))
        return self._notices(before, size, rotated=rotated)

    def _notices(self, before: int, size: int, *, rotated: bool) -> list["Notice"]:
        found = []
        if before <= LARGE_BYTES < size:
            told = {"file": str(self.path), "bytes": size, "maxBytes": self.max_bytes}
            found.append(Notice("log_file_large", "Log file is larger than 5 MiB", told))
        if rotated:
            was, self._all_used = self._all_used, self._is_full()
            if self._all_used and not was:
                told = {"file": str(self.path), "maxFiles": self.max_files}
                words = "All rotated log files are in use; the oldest lines are deleted from now on"
                found.append(Notice("log_file_ceiling", words, told))
        return found

    def _is_full(self) -> bool:
        return self.max_files > 0 and Path(f"{self.path}.{self.max_files}").exists()

    def _write_all(self, data: bytes) -> None:
        """All or nothing: what a full disk cut short is taken back, so that no line is torn."""
        if not data:
            return
        fd = os.open(self.path, _APPENDED, 0o600)
        found = os.fstat(fd)
        if found.st_mode & FOR_OTHERS:
            _close_to_others(fd, found)
        try:
            self._lines.write(fd, data)
        except OSError:
            if stat.S_ISREG(found.st_mode):
                self._lines.torn = False  # how a file ends is looked at each time
                os.ftruncate(fd, found.st_size)
            raise
        finally:
            os.close(fd)

    def _rotate(self) -> None:
        for number in range(self.max_files, 0, -1):
            source = self.path if number == 1 else Path(f"{self.path}.{number - 1}")
            if source.exists():
                target = source.replace(f"{self.path}.{number}")
                if (found := target.stat()).st_mode & FOR_OTHERS:
                    _close_to_others(target, found)
        if self.max_files == 0:
            self.path.unlink(missing_ok=True)


def _held(fd: int, until: float) -> bool:
    """Waits for the lock, at most `until` then."""
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.002)
        else:
            return True


def _ends_torn(path: Path) -> bool:
    """Asked while the lock is held, when nobody who lives is in the midst of a line. Of a file that may be written and
    not read, nobody knows."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return is_torn(fd)
        finally:
            os.close(fd)
    return False


def _close_to_others(file: Path | int, found: os.stat_result) -> None:
    """One that was there before. Of another user's file the rights are his to give; lines are written all the same. A
    device, such as `/dev/null`, is everybody's."""
    if not stat.S_ISREG(found.st_mode):
        return
    with suppress(PermissionError):
        os.chmod(file, 0o600)
