"""Verifies one row, for the page that shows it."""

from collections.abc import Iterable, Iterator
from hashlib import sha256

from telemetry.audit import reader
from telemetry.audit.as_signed import columns
from telemetry.audit.canonical import canonical
from telemetry.audit.chain import row_of
from telemetry.audit.proof import KnownLedger
from telemetry.audit.verifier import NO_BODY, ZEROS, Finding, Ledger, Run, Signatures, Walk
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
        return None, [_unsigned(row)]
    return closing, list(_found(KnownLedger(row.chain, signatures), row, closing))


def _found(ledger: KnownLedger, row: RequestLog, closing: AuditCheckpoint) -> Iterator[Finding]:
    """`closing`: the first one that says it covers the row. How far it reaches, what was signed says."""
    entry = closing.entry()
    yield from columns(closing, entry)
    yield from ledger.checkpoints([entry], whole=False)
    first, last = row.sequence or 0, entry["sequence"]
    if ledger.mark(last) is None or last < first:
        yield _unsigned(row)
        return
    stones = AuditTombstone.objects.filter(chain=row.chain, last__gte=first - 1, first__lte=last)
    yield from ledger.tombstones(stone.entry() for stone in stones)
    walk = Walk(ledger, at=first - 1, previous=_hash_before(ledger, first))
    if walk.previous is None:
        words = "the row before it is missing, so that nobody can tell whether it is as it was recorded"
        yield Finding("deleted", row.chain, first - 1, words)
    found: list[Finding] = []
    yield from walk.along(_with(row, reader.runs(row.chain, after=walk.at, until=last), found))
    yield from found
    yield from walk.end(last)
    if not walk.is_closed():
        yield _unsigned(row)


def _unsigned(row: RequestLog) -> Finding:
    return Finding("unsigned", row.chain, row.sequence or 0, "no signature covers it")


def _with(row: RequestLog, runs: Iterable[Run], found: list[Finding]) -> Iterator[Run]:
    """What is shown may have come by another way through the database than what is verified. It is the first one that is
    read, so a run begins with it."""
    shown = (row.sequence, _body_hash(row), row.hash)
    is_there = False
    for run in runs:
        is_there = is_there or (run.first, run.body_hash, run.claimed[0]) == shown
        yield run
    if not is_there:
        words = "the row that is shown is not the one in the chain"
        found.append(Finding("forged", row.chain, row.sequence or 0, words))


def _body_hash(row: RequestLog) -> str:
    try:
        return sha256(canonical(row_of(row))).hexdigest()
    except UNREADABLE:
        return NO_BODY
