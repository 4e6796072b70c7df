"""The copies of the checkpoints outside the database: one line of JSON each, only ever appended.

The database is written first. What it has and the file lacks, after a crash or while the file could not be
written, is appended when the writer starts, or with the next checkpoint. A file that was moved away is begun anew with
what the database has of all chains, those of other writers and of earlier times first: where the writer's own is in the
file, theirs are whole.
"""

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO

from telemetry.audit import kept
from telemetry.audit.kept import LONGEST, Kept, checkpoint
from telemetry.audit.verifier import Signatures, encoded
from telemetry.open_files import is_torn

TAIL_BYTES = 64 * 1024
LOOK_EVERY_S = 5.0


class Copies:
    """`fault`: why the last checkpoint could not be copied, or empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fault = ""
        self._reached: dict[str, int] = {}
        self._left: tuple[int, int, int] | None = None
        self._looked = 0.0

    def follow(self, chain: str, believed: Signatures) -> None:
        """Appends what the database has of this chain and the file lacks; where the file has nothing of it, the other
        chains' before."""
        try:
            if not self._reached.get(chain) or self._is_another():
                last = self.last(chain, believed)
                if last is None and kept.has(chain):
                    self._append_new(kept.of_others(chain), self._highest())
                self._reached = {chain: last["number"] if last else 0}
            self._append_new(kept.of_chain(chain, self._reached[chain]), self._reached)
            self._left = self._here()
            self.fault = ""
        except OSError as error:
            self._reached = {}  # a part of it may have been written
            self.fault = f"The checkpoints cannot be copied to {self.path}: {error.strerror}"

    def _here(self) -> tuple[int, int, int] | None:
        """Which file lies there, and how long it is."""
        try:
            found = os.stat(self.path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino, found.st_size

    def _is_another(self) -> bool:
        """Than the one that was written last: it was moved away or changed, or its disk has gone or is back."""
        return self._here() != self._left

    def are_due(self) -> bool:
        """Whether the file that was there is missing, or could not be written: asked every few seconds."""
        now = time.monotonic()
        if now - self._looked < LOOK_EVERY_S:
            return False
        self._looked = now
        return bool(self.fault) or (any(self._reached.values()) and self._is_another())

    def last(self, chain: str, believed: Signatures) -> dict[str, Any] | None:
        """The newest genuine one of this chain in the file; None when there is none, or no file. Read from the end."""
        name = encoded(chain)
        for line in self._backwards():
            entry = checkpoint(line) if name in line else None
            if entry is not None and entry["chain"] == chain and not believed.fault("checkpoint", entry):
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
            cut = 0, b""
            for number, line in enumerate(_whole_lines(file, upto), 1):
                if cut[0] and not line.startswith(cut[1]):
                    yield *cut, None
                entry = checkpoint(line)
                cut = (0, b"") if entry is not None else (number, line.rstrip(b"\n"))
                if entry is not None:
                    yield number, line, entry
            if cut[0]:
                yield *cut, None

    def of(self, chain: str, upto: int) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """The copies of one chain alone, each as text and as what it says."""
        name = encoded(chain)
        with self.path.open("rb") if upto else nullcontext(None) as file:
            for line in _whole_lines(file, upto) if file is not None else ():
                # Parsing those of all other chains, for each chain anew, would cost more than all the rest.
                entry = checkpoint(line) if name in line else None
                if entry is not None and entry["chain"] == chain:
                    yield line, entry

    def _highest(self) -> dict[str, int]:
        """By chain: the highest number in the file."""
        highest: dict[str, int] = {}
        for _, _, entry in self.lines(self.size()):
            if entry is not None:
                highest[entry["chain"]] = max(entry["number"], highest.get(entry["chain"], 0))
        return highest

    def _append_new(self, pages: Iterable[list[Kept]], reached: dict[str, int]) -> None:
        """`reached`: the highest number of each chain that is there; it is brought up to date."""
        for page in pages:
            lines = []
            for chain, number, line in page:
                if number > reached.get(chain, 0):
                    lines.append(line + b"\n")
                    reached[chain] = number
            if lines:
                self._append(b"".join(lines))

    def _backwards(self) -> Iterator[bytes]:
        """The whole lines of the file, the last one first; of one longer than any of ours, a part."""
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
                tail = beginning[: LONGEST + 1]  # which tells that it is too long, and no more has to be kept
            if is_whole:
                yield tail

    def _append(self, lines: bytes) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(fd, "ab") as file:
            if is_torn(fd):
                lines = _after_what_was_cut_off(fd, os.fstat(fd).st_size) + lines
            file.write(lines)
            file.flush()
            os.fsync(fd)


def _whole_lines(file: BinaryIO, upto: int) -> Iterator[bytes]:
    """The lines that end within the first `upto` bytes; of one longer than any of ours, its beginning."""
    reached = 0
    while line := file.readline(LONGEST + 1):
        end = line
        reached += len(line)
        while not end.endswith(b"\n"):
            end = file.readline(LONGEST + 1)
            reached += len(end)
            if not end or reached > upto:
                return
        if reached > upto:
            return
        yield line


def _after_what_was_cut_off(fd: int, size: int) -> bytes:
    """Removes the line that a crash cut off; where the file only grows, it stays, and the next one begins a new line.
    So does what is too long to be a line of ours."""
    start = max(0, size - TAIL_BYTES)
    end = os.pread(fd, size, start).rfind(b"\n")
    if end < 0 and start:
        return b"\n"
    try:
        os.ftruncate(fd, start + end + 1)
    except OSError:
        return b"\n"
    return b""
