"""Records that no column took: kept in a file beside the journal, and tried again each time the writer begins.

Nobody knows beforehand what such a record is; by the next start the product may be one that can store it. Lines of the
journal that nobody can read lie there too, so that somebody sees that there were some: as they are where they were
damaged; where they are whole, and of another version, with words that say so.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from telemetry.captured import SealedContent
from telemetry.failures import FailureCounts
from telemetry.journal import UNREADABLE, is_whole, parse
from telemetry.open_files import is_torn
from telemetry.types import Announced, CallRecord

NAME = "set-aside.jsonl"
AGAIN = "set-aside.again"
ANEW = "set-aside.anew"
AT_ONCE = 1024 * 1024
OF_ANOTHER_VERSION = "whole, but of no kind or shape that this version knows; of a newer one?"
Record = CallRecord | FailureCounts | SealedContent
KINDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (CallRecord, FailureCounts, SealedContent)}


class Line(msgspec.Struct):
    """`kind`: absent in lines of older versions, which are calls. `line`: instead of a record, one of the journal."""

    error: str
    record: msgspec.Raw = msgspec.Raw(b"")
    kind: str = CallRecord.__name__
    line: str = ""


class SetAside:
    """Only the journal's writer uses it. `folder`: the journal's."""

    def __init__(self, folder: Path) -> None:
        self._kept, self._again, self._anew = folder / NAME, folder / AGAIN, folder / ANEW
        self._target = self._kept
        self._turn = 0

    def keep(self, record: Record, error: Exception) -> None:
        told = {"error": type(error).__name__, "kind": type(record).__name__, "record": record}
        self._append(msgspec.json.encode(told) + b"\n")

    def keep_line(self, line: bytes) -> None:
        """One of the journal that nobody can read."""
        if is_whole(line):
            with suppress(UnicodeDecodeError):
                line = msgspec.json.encode({"error": OF_ANOTHER_VERSION, "line": line.decode()})
        self._append(line + b"\n")

    def again(self) -> Iterator[list[Record]]:
        """What was set aside before, in parts; each may be set aside anew. When this is cut off, all come again, and
        nothing has been set aside twice by it."""
        if not self._again.exists():
            try:
                self._kept.rename(self._again)
            except FileNotFoundError:
                return
        self._anew.unlink(missing_ok=True)
        self._target = self._anew
        turn = self._turn = self._turn + 1
        try:
            with self._again.open("rb") as file:
                while lines := file.readlines(AT_ONCE):
                    yield [record for line in lines if (record := self._read(line)) is not None]
        finally:
            if turn == self._turn:  # one that was cut off may be let go of after the next has begun
                self._target = self._kept
        self._begin_anew()

    def _begin_anew(self) -> None:
        """All of it was tried: only what was set aside anew is left."""
        if not self._anew.exists():
            self._again.unlink()
            return
        self._anew.replace(self._again)
        if self._kept.exists():
            self._append(self._again.read_bytes())
            self._again.unlink()
        else:
            self._again.rename(self._kept)

    def _read(self, line: bytes) -> Record | None:
        """What cannot be read stays set aside."""
        line = line.rstrip(b"\n")
        try:
            if is_whole(line):
                return _record_in(line)
            told = msgspec.json.decode(line, type=Line)
            if told.line:
                return _record_in(told.line.encode())
            return msgspec.json.decode(told.record, type=KINDS[told.kind])
        except (*UNREADABLE, KeyError):
            self.keep_line(line)
            return None

    def _append(self, lines: bytes) -> None:
        """Whole lines or none of them: what a full disk cut short would make the next unreadable. Raises `OSError`."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with open(os.open(self._target, flags, 0o600), "ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if is_torn(file.fileno()):
                lines = b"\n" + lines  # the writer was ended in the midst of one
            try:
                view = memoryview(lines)
                while view:
                    view = view[file.write(view) :]
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise


def _record_in(line: bytes) -> Record:
    """Of the journal. Raises `KeyError` when it is of no kind that is stored; intents are not, their calls are."""
    entry = next(parse(line + b"\n"), None)
    if isinstance(entry, Announced):
        entry = entry.record
    if isinstance(entry, CallRecord | FailureCounts | SealedContent):
        return entry
    raise KeyError(line[9:10])
