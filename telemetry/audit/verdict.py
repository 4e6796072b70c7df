"""What the last verification of the whole record found, or why it could not be made, in a small file for those who do
not ask the database."""

from contextlib import suppress
from pathlib import Path

import msgspec

from telemetry.replaced_file import replace_file

NAME = "verdict.json"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: epoch seconds of its end. `unverified`: why a later one could not be made, in words; the rest is that of the
    last one that was, `at` 0 before the first."""

    at: float
    rows: int
    found: int
    unverified: str = ""


def tell(folder: Path, verdict: Verdict) -> None:
    """Raises `OSError`."""
    replace_file(folder / NAME, msgspec.json.encode(verdict))


def tell_unverified(folder: Path, why: str) -> None:
    """Raises `OSError`."""
    tell(folder, msgspec.structs.replace(told(folder) or Verdict(at=0, rows=0, found=0), unverified=why))


def told(folder: Path) -> Verdict | None:
    """None before the first verification, or where the file says nothing."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Verdict)
    return None
