"""What the last verification of the whole record found, in a small file for those who do not ask the database."""

from contextlib import suppress
from pathlib import Path

import msgspec

from telemetry.replaced_file import replace_file

NAME = "verdict.json"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: epoch seconds of its end."""

    at: float
    rows: int
    found: int


def tell(folder: Path, verdict: Verdict) -> None:
    """Raises `OSError`."""
    replace_file(folder / NAME, msgspec.json.encode(verdict))


def told(folder: Path) -> Verdict | None:
    """None before the first verification, or where the file says nothing."""
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Verdict)
    return None
