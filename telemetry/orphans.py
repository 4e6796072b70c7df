"""What dead processes left in the journal's folder and no segment leads to: a crash between two steps of tidying up."""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from telemetry.journal import is_alive

YOUNG_S = 60.0
"""A file that is just being made is nobody's yet. A lock that lies there is held by its process as long as that lives."""
_OWNED = re.compile(r"(\d{15}-\d+)\.(?:lock|locking|ballast)")
_HALF_WRITTEN = re.compile(r"\..+\.\d+\.tmp")


def tidy(folder: Path, now: float | None = None) -> None:
    """Before a journal is begun there. What cannot be looked at or removed stays; the writer sees to whatever has a
    segment, and tells of what it cannot remove."""
    now = time.time() if now is None else now
    for path in list(_orphans(folder, now)):
        with suppress(OSError):
            path.unlink()


def _orphans(folder: Path, now: float) -> Iterator[Path]:
    with suppress(OSError):
        names = sorted(path.name for path in folder.iterdir())
        owners = {name.rpartition("-")[0] for name in names if name.endswith(".spool")}
        for name in names:
            path = folder / name
            is_left, since = _HALF_WRITTEN.fullmatch(name) is not None, YOUNG_S
            if owned := _OWNED.fullmatch(name):
                lock = folder / f"{owned[1]}.lock"
                is_left, since = (
                    owned[1] not in owners and not _is_held(lock),
                    0.0 if lock.exists() else YOUNG_S,
                )
            if is_left and _is_file_older_than(since, path, now):
                yield path


def _is_held(lock: Path) -> bool:
    try:
        return is_alive(lock)
    except OSError:
        return True


def _is_file_older_than(seconds: float, path: Path, now: float) -> bool:
    with suppress(OSError):
        return path.is_file() and now - path.lstat().st_mtime >= seconds
    return False
