"""Records that no column took: kept in a file beside the journal, and tried again each time the writer begins.

Nobody knows beforehand what such a record is; by the next start the product may be one that can store it. Lines of the
journal that were damaged lie there too, as they are, so that somebody sees that there were some.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from telemetry.captured import SealedContent
from telemetry.failures import FailureCounts
from telemetry.journal import UNREADABLE
from telemetry.types import CallRecord

NAME = "set-aside.jsonl"
AGAIN = "set-aside.again"
AT_ONCE = 1024 * 1024
Record = CallRecord | FailureCounts | SealedContent
KINDS: dict[str, type[Record]] = {kind.__name__: kind for kind in (CallRecord, FailureCounts, SealedContent)}


class Line(msgspec.Struct):
    """`kind`: absent in lines of older versions, which are calls."""

    error: str
    record: msgspec.Raw
    kind: str = CallRecord.__name__


class SetAside:
    """Only the journal's writer uses it. `folder`: the journal's."""

    def __init__(self, folder: Path) -> None:
        self._kept, self._again = folder / NAME, folder / AGAIN

    def keep(self, record: Record, error: Exception) -> None:
        told = {"error": type(error).__name__, "kind": type(record).__name__, "record": record}
        self._append(msgspec.json.encode(told) + b"\n")

    def keep_line(self, line: bytes) -> None:
        """What nobody can read: it stays as it is."""
        self._append(line + b"\n")

    def again(self) -> Iterator[list[Record]]:
        """What was set aside before, in parts; each may be set aside anew. When this is cut off, all come again."""
        if not self._again.exists():
            try:
                self._kept.rename(self._again)
            except FileNotFoundError:
                return
        with self._again.open("rb") as file:
            while lines := file.readlines(AT_ONCE):
                yield [record for line in lines if (record := self._read(line)) is not None]
        self._again.unlink()

    def _read(self, line: bytes) -> Record | None:
        """What cannot be read stays set aside."""
        try:
            told = msgspec.json.decode(line, type=Line)
            return msgspec.json.decode(told.record, type=KINDS[told.kind])
        except (*UNREADABLE, KeyError):
            self.keep_line(line.rstrip(b"\n"))
            return None

    def _append(self, line: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        with open(os.open(self._kept, flags, 0o600), "ab") as file:
            file.write(line)
