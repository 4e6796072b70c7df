"""The formats in which the record is taken away, for the page and the command alike."""

from collections.abc import Iterator
from typing import NamedTuple

from gateway.changelog import note_export
from gateway.places import audit_folder
from telemetry.audit.exports import comma_separated, json_lines
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


def stream(selection: Selection, wanted: str, *, by: str, where: str) -> Iterator[bytes]:
    """`wanted`: a key of `FORMATS`. `by`, `where`: who takes it away, and how. That is on record before anything leaves,
    also when it breaks off later.
    """
    note_export(selection.about, FORMATS[wanted].title, by=by, where=where)
    log.info("Record exported", metadata={"by": by, "about": selection.about, "format": wanted})
    if wanted == "pack":
        return EvidencePack(selection, audit_folder().public_keys()).stream()
    return json_lines(selection) if wanted == "jsonl" else comma_separated(selection)
