"""Removes calls for their age, as the retention rules say; legal holds stop it.

What is removed leaves a tombstone: which rows, the hash of the last one of each run and of the row before it, signed.
So the chain still verifies, and nobody without the key can remove a row in this way. Only what verifies is removed.
Checkpoints over nothing but such rows go with them.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import transaction
from django.db.models import Q

from telemetry.audit.beginning import let_go, next_beginning
from telemetry.audit.canonical import canonical, stamp
from telemetry.audit.chain import row_of
from telemetry.audit.keys import Signer
from telemetry.audit.verifier import ZEROS, row_hash
from telemetry.holds import held_calls
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog, RetentionRule

ROWS_A_TOMBSTONE = 2000


class Run(NamedTuple):
    """First and last sequence number of rows that went, the hash of the last, and that of the row before the first:
    what is left before a gap has no other signature over it until the next one."""

    first: int
    last: int
    digest: str
    before: str


class NotAsSigned(Exception):
    """Rows that are due are not what was recorded. They stay: with them the proof would go. Its text names the row."""


def prune(signer: Signer, now: datetime, *, by: str, most: int | None = None) -> int:
    """Returns how many calls were removed, `most` at once when given. Raises `NotAsSigned`."""
    removed = 0
    for rule in RetentionRule.objects.exclude(days=None):
        while most is None or removed < most:
            at_once = ROWS_A_TOMBSTONE if most is None else min(ROWS_A_TOMBSTONE, most - removed)
            buried = _bury_next(signer, rule, at_once, by=by, now=now)
            removed += buried
            if buried < at_once:
                break
    return removed


def _bury_next(signer: Signer, rule: RetentionRule, at_once: int, *, by: str, now: datetime) -> int:
    """Rules and holds are asked inside the transaction: one that was set a moment ago counts. Who else prunes waits."""
    with transaction.atomic():
        due = dict(due_by_rule(now)).get(rule)
        rows = [] if due is None else list(due.select_for_update().order_by("chain", "sequence")[:at_once])
        if rows:
            bury(signer, rows, reason=str(rule), by=by, now=now)
    return len(rows)


def due_by_rule(now: datetime) -> Iterator[tuple[RetentionRule, "RequestLog.objects"]]:  # type: ignore[valid-type]
    """Each rule that removes anything at all, with the calls that are due under it."""
    rules = list(RetentionRule.objects.all())
    held = held_calls()
    for rule in rules:
        if rule.days is None:
            continue
        found = RequestLog.objects.filter(scope(rule), started_at__lt=now - timedelta(days=rule.days))
        found = found.exclude(chain="")
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
    told_of = {
        chain: runs_of(chain, [row for row in rows if row.chain == chain])
        for chain in dict.fromkeys(row.chain for row in rows)
    }
    RequestLog.objects.filter(pk__in=[row.pk for row in rows]).delete()
    for chain, runs in told_of.items():
        begins = next_beginning(chain, runs)
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


def runs_of(chain: str, rows: Sequence[RequestLog]) -> list[Run]:
    """Rows of one chain in order, as runs without gaps. Raises `NotAsSigned`."""
    before, marks = _hashes_before(chain, _firsts(rows)), _marks(chain, rows)
    runs: list[Run] = []
    for row in rows:
        sequence = _sequence(row)
        goes_on = bool(runs) and sequence == runs[-1].last + 1
        previous = runs[-1].digest if goes_on else before.get(sequence, "")
        _require_genuine(row, previous, marks.get(sequence, row.hash))
        if goes_on:
            runs[-1] = runs[-1]._replace(last=sequence, digest=row.hash)
        else:
            runs.append(Run(sequence, sequence, row.hash, previous))
    return runs


def _require_genuine(row: RequestLog, previous: str, mark: str) -> None:
    """`previous`: the hash of the row before, "" where that is missing, which is a finding of its own."""
    if row.hash != mark or (previous and row.hash != row_hash(previous, canonical(row_of(row)))):
        raise NotAsSigned(
            f"Calls are not removed for their age: row {row.sequence} of chain {row.chain} is not as it was recorded"
        )


def _firsts(rows: Sequence[RequestLog]) -> list[int]:
    """Sequence numbers of the rows that do not follow another one."""
    numbers = [_sequence(row) for row in rows]
    there = set(numbers)
    return [number for number in numbers if number - 1 not in there]


def _hashes_before(chain: str, firsts: Sequence[int]) -> dict[int, str]:
    """By first row: the hash of the row before it, of which only a tombstone may be left."""
    rows = RequestLog.objects.filter(chain=chain, sequence__in=[first - 1 for first in firsts])
    found = {(sequence or 0) + 1: digest for sequence, digest in rows.values_list("sequence", "hash")}
    missing = [first for first in firsts if first not in found and first > 1]
    if missing:
        stones = AuditTombstone.objects.filter(
            chain=chain, last__gte=min(missing) - 1, first__lte=max(missing) - 1
        )
        found |= {run[1] + 1: run[2] for stone in stones for run in stone.entry()["runs"]}
    return {1: ZEROS} | found


def _marks(chain: str, rows: Sequence[RequestLog]) -> dict[int, str]:
    """What was signed of these rows."""
    ends = _sequence(rows[0]), _sequence(rows[-1])
    kept = AuditCheckpoint.objects.filter(chain=chain, sequence__range=ends)
    return {checkpoint.sequence: str(checkpoint.entry()["hash"]) for checkpoint in kept.iterator()}


def _sequence(row: RequestLog) -> int:
    assert row.sequence is not None, "only rows of a chain are pruned"
    return row.sequence
