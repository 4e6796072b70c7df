"""One file of the journal as its writer reads it: how far, and which calls that began in it are still under way."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from telemetry.journal import Entry, parse
from telemetry.types import Announced, CallRecord, Intent

BATCH_BYTES = 1024 * 1024
REMEMBERED_BYTES = 4096
"""Before the place that was reached: call ids are among them, so that they tell whether it is still the same file."""


class Piece(NamedTuple):
    """Whole lines, those that nobody can read, the offset behind them, and the last bytes before it."""

    entries: list[Entry]
    damaged: list[bytes]
    offset: int
    ending: bytes


class Segment:
    """`open`: calls without an outcome, by what is known of their end. `stored`: up to where an earlier writer has stored it. `cut`: it lost what had been read of it. `unread`: it could
    not be read the last time, so that nobody knows what is in it."""

    def __init__(self, path: Path, stored: int = 0) -> None:
        self.path = path
        self.owner = path.name.rsplit("-", 1)[0]
        self.offset = 0
        self.open: dict[str, Intent | CallRecord] = {}
        self.cut = self.unread = False
        self._stored = stored
        self._ending = b""

    def resume(self, siblings: Sequence["Segment"]) -> None:
        """Of what an earlier writer has stored only open intents are of interest. `siblings`: those of the same process.
        Raises `OSError`."""
        while self.offset < self._stored:
            piece = self.read(self._stored - self.offset)
            if self.offset >= self._stored:
                return  # it was cut: all that is in it now is to be stored
            self.reach(piece)
            self.note(piece.entries, siblings)

    @property
    def reached(self) -> int:
        """Up to where its content is stored."""
        return max(self.offset, self._stored)

    def note(self, entries: Iterable[Entry], siblings: Sequence["Segment"]) -> None:
        """Calls are open until their outcome comes, which may be in a later segment of the same process."""
        for entry in entries:
            if isinstance(entry, Intent):
                self.open[entry.call_id] = entry
            elif isinstance(entry, Announced):
                _end(entry.record.call_id, siblings)
                self.open[entry.record.call_id] = entry.record
            elif isinstance(entry, CallRecord):
                _end(entry.call_id, siblings)

    def read(self, most: int = BATCH_BYTES) -> Piece:
        """What comes next; `reach` it once it is stored. Raises `OSError`."""
        wanted = min(most, BATCH_BYTES)
        with open(self.path, "rb", opener=_at_once) as file:
            if not self._goes_on(file):
                self._begin_again()
                file.seek(0)
            data = file.read(wanted)
        end = data.rfind(b"\n") + 1
        if end == 0 and len(data) == wanted:
            end = len(data)
        lines, damaged = data[:end], list[bytes]()
        entries = list(parse(lines, damaged.append))
        return Piece(entries, damaged, self.offset + end, lines[-REMEMBERED_BYTES:])

    def reach(self, piece: Piece) -> None:
        self.offset, self._ending = piece.offset, piece.ending or self._ending

    def _goes_on(self, file: BinaryIO) -> bool:
        """Whether what was read still lies there; then the file stands where it was left.

        Somebody may have emptied it, and it may have grown since past the place that was reached.
        """
        if os.fstat(file.fileno()).st_size < self.reached:
            return False
        if self._stored > self.offset:
            file.seek(self._stored - 1)
            if file.read(1) != b"\n":
                return False  # an earlier writer stored whole lines
        file.seek(self.offset - len(self._ending))
        return file.read(len(self._ending)) == self._ending

    def _begin_again(self) -> None:
        """Calls that are still under way stay open; those that are stored are not stored twice."""
        self.cut = True
        self.offset = self._stored = 0
        self._ending = b""


def _end(call_id: str, siblings: Sequence[Segment]) -> None:
    for sibling in siblings:
        sibling.open.pop(call_id, None)


def _at_once(path: str, flags: int) -> int:
    """What is no file must not keep its reader waiting, as a pipe does."""
    return os.open(path, flags | os.O_NONBLOCK)
