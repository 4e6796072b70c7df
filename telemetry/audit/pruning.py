"""Removes calls for their age, as the retention rules say; legal holds stop it.

What is removed leaves a tombstone: which rows, and the hash of the last one of each run, signed. So the chain still
verifies, and nobody without the key can remove a row in this way.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q

from telemetry.audit.canonical import stamp
from telemetry.audit.keys import Signer
from telemetry.models import AuditTombstone, LegalHold, RequestLog, RetentionRule

ROWS_A_TOMBSTONE = 2000
Run = tuple[int, int, str]
"""First and last sequence number, and the hash of the last."""


def prune(signer: Signer, now: datetime, *, by: str, most: int | None = None) -> int:
    """Returns how many calls were removed, `most` at once when given."""
    removed = 0
    for rule, due in due_by_rule(now):
        while most is None or removed < most:
            at_once = ROWS_A_TOMBSTONE if most is None else min(ROWS_A_TOMBSTONE, most - removed)
            rows = list(due.order_by("chain", "sequence").only("chain", "sequence", "hash")[:at_once])
            if not rows:
                break
            _bury(signer, rows, reason=str(rule), by=by, now=now)
            removed += len(rows)
    return removed


def due_by_rule(now: datetime) -> Iterator[tuple[RetentionRule, "RequestLog.objects"]]:  # type: ignore[valid-type]
    """Each rule that removes anything at all, with the calls that are due under it."""
    rules = list(RetentionRule.objects.all())
    held = _held()
    for rule in rules:
        if rule.days is None:
            continue
        found = RequestLog.objects.filter(scope(rule), started_at__lt=now - timedelta(days=rule.days))
        found = found.exclude(chain="")
        for other in rules:
            if _is_narrower(other, rule):
                found = found.exclude(scope(other))
        yield rule, (found.exclude(held) if held else found)


def scope(rule: RetentionRule) -> Q:
    named = Q(tool_id=rule.tool_id) if rule.tool_id else Q()
    return named & (Q(outcome=rule.outcome) if rule.outcome else Q())


def _is_narrower(other: RetentionRule, rule: RetentionRule) -> bool:
    """Whether `other` applies before `rule` where both do: naming the client counts for more than the outcome."""
    return _weight(other) > _weight(rule)


def _weight(rule: RetentionRule) -> int:
    return 2 * bool(rule.tool_id) + bool(rule.outcome)


def _held() -> Q:
    """Empty when nothing is held."""
    held = Q()
    for hold in LegalHold.objects.filter(released_at=None):
        part = Q(tool_id=hold.tool_id) if hold.tool_id else Q()
        part &= Q(started_at__gte=hold.since) if hold.since else Q()
        part &= Q(started_at__lt=hold.until) if hold.until else Q()
        held |= part or Q(pk__gt=0)
    return held


def _bury(signer: Signer, rows: Sequence[RequestLog], *, reason: str, by: str, now: datetime) -> None:
    with transaction.atomic():
        for chain in dict.fromkeys(row.chain for row in rows):
            runs = runs_of([row for row in rows if row.chain == chain])
            count = sum(last - first + 1 for first, last, _ in runs)
            told = {
                "chain": chain,
                "runs": runs,
                "rows": count,
                "reason": reason,
                "by": by,
                "signedAt": stamp(now),
            }
            AuditTombstone.objects.create(
                chain=chain, signed_at=now, line=signer.sign("tombstone", told), first=runs[0][0], last=runs[-1][1],
                rows=count,
            )  # fmt: skip
        RequestLog.objects.filter(pk__in=[row.pk for row in rows]).delete()


def runs_of(rows: Sequence[RequestLog]) -> list[Run]:
    """Rows of one chain in order, as runs without gaps."""
    runs: list[Run] = []
    for row in rows:
        assert row.sequence is not None, "only rows of a chain are pruned"
        if runs and row.sequence == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], row.sequence, row.hash)
        else:
            runs.append((row.sequence, row.sequence, row.hash))
    return runs
