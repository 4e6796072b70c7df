"""What keeps the writer from its work, in the journal's files or in the database, told to the server's health."""

from collections.abc import Collection
from itertools import islice
from pathlib import Path

from telemetry.audit.standing import Standing

NAMED = 3


class JournalFaults:
    """`folder`: the journal's. What was lost is told until the writer ends, what is refused or undone while it is."""

    def __init__(self, folder: Path) -> None:
        self._standing = Standing(folder)
        self._lost: dict[str, None] = {}
        self._refused: dict[str, None] = {}
        self._undone: dict[str, str] = {}

    def lost(self, name: str) -> None:
        """Others removed this file, or what was read of it."""
        self._lost[ascii(name)] = None

    def refused(self, name: str, error: OSError) -> None:
        self._refused[f"{name!a} ({error.strerror or error})"] = None

    def undone(self, what: str, why: str) -> None:
        self._undone[what] = why

    def done(self, what: str) -> None:
        self._undone.pop(what, None)

    def tell(self) -> None:
        """After each round."""
        self._standing.tell(
            (
                _words("cannot be read or removed, and wait", self._refused),
                _words(
                    "were removed, cut short or overwritten by others, what was not stored of them is lost",
                    self._lost,
                ),
                *(f"{what}: {why}" for what, why in self._undone.items()),
            )
        )
        self._refused.clear()


def _words(what: str, files: Collection[str]) -> str:
    if not files:
        return ""
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return f"Files of the journal {what}: {', '.join(islice(files, NAMED))}{more}"
