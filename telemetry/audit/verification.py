"""Verifies the record in the database against what was signed about it.

It may take long, and the record grows and is pruned meanwhile. So nothing is held: rows, checkpoints and their copies
are read side by side, in pages, up to where they were when it began; tombstones that came since are asked for where
rows are missing.
"""

import bisect
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import Max, QuerySet

from telemetry import odd_rows
from telemetry.audit import reader, side_by_side, storage
from telemetry.audit.as_signed import columns
from telemetry.audit.canonical import link_of
from telemetry.audit.copied import Copied
from telemetry.audit.copies import Copies
from telemetry.audit.period import end_of, start_of
from telemetry.audit.strays import chains_of, rows_outside_a_chain
from telemetry.audit.verifier import (
    BLOCK,
    MOST_FINDINGS,
    Finding,
    Gone,
    Ledger,
    Removals,
    Signatures,
    Walk,
    shown,
)
from telemetry.models import AuditCheckpoint, AuditTombstone, AuditVerification, RequestLog, Signed
from telemetry.unreadable import UNREADABLE, UnreadableCell, cells

KEPT, SCOPE = 100, 200
"""Of a verification: the findings that are kept, and the letters of its scope."""
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass
class Verified:
    """`findings`: of all `found` at most `most` of each kind in each chain, so that many of one do not hide another.
    `removals`: what genuine tombstones tell of. `copies`: how many checkpoints outside the database they were held against."""

    rows: int = 0
    found: int = 0
    findings: list[Finding] = field(default_factory=list)
    removals: Removals = field(default_factory=dict)
    copies: int = 0
    most: int | None = MOST_FINDINGS
    _kinds: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.found += 1
            self._kinds[finding.kind, finding.chain] += 1
            if self.most is None or self._kinds[finding.kind, finding.chain] <= self.most:
                self.findings.append(finding._replace(chain=shown(finding.chain), words=shown(finding.words)))


def verify(
    signatures: Signatures,
    outside: Copies | None,
    *,
    own: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    most: int | None = MOST_FINDINGS,
    processes: int = 1,
) -> Verified:
    """`outside`: the copies of the checkpoints; None when there are none to compare with. `own`: the chain whose copies
    have to reach as far as the database does. `since`, `until`: rows that were signed then, and what began then; and all
    checkpoints. `most`: findings of a kind in a chain that are told; None for all. `processes`: those that read and hash
    rows, where these are many. Raises `OSError` of the copies, and of processes.
    """
    verified = Verified(most=most)
    verified.add(storage.findings(of_period=bool(since or until)))
    verified.add(rows_outside_a_chain())
    # The file is a copy of the database: what it had before is in what the database has after.
    began, size = datetime.now(UTC), outside.size() if outside is not None else 0
    names: set[str] = set()
    for model in (AuditCheckpoint, AuditTombstone, RequestLog):
        verified.add(chains_of(model, names))
    verified.add(_only_in_copies(names, outside, size, signatures, verified))
    # All of them now: what one has when its turn comes, may have come after the copies were measured.
    chains = [_Chain(name, signatures, verified, processes) for name in sorted(names)]
    for chain in chains:
        chain.walk(outside and Copied(chain.name, outside, size, own, signatures, began), since, until)
    return verified


def _only_in_copies(
    chains: set[str], outside: Copies | None, size: int, signatures: Signatures, verified: Verified
) -> Iterator[Finding]:
    """Adds the chains of which only genuine copies tell."""
    for number, _, entry in outside.lines(size) if outside is not None else ():
        if entry is None:
            words = "the copies outside the database have a line there that is no checkpoint"
            yield Finding("copy", "", number, words)
            continue
        verified.copies += 1
        if entry["chain"] not in chains:
            if signatures.fault("checkpoint", entry):
                words = "the copies outside the database have a checkpoint there that is not genuine"
                yield Finding("copy", "", number, words)
            else:
                chains.add(entry["chain"])


class _Chain:
    """One chain: walks along its rows, and along its checkpoints at the same pace."""

    def __init__(self, chain: str, signatures: Signatures, verified: Verified, processes: int) -> None:
        self.name, self._signatures, self._verified, self._processes = chain, signatures, verified, processes
        rows = RequestLog.objects.filter(chain=chain, sequence__lte=reader.LARGEST)
        newest = rows.aggregate(last=Max("sequence"))["last"]
        kept = AuditCheckpoint.objects.filter(chain=chain, number__lte=reader.LARGEST).order_by("-number")
        # After the rows: a row is stored together with the signature over it.
        last = next(_readable(kept[:1]), None)
        signed = last.entry()["sequence"] if last else 0
        self._last = max(_number(newest), signed if signed <= reader.LARGEST else 0)
        self._newest = _number(last.number) if last else 0

    def walk(self, copied: Copied | None, since: datetime | None, until: datetime | None) -> None:
        """A part that cannot be read is told of, and the chains behind this one are verified all the same."""
        at = 0
        try:
            checkpoints = _checkpoints(self.name, self._newest)
            ledger = _Ledger(self.name, self._signatures, checkpoints, copied, self._verified)
            start, end = start_of(self.name, since), end_of(self.name, until, self._last)
            at = start.sequence
            walk = Walk(ledger, at=at, previous=start.hash)
            if start.sequence < end or not until:
                at = self._along(walk, end)
            if until and walk.at < end:
                self._verified.add(walk.end(end))  # before the signatures behind it are read
            ledger.finish()
            if not until:
                self._verified.add(walk.end())
            self._verified.rows += walk.rows
        except UNREADABLE as error:
            self._verified.add([self._unread(at, error)])

    def _along(self, walk: Walk, end: int) -> int:
        try:
            rows = side_by_side.runs(self.name, after=walk.at, until=end, processes=self._processes)
            self._verified.add(walk.along(rows))
        except UNREADABLE as error:
            self._verified.add([self._unread(walk.at, error)])
            walk.at = end
        return walk.at

    def _unread(self, at: int, error: Exception) -> Finding:
        words = f"something behind it cannot be read ({type(error).__name__}), and was not verified"
        return Finding("unreadable", self.name, at, words)


class _Ledger(Ledger):
    """Reads checkpoints as rows come to them, so `marks` is asked by ascending numbers; and tombstones anew where rows
    are missing. `verified`: takes findings, and what is gone."""

    link_of = staticmethod(link_of)

    def __init__(
        self,
        chain: str,
        signatures: Signatures,
        checkpoints: Iterator[AuditCheckpoint],
        copied: Copied | None,
        verified: Verified,
    ) -> None:
        super().__init__(chain, signatures, verified.removals)
        self._checkpoints, self._copied, self._told = checkpoints, copied, verified.add
        self._reached = 0
        self._is_over = False
        self._newest_stone: int | None = None
        self._told(self.look_again())
        self._before = [(gone.first, gone.last) for gone in self.gone]
        self._went = _joined(self._before)
        self._passed = 0

    def marks(self, first: int, last: int) -> dict[int, str]:
        """Where the database has none, or another one, that of a genuine copy counts."""
        signed: dict[int, str] = {}
        while first <= last:
            while self._reached < first and self._read():
                pass
            upto = last if self._is_over else min(last, self._reached)
            signed |= super().marks(first, upto)
            if self._copied is not None:
                if self._is_over:
                    self._told(self._copied.upto(upto, self))
                signed |= self._copied.marks(first, upto)
            first = upto + 1
        return signed

    def finish(self) -> None:
        while self._read():
            pass
        if self._copied is not None:
            self._told(self.look_again())
            self._told(self._copied.end(self))

    def _read(self) -> bool:
        block = list(itertools.islice(self._checkpoints, BLOCK))
        if not block:
            self._is_over = True
            return False
        self._marks = {}
        # After them: which were let go meanwhile is known by then.
        self._told(self.look_again())
        entries = [kept.entry() for kept in block]
        self._told(self.checkpoints(entries))
        for kept, entry in zip(block, entries, strict=True):
            self._told(columns(kept, entry))
            if self._copied is not None:
                self._told(self._copied.beside(kept, self))
        # Of what is genuine alone: a forged number would hide those behind it.
        self._reached = max(self._reached, max(self._marks, default=0))
        return True

    def look_again(self) -> Iterator[Finding]:
        stones = AuditTombstone.objects.filter(chain=self.chain).order_by("pk")
        if self._newest_stone is not None:
            stones = stones.filter(pk__gt=self._newest_stone)
        entries = []
        for stone in _readable(stones):
            self._newest_stone = stone.pk
            entries.append(stone.entry())
            yield from columns(stone, entries[-1])
        yield from self.tombstones(entries)

    def is_new(self, gone: Gone) -> bool:
        at = bisect.bisect_left(self._before, (gone.first, gone.last))
        return self._before[at : at + 1] != [(gone.first, gone.last)]

    def back(self, first: int, last: int) -> set[int]:
        """Asked for by ascending numbers too."""
        while self._passed < len(self._went) and self._went[self._passed][1] < first:
            self._passed += 1
        there: set[int] = set()
        for start, end in itertools.islice(self._went, self._passed, None):
            if start > last:
                break
            there.update(range(max(first, start), min(last, end) + 1))
        return there


def _joined(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending ones as a few that do not touch: somebody may have put in a tombstone a thousand times."""
    joined: list[tuple[int, int]] = []
    for first, last in ranges:
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return joined


def _checkpoints(chain: str, last: int) -> Iterator[AuditCheckpoint]:
    number = -1
    while True:
        kept = AuditCheckpoint.objects.filter(chain=chain, number__gt=number, number__lte=last)
        page = list(_readable(kept.order_by("number")[:BLOCK]))
        yield from page
        if len(page) < BLOCK:
            return
        number = page[-1].number


def _readable(found: QuerySet[Signed]) -> Iterator[Any]:
    """One by one where a row cannot be read; in its place stands one without a signature."""
    try:
        rows = list(found)
    except UNREADABLE:
        rows = [_one(found.model, key) for key in list(found.values_list("pk", flat=True))]
    for row in rows:
        line, signed_at = row.__dict__.get("line"), row.__dict__.get("signed_at")
        yield row if isinstance(line, str) and isinstance(signed_at, datetime) else _stub(row)


def _one(model: type[Signed], key: int) -> Signed:
    try:
        return model.objects.get(pk=key)
    except UNREADABLE:
        return _place_of(model, key)


def _place_of(model: type[Signed], key: int) -> Signed:
    try:
        return model.objects.only("chain", *model.PLACE).get(pk=key)
    except UNREADABLE:
        nowhere = dict.fromkeys(model.PLACE, 0)
        return model(pk=key, chain=model.objects.values_list("chain", flat=True).get(pk=key), **nowhere)


def _stub(row: Signed) -> Signed:
    facts = {name: getattr(row, name) for name in ("pk", "chain", *row.PLACE)}
    return type(row)(line="", signed_at=NEVER, **facts)


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0  # SQLite takes other kinds too


def newest() -> tuple[AuditCheckpoint | None, AuditVerification | None]:
    """The newest signature, and the newest verification of the whole record against the gateway's own keys and copies:
    what `/health` and the metrics go by. One of a part, or with a key that somebody brought along, says less."""
    whole = AuditVerification.objects.filter(whole=True)
    return (
        odd_rows.first(AuditCheckpoint.objects.order_by("-pk"), "signed_at"),
        odd_rows.first(whole.order_by("-pk"), "started_at"),
    )


def due_since() -> datetime | None:
    """Since when the whole record has not been verified: the last time it was, else its first signature. None where
    there is nothing to verify; `NEVER` where nothing says when."""
    try:
        with cells():
            return _last_verified()
    except UnreadableCell:
        return NEVER


def _last_verified() -> datetime | None:
    whole = AuditVerification.objects.filter(whole=True).order_by("-pk").values_list("started_at", flat=True)
    signed = AuditCheckpoint.objects.order_by("pk").values_list("signed_at", flat=True)
    # Before the signatures: each row is stored together with one.
    has_rows = RequestLog.objects.exists()
    for moments in (whole, signed):
        for moment in moments[:1]:
            return moment or NEVER  # of some texts, SQLite's driver makes nothing without a word
    return NEVER if has_rows else None


def keep(verified: Verified, *, by: str, scope: str, whole: bool, started_at: datetime) -> AuditVerification:
    return AuditVerification.objects.create(
        started_at=started_at, finished_at=datetime.now(UTC), by=by, scope=scope[:SCOPE], whole=whole, rows=verified.rows,
        found=verified.found, findings=[str(finding) for finding in verified.findings[:KEPT]],
    )  # fmt: skip
