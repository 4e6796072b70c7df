"""How SQLite keeps what is committed: the journal lets go of a call once it is stored, and a power cut may come then."""

import pytest

from gateway.database import pragmas

KEPT = {"WAL": ("FULL", "EXTRA"), "DELETE": ("NORMAL", "FULL", "EXTRA")}
"""What SQLite syncs at each commit (https://sqlite.org/pragma.html#pragma_synchronous)."""


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 51, 2), (3, 51, 3), (4, 0, 0)], ids=str)
def test_what_is_committed_is_on_the_disk(version: tuple[int, int, int]) -> None:
    told = dict(part.strip().removeprefix("PRAGMA ").split("=") for part in pragmas(version).split(";")[:-1])
    assert told["synchronous"] in KEPT[told["journal_mode"]]
    assert (told["journal_mode"] == "WAL") == (version >= (3, 51, 3))
