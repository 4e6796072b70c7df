"""What the journal's writer has to say of itself to the server: one small file, replaced when it changes."""

import json
from collections.abc import Sequence
from pathlib import Path

from telemetry.replaced_file import replace_file

NAME = "standing.json"


class Standing:
    """`faults`: in words for operators. Only the writer writes it."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._told: list[str] | None = None

    def tell(self, faults: Sequence[str]) -> None:
        told = [fault for fault in faults if fault]
        if told == self._told:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path, json.dumps(told).encode())
        except OSError:
            return  # told again at the next call; a full disk is told of by the journal itself
        self._told = told


def faults(folder: Path) -> list[str]:
    try:
        return [str(fault) for fault in json.loads((folder / NAME).read_text())]
    except (OSError, ValueError):
        return []
