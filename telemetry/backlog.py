"""How far the journal is behind: what its writer told last, compared with what lies in the folder."""

import time
from contextlib import suppress
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple

from telemetry.captured import SealedContent
from telemetry.failures import FailureCounts
from telemetry.journal import Entry, parse
from telemetry.progress import ProgressFile
from telemetry.segment import BATCH_BYTES
from telemetry.set_aside import AGAIN, NAME
from telemetry.types import Announced, Intent

LOOKED_AT = BATCH_BYTES
"""Bytes behind the writer's place in which a whole line is looked for: sealed content is the longest."""
FIRST_LOOK = 2048
"""Most lines are a few hundred long."""


class Backlog(NamedTuple):
    """`oldest_s`: age of the oldest line that is not in the database. `lag_s`: since the writer last got on; None when
    it never has. `set_aside`: records that no column took, and damaged lines."""

    bytes: int
    oldest_s: float
    lag_s: float | None
    set_aside: int


class BacklogReader:
    """Looks at a journal's folder. Keeps count of what is set aside, and how old what waits is, so as not to read it
    each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._progress = ProgressFile(folder)
        self._aside: dict[str, tuple[int, int]] = {}
        self._moments: dict[tuple[str, int], float] = {}

    def read(self, now: float | None = None) -> Backlog:
        now = time.time() if now is None else now
        progress = self._progress.read()
        offsets = progress.offsets if progress else {}
        waiting, oldest = 0, now
        known, self._moments = self._moments, {}
        for path in self._folder.glob("*.spool"):
            with suppress(OSError):  # stored and removed meanwhile
                size, offset = _size(path), offsets.get(path.name, 0)
                if size < offset:
                    offset = 0  # it was cut: the writer reads it from its start again
                behind = size - offset
                if behind > 0:
                    waiting += behind
                    place = (path.name, offset)
                    moment = known.get(place) or _written(path, offset)
                    if moment is not None:
                        self._moments[place] = moment
                        oldest = min(oldest, moment)
        lag = max(now - progress.at, 0.0) if progress else None
        return Backlog(waiting, now - oldest, lag, sum(map(self._set_aside, (NAME, AGAIN))))

    def _set_aside(self, name: str) -> int:
        """Lines of the file, read on from where it was left."""
        try:
            with (self._folder / name).open("rb") as file:
                seen, count = self._aside.get(name, (0, 0))
                if file.seek(0, 2) < seen:
                    seen = count = 0
                file.seek(seen)
                while piece := file.read(1024 * 1024):
                    seen, count = seen + len(piece), count + piece.count(b"\n")
                self._aside[name] = seen, count
        except OSError:
            self._aside[name] = 0, 0
        return self._aside[name][1]


def _size(path: Path) -> int:
    """Of what is no file, 0."""
    status = path.stat()
    return status.st_size if S_ISREG(status.st_mode) else 0


def _written(path: Path, offset: int) -> float | None:
    """When the first whole line behind `offset` was, in epoch seconds."""
    most = FIRST_LOOK
    with path.open("rb") as file:
        while True:
            file.seek(offset)
            data = file.read(most)
            entry = next(parse(data), None)
            if entry is not None:
                return _moment(entry)
            if len(data) < most or most >= LOOKED_AT:
                return None
            most = min(most * 8, LOOKED_AT)


def _moment(entry: Entry) -> float | None:
    if isinstance(entry, Intent):
        return entry.started_at
    if isinstance(entry, Announced):
        entry = entry.record
    if isinstance(entry, SealedContent):
        return entry.stored_at
    if isinstance(entry, FailureCounts):
        return max((count.last_at for count in entry.counts), default=None)
    return entry.started_at + entry.duration_ms / 1000
