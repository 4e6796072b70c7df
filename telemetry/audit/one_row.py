"""Verifies one row, for the page that shows it."""

from collections.abc import Iterable, Iterator

from telemetry.audit import reader
from telemetry.audit.canonical import canonical
from telemetry.audit.chain import row_of
from telemetry.audit.proof import KnownLedger
from telemetry.audit.verifier import ZEROS, Finding, Ledger, Signatures, Walk
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog
from telemetry.unreadable import UNREADABLE


def _hash_before(ledger: Ledger, first: int) -> str | None:
    """Of the row before the first one; None when it is gone and no tombstone says it."""
    row = RequestLog.objects.filter(chain=ledger.chain, sequence=first - 1).only("hash").first()
    if row is not None:
        return row.hash
    ends = {gone.last + 1: gone.digest for gone in ledger.gone}
    return ends.get(first, ZEROS if first == 1 else None)


def verify_row(signatures: Signatures, row: RequestLog) -> tuple[AuditCheckpoint | None, list[Finding]]:
    """One row, and those behind it up to the next checkpoint: that one, and what was found."""
    if row.sequence is None or row.sequence < 1:
        return None, [Finding("forged", row.chain, 0, "it names a chain, but has no place in it")]
    closing = (
        AuditCheckpoint.objects.filter(chain=row.chain, sequence__gte=row.sequence).order_by("number").first()
    )
    if closing is None:
        return None, [Finding("unsigned", row.chain, row.sequence, "no signature covers it")]
    ledger = KnownLedger(row.chain, signatures)
    found = list(ledger.checkpoints([closing.entry()], whole=False))
    stones = AuditTombstone.objects.filter(
        chain=row.chain, last__gte=row.sequence - 1, first__lte=closing.sequence
    )
    found += ledger.tombstones(stone.entry() for stone in stones)
    walk = Walk(ledger, at=row.sequence - 1, previous=_hash_before(ledger, row.sequence))
    if walk.previous is None:
        words = "the row before it is missing, so that nobody can tell whether it is as it was recorded"
        found.append(Finding("deleted", row.chain, row.sequence - 1, words))
    found += walk.bodies(_with(row, reader.bodies(row.chain, after=walk.at, until=closing.sequence), found))
    found += walk.end(closing.sequence)
    return closing, found


def _with(
    row: RequestLog, bodies: Iterable[tuple[int, str, bytes]], found: list[Finding]
) -> Iterator[tuple[int, str, bytes]]:
    """What is shown may have come by another way through the database than what is verified."""
    is_there = False
    for sequence, claimed, body in bodies:
        is_there = is_there or (sequence == row.sequence and (claimed, body) == (row.hash, _shown(row)))
        yield sequence, claimed, body
    if not is_there:
        words = "the row that is shown is not the one in the chain"
        found.append(Finding("forged", row.chain, row.sequence or 0, words))


def _shown(row: RequestLog) -> bytes:
    try:
        return canonical(row_of(row))
    except UNREADABLE:
        return b""
