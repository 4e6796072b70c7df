"""The log's file: appended to by several processes, rotated by size, and what to tell the operator about it."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

FOR_OTHERS = 0o077
"""The rights of a file that a log has not: it names clients and addresses."""
LARGE_BYTES = 5 * 1024 * 1024
"""What the runbook wants to be warned of: a log file past 5 MiB, which rotation was set to allow."""


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
        self._all_used = False

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
        os.close(os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _locked(self) -> int:
        """Of a lock file that was deleted meanwhile, others would hold a new one."""
        path = Path(f"{self.path}.lock")
        while True:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            with suppress(FileNotFoundError):
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
        fitting: list[bytes] = []
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
        fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        found = os.fstat(fd)
        size = found.st_size
        if found.st_mode & FOR_OTHERS:
            _close_to_others(fd)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        except OSError:
            os.ftruncate(fd, size)
            raise
        finally:
            os.close(fd)

    def _rotate(self) -> None:
        for number in range(self.max_files, 0, -1):
            source = self.path if number == 1 else Path(f"{self.path}.{number - 1}")
            if source.exists():
                target = source.replace(f"{self.path}.{number}")
                if target.stat().st_mode & FOR_OTHERS:
                    _close_to_others(target)
        if self.max_files == 0:
            self.path.unlink(missing_ok=True)


def _close_to_others(file: Path | int) -> None:
    """One that was there before. Of another user's file the rights are his to give; lines are written all the same."""
    with suppress(PermissionError):
        os.chmod(file, 0o600)
