"""Removes calls for their age, as the retention rules say; legal holds stop it.

What is removed leaves a tombstone: which rows, the hash of the last one of each run and of the row before it, signed.
So the chain still verifies, and nobody without the key can remove a row in this way. Only what verifies is removed, from
the signature before it to the one behind it: else what somebody put there would be signed.
Checkpoints over nothing but such rows go with them.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import CharField, F, Func, Q

from telemetry.audit.alone import alone
from telemetry.audit.beginning import let_go, next_beginning
from telemetry.audit.canonical import stamp
from telemetry.audit.keys import Signer
from telemetry.audit.proof import prove
from telemetry.audit.reader import LARGEST
from telemetry.holds import held_calls
from telemetry.models import AuditTombstone, RequestLog, RetentionRule

ROWS_A_TOMBSTONE = 2000
FAR_APART, READ_AT_ONCE = 500, 20_000
NOT_REMOVED = "Calls are not removed for their age where the record is not as it was signed: "


class Run(NamedTuple):
    """First and last sequence number of rows that went, the hash of the last, and that of the row before the first:
    what is left before a gap has no other signature over it until the next one."""

    first: int
    last: int
    digest: str
    before: str


class NotAsSigned(Exception):
    """Rows that are due, or such as they are proved with, are not what was recorded. They stay: with them the proof would
    go. Its text names one. `removed`: how many others were removed all the same."""

    def __init__(self, words: str, removed: int) -> None:
        super().__init__(words)
        self.removed = removed


class Place(NamedTuple):
    """How far the rules have been gone through: behind this row of those that are due under the rule."""

    rule: int = 0
    chain: str = ""
    sequence: int = 0


class Part(NamedTuple):
    """`place`: where to go on; None when all rules have been gone through. `faults`: why some rows stayed."""

    removed: int
    place: Place | None
    faults: list[str]


def prune(signer: Signer, now: datetime, *, by: str, most: int | None = None) -> int:
    """Returns how many calls were removed, `most` at once when given. Raises `NotAsSigned` when all is done."""
    removed, faults, place = 0, [], Place()
    while place is not None and (most is None or removed < most):
        at_once = ROWS_A_TOMBSTONE if most is None else min(ROWS_A_TOMBSTONE, most - removed)
        part = prune_part(signer, place, now, by=by, at_once=at_once)
        removed, place, faults = removed + part.removed, part.place, faults or part.faults
    if faults:
        raise NotAsSigned(faults[0], removed)
    return removed


def prune_part(
    signer: Signer, place: Place, now: datetime, *, by: str, at_once: int = ROWS_A_TOMBSTONE
) -> Part:
    """So few that whoever waits for the database does not wait long, whether they can be removed or not. Rules and holds
    are asked inside the transaction: one that was set a moment ago counts. Who else prunes waits."""
    with transaction.atomic():
        alone()
        rules = {rule: due for rule, due in due_by_rule(now) if rule.pk >= place.rule}
        if not rules:
            return Part(0, None, [])
        rule = min(rules, key=lambda each: each.pk)
        if rule.pk > place.rule:
            place = Place(rule.pk)
        found = rules[rule].filter(
            Q(chain__gt=place.chain) | Q(chain=place.chain, sequence__gt=place.sequence)
        )
        locked = found.select_for_update().only("chain", "sequence", "hash").order_by("chain", "sequence")
        rows = list(locked[:at_once])
        looked_at, removed, faults = bury(signer, rows, reason=str(rule), by=by, now=now)
    if looked_at == at_once or looked_at < len(rows):
        last = rows[looked_at - 1]
        return Part(removed, Place(rule.pk, last.chain, _sequence(last)), faults)
    return Part(removed, Place(rule.pk + 1) if len(rules) > 1 else None, faults)


def _near_each_other(rows: Sequence[RequestLog]) -> Iterator[list[RequestLog]]:
    """Of one chain, and so near to each other that all between them is verified at once."""
    group: list[RequestLog] = []
    for row in rows:
        if group and (row.chain != group[-1].chain or _sequence(row) - _sequence(group[-1]) > FAR_APART):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def due_by_rule(now: datetime) -> Iterator[tuple[RetentionRule, "RequestLog.objects"]]:  # type: ignore[valid-type]
    """Each rule that removes anything at all, with the calls that are due under it."""
    rules = list(RetentionRule.objects.all())
    held = held_calls()
    for rule in rules:
        if rule.days is None:
            continue
        found = RequestLog.objects.filter(scope(rule), started_at__lt=now - timedelta(days=rule.days))
        found = numbered(found).exclude(chain="").filter(sequence__gte=1, sequence__lte=LARGEST)
        for other in rules:
            if _is_narrower(other, rule):
                found = found.exclude(scope(other))
        yield rule, found.exclude(held)


def numbered(rows: "RequestLog.objects") -> "RequestLog.objects":  # type: ignore[valid-type]
    """SQLite takes other kinds of values too."""
    if connection.vendor != "sqlite":
        return rows
    kind = Func(F("sequence"), function="typeof", output_field=CharField())
    return rows.alias(kind=kind).filter(kind="integer")


def scope(rule: RetentionRule) -> Q:
    named = Q(tool_id=rule.tool_id) if rule.tool_id else Q()
    return named & (Q(outcome=rule.outcome) if rule.outcome else Q())


def _is_narrower(other: RetentionRule, rule: RetentionRule) -> bool:
    """Whether `other` applies before `rule` where both do: naming the client counts for more than the outcome."""
    return _weight(other) > _weight(rule)


def _weight(rule: RetentionRule) -> int:
    return 2 * bool(rule.tool_id) + bool(rule.outcome)


class Proved(NamedTuple):
    """A row that is as it was recorded, and what was signed of it and of the one before."""

    pk: int
    chain: str
    sequence: int
    digest: str
    before: str


class Buried(NamedTuple):
    looked_at: int
    removed: int
    faults: list[str]


def bury(signer: Signer, rows: Sequence[RequestLog], *, reason: str, by: str, now: datetime) -> Buried:
    """`rows`: by chain and sequence number. Those that verify are removed; looked at are so many that few others have to
    be read to prove them."""
    proved: list[Proved] = []
    faults: list[str] = []
    looked_at = read = 0
    for group in _near_each_other(rows):
        if read >= READ_AT_ONCE:
            break
        looked_at += len(group)
        proof = prove(signer.signatures, group[0].chain, _sequence(group[0]), _sequence(group[-1]))
        read += proof.rows
        sound = [row for row in group if proof.holds(_sequence(row), row.hash)]
        proved += [
            Proved(row.pk, row.chain, _sequence(row), row.hash, proof.before(_sequence(row))) for row in sound
        ]
        if len(sound) < len(group):
            faults.append(NOT_REMOVED + proof.fault())
    gone = RequestLog.objects.filter(pk__in=[row.pk for row in proved])
    gone._raw_delete(gone.db)  # `delete` would read them first, and nothing hangs on them
    for chain in dict.fromkeys(row.chain for row in proved):
        runs = runs_of(row for row in proved if row.chain == chain)
        _note(signer, chain, runs, reason=reason, by=by, now=now)
    return Buried(looked_at, len(proved), faults)


def _note(signer: Signer, chain: str, runs: Sequence[Run], *, reason: str, by: str, now: datetime) -> None:
    begins = next_beginning(signer.signatures, chain, runs)
    count = sum(run.last - run.first + 1 for run in runs)
    told = {
        "chain": chain,
        "runs": [list(run) for run in runs],
        "rows": count,
        "reason": reason,
        "by": by,
        "signedAt": stamp(now),
    }
    if begins is not None:
        told["begins"] = begins.told()
        let_go(chain, begins)
    AuditTombstone.objects.create(
        chain=chain, signed_at=now, line=signer.sign("tombstone", told),
        first=runs[0].first, last=runs[-1].last, rows=count,
    )  # fmt: skip


def runs_of(rows: Iterable[Proved]) -> list[Run]:
    """Rows of one chain in order, as runs without gaps."""
    runs: list[Run] = []
    for row in rows:
        if runs and row.sequence == runs[-1].last + 1:
            runs[-1] = runs[-1]._replace(last=row.sequence, digest=row.digest)
        else:
            runs.append(Run(row.sequence, row.sequence, row.digest, row.before))
    return runs


def _sequence(row: RequestLog) -> int:
    assert row.sequence is not None, "only rows of a chain are pruned"
    return row.sequence
