"""How far the journal's writer is: kept in a small file beside the journal, for its next start and for whoever asks."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from telemetry.replaced_file import replace_file

PROGRESS_FILE = "progress.json"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: epoch seconds. `offsets`: bytes of each segment that are in the database."""

    at: float
    offsets: dict[str, int] = {}


class ProgressFile:
    """In the journal's folder; one process writes it."""

    def __init__(self, folder: Path) -> None:
        self._place = folder / PROGRESS_FILE

    def read(self) -> Progress | None:
        """None where none was kept, or nothing can be made of it."""
        with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return msgspec.json.decode(self._place.read_bytes(), type=Progress)
        return None

    def keep(self, at: float, offsets: Mapping[str, int]) -> None:
        """On a full disk nothing is kept: the age of what was kept before tells, and a writer that reads on from there
        finds what is stored already."""
        with suppress(OSError):
            replace_file(self._place, msgspec.json.encode(Progress(at=at, offsets=dict(offsets))))
