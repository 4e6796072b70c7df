"""Configuration files replaced in one step, each with a copy of what it was (contract §3, backups)."""

import os
import re
import time
from pathlib import Path

from telemetry.replaced_file import replace_file

KEEP = 2


class SaveError(Exception):
    """The file could not be written; the old one stands and its backup was left beside it."""


def save(path: Path, data: bytes) -> list[Path]:
    """Writes `path`, mode 0600, and returns the old backups that were removed.

    `NAME.bkup` and whatever else lies there is the operator's own and never touched.
    """
    backup = _copy_aside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data, durable=True)
    except OSError as error:
        left = f"; its backup is {backup.name}" if backup else ""
        raise SaveError(f"{path.name} could not be written ({error.strerror}){left}") from None
    return prune(path)


def _copy_aside(path: Path) -> Path | None:
    try:
        data = path.read_bytes()
        kept = backups_of(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SaveError(f"{path.name} could not be read for its backup ({error.strerror})") from None
    stamp = time.time_ns() // 1_000_000
    if kept:
        # Later than every backup there is, whatever the clock says: pruning goes by this number.
        stamp = max(stamp, _stamp(path, kept[0]) + 1)
    while True:
        backup = path.with_name(f"{path.name}.{stamp}.bak")
        try:
            write_new(backup, data)
        except FileExistsError:
            stamp += 1
            continue
        except OSError as error:
            raise SaveError(f"No backup of {path.name} could be made ({error.strerror})") from None
        return backup


def write_new(path: Path, data: bytes) -> None:
    """A new file of mode 0600, on the disk when this returns. Raises `OSError` and leaves no part of it."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)


def backups_of(path: Path) -> list[Path]:
    """Newest first."""
    pattern = re.compile(re.escape(path.name) + r"\.\d+\.bak")
    found = [kept for kept in path.parent.iterdir() if pattern.fullmatch(kept.name)]
    return sorted(found, key=lambda kept: _stamp(path, kept), reverse=True)


def _stamp(path: Path, backup: Path) -> int:
    """Milliseconds since the epoch, as its name tells."""
    return int(backup.name.removeprefix(f"{path.name}.").removesuffix(".bak"))


def prune(path: Path) -> list[Path]:
    """Removes all but the newest `KEEP` backups and returns what it removed."""
    removed = backups_of(path)[KEEP:]
    for old in removed:
        old.unlink(missing_ok=True)
    return removed
