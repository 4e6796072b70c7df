"""Holds the copies of one chain's checkpoints, in the file outside, against those in the database."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from telemetry.audit.copies import Copies
from telemetry.audit.verifier import Finding, Ledger, Signatures
from telemetry.models import AuditCheckpoint

COPIED_WITHIN = timedelta(minutes=1)
"""How long a checkpoint may be without its copy: the file is written after the database."""
AFTER_A_CRASH = (
    ": a crash just before it was copied looks the same, and the next start of the server adds the copy"
)


class _Run(NamedTuple):
    """Checkpoints that follow each other by number, and the row that the last one signs."""

    first: int
    last: int
    row: int


class Copied:
    """Both ascend by their numbers. What only the copies have is told of in runs, and what it signs still counts."""

    def __init__(
        self, chain: str, outside: Copies, size: int, own: str | None, signatures: Signatures, began: datetime
    ) -> None:
        self._chain, self._signatures, self._is_own = chain, signatures, chain == own
        self._lines = outside.of(chain, size)
        self._next = next(self._lines, None)
        self._passed = 0
        self._missing: AuditCheckpoint | None = None
        self._only: _Run | None = None
        self._marks: dict[int, str] = {}
        self._reached = 0
        self._began = began

    def beside(self, kept: AuditCheckpoint, ledger: Ledger) -> Iterator[Finding]:
        """`ledger`: which checkpoints were let go with their rows, or are known to be lost. Their copies say nothing
        any more."""
        while self._next is not None and self._next[1]["number"] < kept.number:
            yield from self._only_outside(ledger)
        if self._next is None or self._next[1]["number"] != kept.number:
            self._missing = self._missing or kept
            return
        yield from self._told()
        yield from self._lacking(kept.number)
        text, entry = self._take()
        if text.rstrip(b"\n") != kept.line.encode("utf-8", "surrogatepass") and entry != kept.entry():
            if self._signatures.fault("checkpoint", entry):
                yield self._copy(kept.number, "the copy outside the database is not genuine")
            else:
                self._marks_also(entry)
                words = "the database says otherwise than the copy outside of it"
                yield Finding("checkpoint", self._chain, kept.number, words)

    def marks(self, first: int, last: int) -> dict[int, str]:
        """The hashes that only the copies say were signed, for these rows and those between."""
        return {sequence: self._marks[sequence] for sequence in self._marks.keys() & range(first, last + 1)}

    def upto(self, sequence: int, ledger: Ledger) -> Iterator[Finding]:
        """Where the database has no more: reads on until a copy signs this row, or one behind it."""
        while self._next is not None and self._reached < sequence:
            yield from self._only_outside(ledger)

    def end(self, ledger: Ledger) -> Iterator[Finding]:
        while self._next is not None:
            yield from self._only_outside(ledger)
        yield from self._told()
        # Those of another chain may lie beside another server; the last one may be on its way.
        if (
            self._missing is not None
            and self._is_own
            and self._missing.signed_at < self._began - COPIED_WITHIN
        ):
            words = (
                f"the copies outside the database end before checkpoint {self._missing.number}{AFTER_A_CRASH}"
            )
            yield self._copy(self._missing.number, words)

    def _take(self) -> tuple[bytes, dict[str, Any]]:
        assert self._next is not None, "asked for where there is one"
        taken, self._next = self._next, next(self._lines, None)
        self._passed = max(self._passed, taken[1]["number"])
        return taken

    def _lacking(self, number: int) -> Iterator[Finding]:
        if self._missing is not None:
            words = f"the copies outside the database lack {self._missing.number} to {number - 1}"
            yield self._copy(self._missing.number, words)
            self._missing = None

    def _only_outside(self, ledger: Ledger) -> Iterator[Finding]:
        passed = self._passed
        _, entry = self._take()
        number = entry["number"]
        if number < ledger.begins[0] or any(first <= number <= last for first, last in ledger.lost):
            return
        if self._signatures.fault("checkpoint", entry):
            yield self._copy(number, "the copy outside the database is not genuine")
        elif number <= passed:
            yield self._copy(number, "the copies outside the database are out of order, or it is there twice")
        else:
            self._marks_also(entry)
            if self._only is not None and number != self._only.last + 1:
                yield from self._told()
            first = self._only.first if self._only is not None else number
            self._only = _Run(first, number, entry["sequence"])

    def _marks_also(self, entry: dict[str, Any]) -> None:
        self._marks[entry["sequence"]] = entry["hash"]
        self._reached = max(self._reached, entry["sequence"])

    def _told(self) -> Iterator[Finding]:
        """The run of those that the database lacks, which is over."""
        if self._only is None:
            return
        first, last, row = self._only
        self._only = None
        which = f"checkpoint {first}" if first == last else f"checkpoints {first} to {last}"
        words = f"the database does not have {which} (row {row} was signed): it was cut, or an older copy restored"
        yield Finding("restored", self._chain, first, words)

    def _copy(self, number: int, words: str) -> Finding:
        return Finding("copy", self._chain, number, words)
