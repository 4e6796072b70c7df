"""Verifies the record in the database against what was signed about it.

It may take long, and the record grows and is pruned meanwhile. So nothing is held: rows, checkpoints and their copies
are read side by side, in pages, up to where they were when it began; tombstones that came since are asked for where
rows are missing.
"""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connection
from django.db.models import CharField, Max, Q, QuerySet
from django.db.models.functions import Cast

from telemetry import odd_rows
from telemetry.audit import reader
from telemetry.audit.canonical import stamp
from telemetry.audit.copied import Copied
from telemetry.audit.copies import Copies
from telemetry.audit.period import end_of, start_of
from telemetry.audit.verifier import BLOCK, MOST_FINDINGS, ZEROS, Finding, Ledger, Removals, Signatures, Walk
from telemetry.models import AuditCheckpoint, AuditTombstone, AuditVerification, RequestLog, Signed

KEPT, SCOPE = 100, 200
"""Of a verification: the findings that are kept, and the letters of its scope."""
NEVER = datetime.min.replace(tzinfo=UTC)
UNREADABLE = (DatabaseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading raises where somebody has put into a column what it cannot hold."""
Chained = type[RequestLog] | type[AuditCheckpoint]


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
                self.findings.append(finding)


def verify(
    signatures: Signatures,
    outside: Copies | None,
    *,
    own: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    most: int | None = MOST_FINDINGS,
) -> Verified:
    """`outside`: the copies of the checkpoints; None when there are none to compare with. `own`: the chain whose copies
    have to reach as far as the database does. `since`, `until`: rows that were signed then, and what began then; and all
    checkpoints. `most`: findings of a kind in a chain that are told; None for all. Raises `OSError` of the copies.
    """
    verified = Verified(most=most)
    verified.add(_rows_outside_a_chain())
    # The file is a copy of the database: what it had before is in what the database has after.
    size = outside.size() if outside is not None else 0
    chains: set[str] = set()
    for model in (AuditCheckpoint, RequestLog):
        verified.add(_chains(model, chains))
    for number, _, entry in outside.lines(size) if outside is not None else ():
        if entry is None:
            words = "the copies outside the database have a line there that is no checkpoint"
            verified.add([Finding("copy", "", number, words)])
        else:
            chains.add(entry["chain"])
            verified.copies += 1
    for chain in sorted(chains):
        copied = None if outside is None else Copied(chain, outside, size, own, signatures)
        _Chain(chain, signatures, copied, verified).walk(since, until)
    return verified


def _rows_outside_a_chain() -> Iterator[Finding]:
    """Every row was chained when it was stored."""
    nowhere = Q(sequence=None) | Q(sequence__lt=1) | Q(sequence__gt=reader.LARGEST)
    beside = RequestLog.objects.filter(Q(chain="") | nowhere).order_by("id")
    # As text: what it is called may be no call id either.
    names = beside.annotate(name=Cast("call_id", CharField())).values_list("name", flat=True)
    for name in names.iterator():
        yield Finding(
            "forged", "", 0, f"the row with call id {_as_call_id(name)} was put in beside the chain"
        )


def _as_call_id(name: str) -> str:
    try:
        return str(UUID(name))
    except ValueError:
        return ascii(name)


def _chains(model: Chained, names: set[str]) -> Iterator[Finding]:
    """Adds the names of the chains that it has rows of."""
    try:
        found = list(model.objects.exclude(chain="").order_by().values_list("chain", flat=True).distinct())
    except DatabaseError:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT DISTINCT CAST(chain AS BLOB) FROM {model._meta.db_table}")  # noqa: S608 - our name
            found = [_text(name) for (name,) in cursor.fetchall() if name]
    names |= {name for name in found if isinstance(name, str)}
    if any(not isinstance(name, str) for name in found):
        words = (
            f"{model._meta.verbose_name_plural} name a chain that cannot be read: they were put in beside it"
        )
        yield Finding("forged", "", 0, words)


def _text(name: bytes) -> str | bytes:
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name


class _Chain:
    """One chain: walks along its rows, and along its checkpoints at the same pace."""

    def __init__(self, chain: str, signatures: Signatures, copied: Copied | None, verified: Verified) -> None:
        self._name, self._verified = chain, verified
        rows = RequestLog.objects.filter(chain=chain, sequence__lte=reader.LARGEST)
        newest = rows.aggregate(last=Max("sequence"))["last"]
        kept = AuditCheckpoint.objects.filter(chain=chain, number__lte=reader.LARGEST).order_by("-number")
        # After the rows: a row is stored together with the signature over it.
        last = next(_readable(kept[:1]), None)
        self._last = max(newest or 0, last.entry()["sequence"] if last else 0)
        checkpoints = _checkpoints(chain, last.number if last else 0)
        self._ledger = _Ledger(chain, signatures, checkpoints, copied, verified)

    def walk(self, since: datetime | None, until: datetime | None) -> None:
        start, end = start_of(self._name, since), end_of(self._name, until, self._last)
        walk = Walk(self._ledger, at=start.sequence, previous=start.hash)
        if start.sequence < end or not until:
            try:
                self._verified.add(walk.bodies(reader.bodies(self._name, after=walk.at, until=end)))
            except UNREADABLE as error:
                words = f"something behind it cannot be read ({type(error).__name__}), and was not verified"
                self._verified.add([Finding("unreadable", self._name, walk.at, words)])
                walk.at = end
        self._ledger.finish()
        self._verified.add(walk.end(end if until else None) if walk.at < end or not until else ())
        self._verified.rows += walk.rows


class _Ledger(Ledger):
    """Reads checkpoints as rows come to them, so `mark` is asked by ascending numbers; and tombstones anew where rows
    are missing. `verified`: takes findings, and what is gone."""

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
        self._newest_stone = 0
        self._told(self.look_again())
        self._before = [(gone.first, gone.last) for gone in self.gone]
        self._passed = 0

    def mark(self, sequence: int) -> str | None:
        """Where the database has none, that of a genuine copy counts."""
        while self._reached < sequence and self._read():
            pass
        found = super().mark(sequence)
        if found is None and self._copied is not None:
            if self._is_over:
                self._told(self._copied.upto(sequence, self))
            found = self._copied.mark(sequence)
        return found

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
            self._told(_columns(kept, entry))
            if self._copied is not None:
                self._told(self._copied.beside(kept, self))
        # Of what is genuine alone: a forged number would hide those behind it.
        self._reached = max(self._reached, max(self._marks, default=0))
        return True

    def look_again(self) -> Iterator[Finding]:
        stones = AuditTombstone.objects.filter(chain=self.chain, pk__gt=self._newest_stone).order_by("pk")
        for stone in _readable(stones):
            self._newest_stone = stone.pk
            entry = stone.entry()
            yield from self.tombstones([entry])
            yield from _columns(stone, entry)

    def is_back(self, sequence: int) -> bool:
        before = self._before
        while self._passed < len(before) and before[self._passed][1] < sequence:
            self._passed += 1
        return self._passed < len(before) and before[self._passed][0] <= sequence


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
        is_whole = not row.get_deferred_fields() and isinstance(row.line, str)
        yield row if is_whole and isinstance(row.signed_at, datetime) else _stub(row)


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


def _columns(kept: AuditCheckpoint | AuditTombstone, entry: dict[str, Any]) -> Iterator[Finding]:
    """Pages and queries go by the columns beside what was signed."""
    signed = kept.columns(entry)
    if any(getattr(kept, name) != value for name, value in signed.items()) or (
        entry.get("signedAt") not in (None, stamp(kept.signed_at))
    ):
        kind = "checkpoint" if isinstance(kept, AuditCheckpoint) else "tombstone"
        yield Finding(
            kind, kept.chain, getattr(kept, kept.PLACE[0]), "the columns beside it are not what was signed"
        )


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
    """The newest signature, and the newest verification of the whole record against the gateway's own keys and copies:
    what `/health` and the metrics go by. One of a part, or with a key that somebody brought along, says less."""
    whole = AuditVerification.objects.filter(whole=True)
    return (
        odd_rows.first(AuditCheckpoint.objects.order_by("-pk"), "signed_at"),
        odd_rows.first(whole.order_by("-pk"), "started_at"),
    )


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
        started_at=started_at, finished_at=datetime.now(UTC), by=by, scope=scope[:SCOPE], whole=whole, rows=verified.rows,
        found=verified.found, findings=[str(finding) for finding in verified.findings[:KEPT]],
    )  # fmt: skip
