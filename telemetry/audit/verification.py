"""Verifies the record in the database against what was signed about it.

It may take long, and the record grows and is pruned meanwhile. So nothing is held: rows, checkpoints and their copies
are read side by side, in pages, up to where they were when it began; tombstones that came since are asked for where
rows are missing.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Max, Min, Q

from telemetry.audit import reader
from telemetry.audit.canonical import stamp
from telemetry.audit.copies import Copies
from telemetry.audit.verifier import BLOCK, MOST_FINDINGS, ZEROS, Finding, Ledger, Signatures, Walk
from telemetry.models import AuditCheckpoint, AuditTombstone, AuditVerification, RequestLog

KEPT = 100
COPIED_WITHIN = timedelta(minutes=1)
"""How long a checkpoint may be without its copy: the file is written after the database."""


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


def verify(
    signatures: Signatures,
    outside: Copies | None,
    *,
    own: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Verified:
    """`outside`: the copies of the checkpoints; None when there are none to compare with. `own`: the chain whose copies
    have to reach as far as the database does. `since`, `until`: calls that began then; the rows between the first and
    the last of them are verified, and all checkpoints.
    """
    verified = Verified()
    verified.add(_rows_outside_a_chain())
    # The file is a copy of the database: what it had before is in what the database has after.
    size = outside.size() if outside is not None else 0
    chains = set(AuditCheckpoint.objects.values_list("chain", flat=True).distinct())
    chains |= set(RequestLog.objects.exclude(chain="").order_by().values_list("chain", flat=True).distinct())
    for number, _, entry in outside.lines(size) if outside is not None else ():
        if entry is None:
            words = "the copies outside the database have a line there that is no checkpoint"
            verified.add(iter([Finding("copy", "", number, words)]))
        else:
            chains.add(entry["chain"])
    for chain in sorted(chains):
        copied = None if outside is None else _Copied(chain, outside, size, own, signatures)
        _Chain(chain, signatures, copied, verified).walk(since, until)
    return verified


def _rows_outside_a_chain() -> Iterator[Finding]:
    """Every row was chained when it was stored, and those from before at the first start."""
    if not AuditCheckpoint.objects.exists():
        return
    nowhere = Q(sequence=None) | Q(sequence__lt=1) | Q(sequence__gt=reader.LARGEST)
    beside = RequestLog.objects.filter(Q(chain="") | nowhere)
    for call_id in beside.order_by("id").values_list("call_id", flat=True):
        yield Finding("forged", "", 0, f"the row with call id {call_id} was put in beside the chain")


class _Chain:
    """One chain: walks along its rows, and along its checkpoints at the same pace."""

    def __init__(
        self, chain: str, signatures: Signatures, copied: "_Copied | None", verified: Verified
    ) -> None:
        self._name, self._verified = chain, verified
        rows = RequestLog.objects.filter(chain=chain, sequence__lte=reader.LARGEST)
        newest = rows.aggregate(last=Max("sequence"))["last"]
        kept = AuditCheckpoint.objects.filter(chain=chain)
        # After the rows: a row is stored together with the signature over it.
        last = kept.order_by("-number").first()
        self._last = max(newest or 0, last.entry()["sequence"] if last else 0)
        checkpoints = _checkpoints(chain, last.number if last else 0)
        self._ledger = _Ledger(chain, signatures, checkpoints, copied, verified.add)

    def walk(self, since: datetime | None, until: datetime | None) -> None:
        first, last = _range(self._name, since, until)
        walk = Walk(self._ledger)
        if (since or until) and last is None:
            self._ledger.finish()
            return
        if since is not None and first is not None and first > 1:
            walk = Walk(self._ledger, at=first - 1, previous=_hash_before(self._ledger, first))
        end = min(last, self._last) if until and last is not None else self._last
        self._verified.add(walk.bodies(reader.bodies(self._name, after=walk.at, until=end)))
        self._ledger.finish()
        self._verified.add(walk.end(end if until else None))
        self._verified.rows += walk.rows


class _Ledger(Ledger):
    """Reads checkpoints as rows come to them, so `mark` is asked by ascending numbers; and tombstones anew where rows
    are missing. `told`: takes findings."""

    def __init__(
        self,
        chain: str,
        signatures: Signatures,
        checkpoints: Iterator[AuditCheckpoint],
        copied: "_Copied | None",
        told: Callable[[Iterator[Finding]], None],
    ) -> None:
        super().__init__(chain, signatures)
        self._checkpoints, self._copied, self._told = checkpoints, copied, told
        self._reached = 0
        self._newest_stone = 0
        told(self.look_again())
        self._before = [(gone.first, gone.last) for gone in self.gone]
        self._passed = 0

    def mark(self, sequence: int) -> str | None:
        while self._reached < sequence and self._read():
            pass
        return super().mark(sequence)

    def finish(self) -> None:
        while self._read():
            pass
        if self._copied is not None:
            self._told(self.look_again())
            self._told(self._copied.end(self.begins[0]))

    def _read(self) -> bool:
        block = list(itertools.islice(self._checkpoints, BLOCK))
        if not block:
            return False
        self._marks = {}
        # After them: which were let go meanwhile is known by then.
        self._told(self.look_again())
        entries = [kept.entry() for kept in block]
        self._told(self.checkpoints(entries))
        for kept, entry in zip(block, entries, strict=True):
            self._told(_columns(kept, entry))
            if self._copied is not None:
                self._told(self._copied.beside(kept, self.begins[0]))
        self._reached = max(self._reached, entries[-1]["sequence"])
        return True

    def look_again(self) -> Iterator[Finding]:
        stones = AuditTombstone.objects.filter(chain=self.chain, pk__gt=self._newest_stone).order_by("pk")
        entries = []
        for stone in stones:
            self._newest_stone = stone.pk
            entries.append(stone.entry())
        return self.tombstones(entries) if entries else iter(())

    def is_back(self, sequence: int) -> bool:
        before = self._before
        while self._passed < len(before) and before[self._passed][1] < sequence:
            self._passed += 1
        return self._passed < len(before) and before[self._passed][0] <= sequence


def _checkpoints(chain: str, last: int) -> Iterator[AuditCheckpoint]:
    number = -1
    while True:
        kept = AuditCheckpoint.objects.filter(chain=chain, number__gt=number, number__lte=last)
        page = list(kept.order_by("number")[:BLOCK])
        yield from page
        if len(page) < BLOCK:
            return
        number = page[-1].number


def _columns(kept: AuditCheckpoint, entry: dict[str, Any]) -> Iterator[Finding]:
    """Pages and queries go by the columns beside what was signed."""
    if (kept.number, kept.sequence) != (entry["number"], entry["sequence"]) or (
        entry.get("signedAt") not in (None, stamp(kept.signed_at))
    ):
        words = "the columns beside it are not what was signed"
        yield Finding("checkpoint", kept.chain, kept.number, words)


class _Copied:
    """The copies of one chain's checkpoints, held against these by their numbers, which ascend in both."""

    def __init__(
        self, chain: str, outside: Copies, size: int, own: str | None, signatures: Signatures
    ) -> None:
        self._chain, self._signatures, self._is_own = chain, signatures, chain == own
        self._lines = (
            (e, text) for _, text, e in outside.lines(size) if e is not None and e["chain"] == chain
        )
        self._next = next(self._lines, None)
        self._missing: AuditCheckpoint | None = None
        self._began = datetime.now(UTC)

    def beside(self, kept: AuditCheckpoint, begins: int) -> Iterator[Finding]:
        """`begins`: the number before which checkpoints were let go. Their copies say nothing any more."""
        while self._next is not None and self._next[0]["number"] < kept.number:
            yield from self._only_outside(begins)
        if self._next is None or self._next[0]["number"] != kept.number:
            self._missing = self._missing or kept
            return
        yield from self._lacking(kept.number)
        entry, text = self._next
        if text.rstrip(b"\n") != kept.line.encode("utf-8", "surrogatepass") and entry != kept.entry():
            if self._signatures.fault("checkpoint", entry):
                yield Finding(
                    "copy", self._chain, kept.number, "the copy outside the database is not genuine"
                )
            else:
                words = "the database says otherwise than the copy outside of it"
                yield Finding("checkpoint", self._chain, kept.number, words)
        self._next = next(self._lines, None)

    def end(self, begins: int) -> Iterator[Finding]:
        while self._next is not None:
            yield from self._only_outside(begins)
        # Those of another chain may lie beside another server; the last one may be on its way.
        if (
            self._missing is not None
            and self._is_own
            and self._missing.signed_at < self._began - COPIED_WITHIN
        ):
            words = f"the copies outside the database end before checkpoint {self._missing.number}"
            yield Finding("copy", self._chain, self._missing.number, words)

    def _lacking(self, number: int) -> Iterator[Finding]:
        if self._missing is not None:
            words = f"the copies outside the database lack {self._missing.number} to {number - 1}"
            yield Finding("copy", self._chain, self._missing.number, words)
            self._missing = None

    def _only_outside(self, begins: int) -> Iterator[Finding]:
        assert self._next is not None, "asked for where there is one"
        entry, number = self._next[0], self._next[0]["number"]
        self._next = next(self._lines, None)
        if number < begins:
            return
        if self._signatures.fault("checkpoint", entry):
            yield Finding("copy", self._chain, number, "the copy outside the database is not genuine")
            return
        words = f"the database does not have it (row {entry['sequence']} was signed): it was cut, or an older copy restored"
        yield Finding("restored", self._chain, number, words)


def _range(chain: str, since: datetime | None, until: datetime | None) -> tuple[int | None, int | None]:
    found = RequestLog.objects.filter(chain=chain, sequence__lte=reader.LARGEST)
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
