"""Verifies the record in the database against what was signed about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import Max, Min, Q

from telemetry.audit import reader
from telemetry.audit.copies import Copies
from telemetry.audit.verifier import MOST_FINDINGS, ZEROS, Finding, Ledger, Signatures, Walk, copies
from telemetry.models import AuditCheckpoint, AuditTombstone, AuditVerification, RequestLog

KEPT = 100
LOOKS = 3


@dataclass
class Verified:
    """`findings`: the first `MOST_FINDINGS` of `found`."""

    rows: int = 0
    found: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, findings: Iterator[Finding]) -> None:
        for finding in findings:
            self.found += 1
            if len(self.findings) < MOST_FINDINGS:
                self.findings.append(finding)

    def take(self, other: "Verified") -> None:
        self.rows += other.rows
        self.found += other.found
        self.findings += other.findings[: MOST_FINDINGS - len(self.findings)]


def verify(
    signatures: Signatures,
    outside: Copies | None,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Verified:
    """`outside`: the copies of the checkpoints; None when there are none to compare with. `since`, `until`: calls that
    began then; the rows between the first and the last of them are verified, and all checkpoints.

    The record may grow meanwhile. So the copies are read before the checkpoints, of which they are copies, and these
    after it is known which row is the last one: it was signed when it was stored.
    """
    verified = Verified()
    verified.add(_rows_outside_a_chain())
    copied: dict[str, list[dict[str, Any]]] = {}
    for number, entry in outside.entries() if outside is not None else ():
        if entry is None:
            words = "the copies outside the database have a line there that is no checkpoint"
            verified.add(iter([Finding("copy", "", number, words)]))
        else:
            copied.setdefault(str(entry["chain"]), []).append(entry)
    chains = {*AuditCheckpoint.objects.values_list("chain", flat=True).distinct(), *copied}
    chains |= set(RequestLog.objects.exclude(chain="").order_by().values_list("chain", flat=True).distinct())
    for chain in sorted(chains):
        verified.take(
            _chain_when_still(
                chain, signatures, copied.get(chain, []) if outside is not None else None, since, until
            )
        )
    return verified


def _chain_when_still(
    chain: str,
    signatures: Signatures,
    copied: list[dict[str, Any]] | None,
    since: datetime | None,
    until: datetime | None,
) -> Verified:
    """Rows that are pruned while they are looked for are missing, and their tombstone was not there before: then what
    was found counts for nothing, and the chain is looked at again."""
    for _ in range(LOOKS):
        stones = _stones(chain)
        found = _chain(chain, signatures, copied, since, until)
        if not found.found or stones == _stones(chain):
            break
    return found


def _stones(chain: str) -> int:
    return AuditTombstone.objects.filter(chain=chain).count()


def _chain(
    chain: str,
    signatures: Signatures,
    copied: list[dict[str, Any]] | None,
    since: datetime | None,
    until: datetime | None,
) -> Verified:
    verified = Verified()
    newest = RequestLog.objects.filter(chain=chain).aggregate(last=Max("sequence"))["last"] or 0
    inside = [kept.entry() for kept in AuditCheckpoint.objects.filter(chain=chain).order_by("number")]
    ledger = Ledger(chain, signatures)
    verified.add(ledger.checkpoints(inside))
    stones = AuditTombstone.objects.filter(chain=chain).order_by("first")
    verified.add(ledger.tombstones(stone.entry() for stone in stones))
    if copied is not None:
        by_number = {int(entry["number"]): entry for entry in inside}
        verified.add(copies(chain, by_number, copied, signatures))
    _walk(verified, ledger, max(newest, ledger.last), since, until)
    return verified


def _rows_outside_a_chain() -> Iterator[Finding]:
    """Every row was chained when it was stored, and those from before at the first start."""
    if AuditCheckpoint.objects.exists():
        beside = RequestLog.objects.filter(Q(chain="") | Q(sequence=None) | Q(sequence__lt=1))
        for call_id in beside.order_by("id").values_list("call_id", flat=True):
            yield Finding("forged", "", 0, f"the row with call id {call_id} was put in beside the chain")


def _walk(
    verified: Verified, ledger: Ledger, newest: int, since: datetime | None, until: datetime | None
) -> None:
    """`newest`: the last row there was, or should be; what came after it is not looked at."""
    first, last = _range(ledger.chain, since, until)
    if (since or until) and last is None:
        return
    walk = Walk(ledger)
    if since is not None and first is not None and first > 1:
        walk = Walk(ledger, at=first - 1, previous=_hash_before(ledger, first))
    end = min(last, newest) if until and last is not None else newest
    verified.add(walk.bodies(reader.bodies(ledger.chain, after=walk.at, until=end)))
    verified.add(walk.end(end if until else None))
    verified.rows += walk.rows


def _range(chain: str, since: datetime | None, until: datetime | None) -> tuple[int | None, int | None]:
    found = RequestLog.objects.filter(chain=chain)
    if since:
        found = found.filter(started_at__gte=since)
    if until:
        found = found.filter(started_at__lt=until)
    ends = found.aggregate(first=Min("sequence"), last=Max("sequence"))
    return ends["first"], ends["last"]


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
    ledger = Ledger(row.chain, signatures)
    found = list(ledger.checkpoints([closing.entry()], whole=False))
    stones = AuditTombstone.objects.filter(
        chain=row.chain, last__gte=row.sequence - 1, first__lte=closing.sequence
    )
    found += ledger.tombstones(stone.entry() for stone in stones)
    walk = Walk(ledger, at=row.sequence - 1, previous=_hash_before(ledger, row.sequence))
    found += walk.bodies(reader.bodies(row.chain, after=walk.at, until=closing.sequence))
    found += walk.end(closing.sequence)
    return closing, found


def newest() -> tuple[AuditCheckpoint | None, AuditVerification | None]:
    """The newest signature and the newest verification."""
    return AuditCheckpoint.objects.order_by("-pk").first(), AuditVerification.objects.order_by("-pk").first()


def due_since() -> datetime | None:
    """Since when the whole record has not been verified: the last time it was, else its first signature."""
    last = (
        AuditVerification.objects.filter(whole=True)
        .order_by("-pk")
        .values_list("started_at", flat=True)
        .first()
    )
    if last is not None:
        return last
    first = AuditCheckpoint.objects.order_by("pk").first()
    return first.signed_at if first else None


def keep(verified: Verified, *, by: str, scope: str, whole: bool, started_at: datetime) -> AuditVerification:
    return AuditVerification.objects.create(
        started_at=started_at, finished_at=datetime.now(UTC), by=by, scope=scope, whole=whole, rows=verified.rows,
        found=verified.found, findings=[str(finding) for finding in verified.findings[:KEPT]],
    )  # fmt: skip
