"""The copies of the checkpoints outside the database: one line of JSON each, only ever appended.

The database is written first. What it has and the file lacks, after a crash or while the file could not be
written, is appended with the next checkpoint.
"""

import os
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec

from telemetry.audit.verifier import encoded, is_checkpoint
from telemetry.models import AuditCheckpoint

TAIL_BYTES = 64 * 1024
_decode = msgspec.json.decode


class Copies:
    """`fault`: why the last checkpoint could not be copied, or empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        self._reached: dict[str, int] = {}

    def follow(self, chain: str) -> None:
        try:
            reached = self._reached.get(chain)
            if reached is None or not self.path.exists():
                last = self.last(chain)
                reached = last["number"] if last else 0
            newer = AuditCheckpoint.objects.filter(chain=chain, number__gt=reached).order_by("number")
            lines = list(newer.values_list("number", "line"))
            if lines:
                self._append("".join(f"{line}\n" for _, line in lines))
                reached = lines[-1][0]
            self._reached[chain] = reached
            self.fault = ""
        except OSError as error:
            self.fault = f"The checkpoints cannot be copied to {self.path}: {error.strerror}"

    def last(self, chain: str) -> dict[str, Any] | None:
        """The newest of this chain in the file; None when there is none, or no file. Read from the end."""
        for line in self._backwards():
            entry = _checkpoint(line)
            if entry is not None and entry["chain"] == chain:
                return entry
        return None

    def size(self) -> int:
        """In bytes; 0 without a file."""
        return self.path.stat().st_size if self.path.exists() else 0

    def lines(self, upto: int) -> Iterator[tuple[int, bytes, dict[str, Any] | None]]:
        """The number, the text and what it says of each line among the first `upto` bytes; None for what is no
        checkpoint. What a crash cut off is passed over: a last line, or one that begins as the next one does."""
        if not upto:
            return
        with self.path.open("rb") as file:
            reached, cut = 0, (0, b"")
            for number, line in enumerate(file, 1):
                reached += len(line)
                if reached > upto or not line.endswith(b"\n"):
                    break
                if cut[0] and not line.startswith(cut[1]):
                    yield *cut, None
                entry = _checkpoint(line)
                cut = (0, b"") if entry is not None else (number, line.rstrip(b"\n"))
                if entry is not None:
                    yield number, line, entry
            if cut[0]:
                yield *cut, None

    def of(self, chain: str, upto: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """The copies of one chain alone, each as text and as what it says."""
        name = encoded(chain)
        with self.path.open("rb") if upto else nullcontext(()) as file:
            for line in file:
                upto -= len(line)
                if upto < 0:
                    return
                # Parsing those of all other chains, for each chain anew, would cost more than all the rest.
                entry = _checkpoint(line) if name in line and line.endswith(b"\n") else None
                if entry is not None and entry["chain"] == chain:
                    yield line, entry

    def _backwards(self) -> Iterator[bytes]:
        """The whole lines of the file, the last one first."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            # `tail`: the end of a line whose beginning is still to be read; `is_whole`: its line end was seen.
            at, tail, is_whole = file.seek(0, os.SEEK_END), b"", False
            while at:
                step = min(at, TAIL_BYTES)
                at -= step
                file.seek(at)
                beginning, *pieces = (file.read(step) + tail).split(b"\n")
                if pieces:
                    yield from reversed(pieces if is_whole else pieces[:-1])
                    is_whole = True
                tail = beginning
            if is_whole:
                yield tail

    def _append(self, text: str) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(fd, "ab") as file:
            if (size := os.fstat(fd).st_size) and os.pread(fd, 1, size - 1) != b"\n":
                text = _after_what_was_cut_off(fd, size) + text
            file.write(text.encode())
            file.flush()
            os.fsync(fd)


def _after_what_was_cut_off(fd: int, size: int) -> str:
    """Removes the line that a crash cut off; where the file only grows, it stays, and the next one begins a new line."""
    start = max(0, size - TAIL_BYTES)
    try:
        os.ftruncate(fd, start + os.pread(fd, size, start).rfind(b"\n") + 1)
    except OSError:
        return "\n"
    return ""


def _checkpoint(line: bytes) -> dict[str, Any] | None:
    try:
        entry = _decode(line)
    except (ValueError, RecursionError):
        return None
    return entry if is_checkpoint(entry) else None
