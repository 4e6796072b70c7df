"""What the writer finds wrong with the journal's files, told to the server's health."""

from collections.abc import Collection
from pathlib import Path

from telemetry.audit.standing import Standing

NAMED = 3


class JournalFaults:
    """`folder`: the journal's. What was lost is told until the writer ends."""

    def __init__(self, folder: Path) -> None:
        self._standing = Standing(folder)
        self._cut: dict[str, None] = {}

    def cut(self, name: str) -> None:
        self._cut[name] = None

    def tell(self) -> None:
        lost = "cut short or overwritten: what they held and was not stored yet is lost"
        self._standing.tell([f"Files of the journal were {lost}: {_named(self._cut)}" if self._cut else ""])


def _named(names: Collection[str]) -> str:
    shown = ", ".join(ascii(name) for name in list(names)[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
