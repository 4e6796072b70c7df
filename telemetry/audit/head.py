"""How far a chain has come, and whether the database still holds what was signed of that.

The next signature stands for all that lies before it. So it is only put behind a checkpoint that was signed with a key
of ours, says what its columns say, and is the same in the copies outside.
"""

import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from telemetry.audit.canonical import stamp
from telemetry.audit.copies import Copies
from telemetry.audit.stones import genuine
from telemetry.audit.verifier import ZEROS, Signatures, link_of
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog
from telemetry.unreadable import UnreadableCell, cells

OLDER = "The database is older than what was signed: a copy was restored, or rows were removed"


@dataclass(frozen=True)
class Head:
    """`signed`: the number of the last checkpoint; `link`: what the next says of it; `key`: what it was signed with."""

    chain: str = field(default_factory=lambda: secrets.token_hex(8))
    sequence: int = 0
    hash: str = ZEROS
    signed: int = 0
    link: str = ""
    key: str = ""


class Broken(Exception):
    """The database does not hold what was last signed; in words for operators."""


def resumed(chain: str, believed: Signatures, copies: Copies) -> Head:
    """The chain as the database has it. Raises `Broken`."""
    outside = None
    with suppress(OSError):  # the copies' own fault, told where they are to be written
        outside = copies.last(chain, believed)
    try:
        with cells():
            return _checked(chain, believed, outside)
    except UnreadableCell as error:
        raise Broken(f"What was signed last cannot be told: {error}") from None


def _checked(chain: str, believed: Signatures, outside: dict[str, Any] | None) -> Head:
    last = AuditCheckpoint.objects.filter(chain=chain).order_by("-number").first()
    row = RequestLog.objects.filter(chain=chain).order_by("-sequence").only("sequence", "hash").first()
    if last is None and row is None and outside is None:
        return Head(chain)
    if last is None:
        raise Broken(OLDER)
    entry = last.entry()
    if fault := _fault(last, entry, believed):
        raise Broken(f"The last checkpoint in the database is not what was signed: {fault}")
    if outside is not None and outside["number"] > last.number:
        raise Broken(OLDER)
    if outside is not None and outside["number"] == last.number and outside != entry:
        raise Broken("The last checkpoint in the database is not the one that was copied outside of it")
    if not _fits(row, entry, believed):
        raise Broken("The last rows of the record are not those that were signed")
    return Head(chain, entry["sequence"], entry["hash"], last.number, link_of(entry), entry["key"])


def _fault(last: AuditCheckpoint, entry: dict[str, Any], believed: Signatures) -> str | None:
    if fault := believed.fault("checkpoint", entry):
        return fault
    columns = (last.chain, last.number, last.sequence), stamp(last.signed_at)
    if columns != ((entry["chain"], *last.columns(entry)), entry.get("signedAt")):
        return "the columns beside it say otherwise"
    return None


def _fits(row: RequestLog | None, entry: dict[str, Any], believed: Signatures) -> bool:
    """Whether the record ends where the last checkpoint says; rows that were pruned need not be there."""
    last = int(entry["sequence"])
    if row is not None and not isinstance(row.sequence, int):
        return False  # SQLite takes any kind of value
    if row is not None and row.sequence is not None and row.sequence >= last:
        return (row.sequence, row.hash) == (last, entry["hash"])
    over = AuditTombstone.objects.filter(chain=entry["chain"], first__lte=last, last__gte=last)
    runs = (run for stone in genuine(over, believed) for run in stone["runs"])
    return any((end, digest) == (last, entry["hash"]) for _, end, digest, _ in runs)
