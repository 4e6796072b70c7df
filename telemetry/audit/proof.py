"""Proves a part of a chain on its own: from the last signature before it to the first one that covers all of it."""

import bisect
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from telemetry.audit import reader
from telemetry.audit.canonical import link_of
from telemetry.audit.stones import covering
from telemetry.audit.verifier import ZEROS, Finding, Ledger, Run, Signatures, Walk
from telemetry.models import AuditCheckpoint, RequestLog


class KnownLedger(Ledger):
    """Of what is there now, with nobody who prunes meanwhile: what a tombstone covers has to be gone."""

    link_of = staticmethod(link_of)

    def back(self, first: int, last: int) -> set[int]:
        return {sequence for sequence in range(first, last + 1) if self.over(sequence) is not None}


@dataclass
class Proof:
    """`start`: the signature before the part, or 0; `marks`: the rows that are signed from there on, ascending.
    `hashes`: by sequence number, those of the rows that were walked, of the start, and of what tombstones say went last.
    """

    chain: str
    start: int = 0
    marks: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    hashes: dict[int, str] = field(default_factory=dict)
    rows: int = 0

    def holds(self, sequence: int, digest: str) -> bool:
        """Whether this is the hash of the row, and it and that of the row before are those that were signed."""
        return (
            self.hashes.get(sequence) == digest
            and self._is_signed(sequence)
            and (sequence == 1 or self._is_signed(sequence - 1))
        )

    def before(self, sequence: int) -> str:
        """The hash of the row before it; "" where that is missing, which is a finding of its own."""
        return self.hashes.get(sequence - 1, "")

    def _is_signed(self, sequence: int) -> bool:
        """Whether the rows from here lead to a signature."""
        place = bisect.bisect_left(self.marks, sequence)
        if self.marks[place : place + 1] == [sequence]:
            return all(found.sequence != sequence or found.kind == "checkpoint" for found in self.findings)
        return self.start < sequence and place < len(self.marks) and sequence >= self._spoiled.get(place, 0)

    @cached_property
    def _spoiled(self) -> dict[int, float]:
        """Between which two signatures something was found, and from which row on that says nothing: what was deleted
        breaks the way from the rows before it alone."""
        spoiled: dict[int, float] = {}
        for kind, _, sequence, _ in self.findings:
            place = bisect.bisect_left(self.marks, sequence)
            if kind != "checkpoint":  # one that is not genuine signs nothing
                spoiled[place] = max(spoiled.get(place, 0), sequence if kind == "deleted" else math.inf)
        return spoiled

    def fault(self) -> str:
        for finding in sorted(self.findings, key=lambda finding: finding.kind == "checkpoint"):
            what = "checkpoint" if finding.kind == "checkpoint" else "row"
            return f"{what} {finding.sequence} of chain {self.chain}: {finding.words}"
        return f"behind row {max(self.start, *self.marks, 0)} of chain {self.chain} there is no signature"


def prove(signatures: Signatures, chain: str, first: int, last: int) -> Proof:
    """Rows `first` to `last`, and the one before them."""
    ledger = KnownLedger(chain, signatures)
    before, entries = _checkpoints(chain, first, last)
    findings = list(ledger.checkpoints(entries, whole=False))
    marks = sorted({entry["sequence"] for entry in entries if ledger.mark(entry["sequence"]) is not None})
    if not marks:
        return Proof(chain, findings=findings)
    # Where the signature before cannot be believed, from the next one on.
    start = marks[0] if marks[0] < first or before is not None else 0
    end = max(last, marks[-1])
    findings += ledger.tombstones(covering(chain, start, end, signatures))
    hashes = {gone.last: gone.digest for gone in ledger.gone}
    findings += _at_start(ledger, start, hashes)
    walk = Walk(ledger, at=start, previous=ledger.mark(start) if start else ZEROS)
    findings += walk.along(_noting(hashes, reader.runs(chain, after=start, until=end)))
    findings += walk.end(marks[-1])
    return Proof(chain, start, marks, findings, hashes, walk.rows)


def _checkpoints(chain: str, first: int, last: int) -> tuple[int | None, list[dict[str, Any]]]:
    """The number of the last one before the part, if there is one; and from there to the first one over all of it."""
    kept = AuditCheckpoint.objects.filter(chain=chain).order_by("number")
    before = kept.filter(sequence__lt=first).values_list("number", flat=True).last()
    closing = kept.filter(sequence__gte=last).values_list("number", flat=True).first()
    named = {"number__gte": before, "number__lte": closing}
    kept = kept.filter(**{name: number for name, number in named.items() if number is not None})
    # Nothing else is read: a column that cannot be would keep all rows from being removed.
    return before, [each.entry() for each in kept.only("chain", "line", *AuditCheckpoint.PLACE)]


def _at_start(ledger: KnownLedger, start: int, hashes: dict[int, str]) -> Iterator[Finding]:
    """The walk begins behind it, and takes its hash from the signature."""
    signed = ledger.mark(start)
    if signed is None:
        hashes[0] = ZEROS
        return
    there = RequestLog.objects.filter(chain=ledger.chain, sequence=start).values_list("hash", flat=True)
    told = {*there, *([hashes[start]] if start in hashes else [])}
    if told - {signed}:
        yield Finding("forged", ledger.chain, start, "its hash is not the one that was signed")
    if told:
        hashes[start] = signed


def _noting(hashes: dict[int, str], runs: Iterable[Run]) -> Iterator[Run]:
    for run in runs:
        hashes.update(enumerate(run.claimed, run.first))
        yield run
