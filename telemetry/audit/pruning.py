"""Removes calls for their age, as the retention rules say; legal holds stop it.

What is removed leaves a tombstone: which rows, the hash of the last one of each run and of the row before it, signed.
So the chain still verifies, and nobody without the key can remove a row in this way. Only what verifies is removed, from
the signature before it to the one behind it: else what somebody put there would be signed.
Checkpoints over nothing but such rows go with them.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from telemetry.audit.alone import alone
from telemetry.audit.beginning import let_go, next_beginning
from telemetry.audit.canonical import stamp
from telemetry.audit.keys import Signer
from telemetry.audit.proof import prove
from telemetry.audit.reader import LARGEST
from telemetry.audit.stones import covering
from telemetry.audit.verifier import ZEROS, Signatures
from telemetry.holds import held_calls
from telemetry.models import AuditTombstone, RequestLog, RetentionRule

ROWS_A_TOMBSTONE = 2000
PROVED_AT_ONCE = 10_000
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


def prune(signer: Signer, now: datetime, *, by: str, most: int | None = None) -> int:
    """Returns how many calls were removed, `most` at once when given. Raises `NotAsSigned` when all is done."""
    removed, faults = 0, []
    for rule in RetentionRule.objects.exclude(days=None):
        behind = Place("", 0)
        while most is None or removed < most:
            at_once = ROWS_A_TOMBSTONE if most is None else min(ROWS_A_TOMBSTONE, most - removed)
            done = _bury_next(signer, rule.pk, behind, at_once, by=by, now=now)
            removed, behind, faults = removed + done.removed, done.behind, faults + done.faults
            if done.looked_at < at_once:
                break
    if faults:
        raise NotAsSigned(faults[0], removed)
    return removed


class Place(NamedTuple):
    chain: str
    sequence: int


class Done(NamedTuple):
    """`looked_at`: how many rows were due; `behind`: where the next ones are looked for; `faults`: why some stayed."""

    looked_at: int
    removed: int
    behind: Place
    faults: list[str]


def _bury_next(signer: Signer, rule: int, behind: Place, at_once: int, *, by: str, now: datetime) -> Done:
    """Rules and holds are asked inside the transaction: one that was set a moment ago counts. Who else prunes waits."""
    with transaction.atomic():
        alone()
        named, due = next(
            ((each, found) for each, found in due_by_rule(now) if each.pk == rule), (None, None)
        )
        if named is None or due is None:
            return Done(0, 0, behind, [])
        chain, sequence = behind
        due = due.filter(Q(chain__gt=chain) | Q(chain=chain, sequence__gt=sequence))
        found = due.select_for_update().only("chain", "sequence", "hash").order_by("chain", "sequence")
        rows = [
            row for row in found[:at_once] if isinstance(row.sequence, int)
        ]  # SQLite takes other kinds too
        sound, faults = _sound(signer.signatures, rows)
        if sound:
            bury(signer, sound, reason=str(named), by=by, now=now)
    last = Place(rows[-1].chain, _sequence(rows[-1])) if rows else behind
    return Done(len(rows), len(sound), last, faults)


def _sound(signatures: Signatures, rows: Sequence[RequestLog]) -> tuple[list[RequestLog], list[str]]:
    """Those that are as they were recorded, and why the others are not."""
    sound: list[RequestLog] = []
    faults: list[str] = []
    for chain, group in _near_each_other(rows):
        proof = prove(signatures, chain, _sequence(group[0]), _sequence(group[-1]))
        good = [row for row in group if proof.holds(_sequence(row))]
        sound += good
        if len(good) < len(group):
            faults.append(NOT_REMOVED + proof.fault())
    return sound, faults


def _near_each_other(rows: Sequence[RequestLog]) -> Iterator[tuple[str, list[RequestLog]]]:
    """Of one chain, so few and so near to each other that all between them can be verified at once."""
    group: list[RequestLog] = []
    for row in rows:
        if group and (row.chain != group[-1].chain or _sequence(row) - _sequence(group[0]) > PROVED_AT_ONCE):
            yield group[0].chain, group
            group = []
        group.append(row)
    if group:
        yield group[0].chain, group


def due_by_rule(now: datetime) -> Iterator[tuple[RetentionRule, "RequestLog.objects"]]:  # type: ignore[valid-type]
    """Each rule that removes anything at all, with the calls that are due under it."""
    rules = list(RetentionRule.objects.all())
    held = held_calls()
    for rule in rules:
        if rule.days is None:
            continue
        found = RequestLog.objects.filter(scope(rule), started_at__lt=now - timedelta(days=rule.days))
        found = found.exclude(chain="").filter(sequence__gte=1, sequence__lte=LARGEST)
        for other in rules:
            if _is_narrower(other, rule):
                found = found.exclude(scope(other))
        yield rule, found.exclude(held)


def scope(rule: RetentionRule) -> Q:
    named = Q(tool_id=rule.tool_id) if rule.tool_id else Q()
    return named & (Q(outcome=rule.outcome) if rule.outcome else Q())


def _is_narrower(other: RetentionRule, rule: RetentionRule) -> bool:
    """Whether `other` applies before `rule` where both do: naming the client counts for more than the outcome."""
    return _weight(other) > _weight(rule)


def _weight(rule: RetentionRule) -> int:
    return 2 * bool(rule.tool_id) + bool(rule.outcome)


def bury(signer: Signer, rows: Sequence[RequestLog], *, reason: str, by: str, now: datetime) -> None:
    """Rows that verify, by chain and sequence number."""
    told_of = {
        chain: _runs_of(signer.signatures, chain, [row for row in rows if row.chain == chain])
        for chain in dict.fromkeys(row.chain for row in rows)
    }
    gone = RequestLog.objects.filter(pk__in=[row.pk for row in rows])
    gone._raw_delete(gone.db)  # `delete` would read them first, and nothing hangs on them
    for chain, runs in told_of.items():
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


def _runs_of(signatures: Signatures, chain: str, rows: Sequence[RequestLog]) -> list[Run]:
    """Rows of one chain in order, as runs without gaps."""
    before = _hashes_before(signatures, chain, _firsts(rows))
    runs: list[Run] = []
    for row in rows:
        sequence = _sequence(row)
        if runs and sequence == runs[-1].last + 1:
            runs[-1] = runs[-1]._replace(last=sequence, digest=row.hash)
        else:
            runs.append(Run(sequence, sequence, row.hash, before.get(sequence, "")))
    return runs


def _firsts(rows: Sequence[RequestLog]) -> list[int]:
    """Sequence numbers of the rows that do not follow another one."""
    numbers = [_sequence(row) for row in rows]
    there = set(numbers)
    return [number for number in numbers if number - 1 not in there]


def _hashes_before(signatures: Signatures, chain: str, firsts: Sequence[int]) -> dict[int, str]:
    """By first row: the hash of the row before it, of which only a tombstone may be left. None where that is missing,
    which is a finding of its own."""
    rows = RequestLog.objects.filter(chain=chain, sequence__in=[first - 1 for first in firsts])
    found = {(sequence or 0) + 1: digest for sequence, digest in rows.values_list("sequence", "hash")}
    missing = [first for first in firsts if first not in found and first > 1]
    if missing:
        stones = covering(chain, min(missing) - 1, max(missing) - 1, signatures)
        found |= {run[1] + 1: run[2] for entry in stones for run in entry["runs"]}
    return {1: ZEROS} | found


def _sequence(row: RequestLog) -> int:
    assert row.sequence is not None, "only rows of a chain are pruned"
    return row.sequence
