"""Proves a part of a chain on its own: from the last signature before it to the first one that covers all of it."""

import bisect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from telemetry.audit import reader
from telemetry.audit.canonical import link_of
from telemetry.audit.stones import covering
from telemetry.audit.verifier import ZEROS, Finding, Ledger, Signatures, Walk
from telemetry.models import AuditCheckpoint, RequestLog


class KnownLedger(Ledger):
    """Of what is there now, with nobody who prunes meanwhile: what a tombstone covers has to be gone."""

    link_of = staticmethod(link_of)

    def is_back(self, sequence: int) -> bool:
        return self.over(sequence) is not None


@dataclass
class Proof:
    """`start`: the signature before the part, or 0; `marks`: the rows that are signed from there on, ascending."""

    chain: str
    start: int
    marks: list[int]
    findings: list[Finding]

    def holds(self, sequence: int) -> bool:
        """Whether the hashes of this row and of the one before it are those that were signed."""
        return self._is_signed(sequence) and (sequence - 1 == self.start or self._is_signed(sequence - 1))

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
        for finding in self.findings:
            if finding.kind != "checkpoint":
                return f"row {finding.sequence} of chain {self.chain}: {finding.words}"
        return (
            f"behind row {max(self.start, *self.marks, 0)} of chain {self.chain} no signature can be believed"
        )


def prove(signatures: Signatures, chain: str, first: int, last: int) -> Proof:
    """Rows `first` to `last`, and the one before them."""
    ledger = KnownLedger(chain, signatures)
    entries = list(_checkpoints(chain, first, last))
    findings = list(ledger.checkpoints(entries, whole=False))
    marks = sorted({entry["sequence"] for entry in entries if ledger.mark(entry["sequence"]) is not None})
    start = marks[0] if marks and marks[0] < first else 0
    end = max([last, *marks])
    findings += ledger.tombstones(covering(chain, start, end, signatures))
    findings += _at_start(ledger, start)
    walk = Walk(ledger, at=start, previous=ledger.mark(start) if start else ZEROS)
    findings += walk.bodies(reader.bodies(chain, after=start, until=end))
    findings += walk.end(max([0, *marks]))
    return Proof(chain, start, marks, findings)


def _checkpoints(chain: str, first: int, last: int) -> Iterator[dict[str, Any]]:
    """From the last one before the part to the first one over all of it."""
    kept = AuditCheckpoint.objects.filter(chain=chain).order_by("number")
    ends = {
        "number__gte": kept.filter(sequence__lt=first).values_list("number", flat=True).last(),
        "number__lte": kept.filter(sequence__gte=last).values_list("number", flat=True).first(),
    }
    named = {name: number for name, number in ends.items() if number is not None}
    # Nothing else is read: a column that cannot be would keep all rows from being removed.
    return (
        checkpoint.entry()
        for checkpoint in kept.filter(**named).only("chain", "line", *AuditCheckpoint.PLACE)
    )


def _at_start(ledger: KnownLedger, start: int) -> Iterator[Finding]:
    """The walk begins behind it, and takes its hash from the signature."""
    row = RequestLog.objects.filter(chain=ledger.chain, sequence=start).only("hash").first()
    gone = ledger.over(start)
    told = row.hash if row is not None else gone.digest if gone and gone.last == start else None
    if start and told not in (None, ledger.mark(start)):
        yield Finding("forged", ledger.chain, start, "its hash is not the one that was signed")
