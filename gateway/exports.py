"""The formats in which the record is taken away, for the page and the command alike."""

from collections.abc import Iterator
from typing import NamedTuple

from gateway.places import audit_folder
from telemetry.audit.exports import comma_separated, json_lines
from telemetry.audit.pack import EvidencePack
from telemetry.audit.selection import Selection


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


def stream(selection: Selection, wanted: str) -> Iterator[bytes]:
    """`wanted`: a key of `FORMATS`."""
    if wanted == "pack":
        return EvidencePack(selection, audit_folder().public_keys()).stream()
    return json_lines(selection) if wanted == "jsonl" else comma_separated(selection)
