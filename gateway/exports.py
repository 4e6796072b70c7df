"""The formats in which the record is taken away, for the page and the command alike."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from gateway.changelog import note_export
from gateway.places import audit_folder
from telemetry.audit.exports import Tally, comma_separated, json_lines
from telemetry.audit.pack import EvidencePack
from telemetry.audit.selection import Selection
from telemetry.logs import log


class Format(NamedTuple):
    """`ending`: of the file's name, without a dot."""

    title: str
    ending: str
    media_type: str


FORMATS = {
    "pack": Format("Evidence pack", "zip", "application/zip"),
    "jsonl": Format("JSON Lines", "jsonl", "application/x-ndjson"),
    "csv": Format("CSV for spreadsheets", "csv", "text/csv; charset=utf-8"),
}


NO_SUCH_CALL = "No such call is on record. It never was, or a retention rule removed it."


class Counts(Protocol):
    rows: int


class Export(Iterator[bytes]):
    """A chunk at a time."""

    def __init__(self, chunks: Iterator[bytes], counts: Counts) -> None:
        self._chunks, self._counts = chunks, counts

    def __next__(self) -> bytes:
        return next(self._chunks)

    @property
    def rows(self) -> int:
        """How many rows of the record there are in what has been taken."""
        return self._counts.rows


def stream(selection: Selection, wanted: str, *, by: str, where: str) -> Export:
    """`wanted`: a key of `FORMATS`. `by`, `where`: who takes it away, and how. That is on record before anything leaves,
    also when it breaks off later.
    """
    note_export(selection.about, FORMATS[wanted].title, by=by, where=where)
    log.info("Record exported", metadata={"by": by, "about": selection.about, "format": wanted})
    if wanted == "pack":
        pack = EvidencePack(selection, audit_folder().public_keys())
        return Export(pack.stream(), pack)
    tally = Tally()
    lines = json_lines if wanted == "jsonl" else comma_separated
    return Export(lines(selection, tally), tally)
