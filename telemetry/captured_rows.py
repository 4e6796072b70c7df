"""The rows of kept content, and the record of who opened one and why."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Q, QuerySet

from telemetry.captured import SealedContent
from telemetry.holds import held_content
from telemetry.models import CapturedContent, ContentAccess

ROWS_A_STATEMENT = 50
Reseal = Callable[[bytes, str], bytes]
"""`(sealed, call id)` → sealed under the newest key."""


def store(lines: Iterable[SealedContent]) -> None:
    """What is there already stays as it is."""
    rows = [
        CapturedContent(
            call_id=line.call_id,
            tool_id=line.tool_id[:200],
            key_id=line.key_id[:16],
            ciphertext=line.sealed,
            size=len(line.sealed),
            stored_at=datetime.fromtimestamp(line.stored_at, UTC),
            expires_at=datetime.fromtimestamp(line.expires_at, UTC),
        )
        for line in lines
    ]
    if rows:
        CapturedContent.objects.bulk_create(rows, batch_size=ROWS_A_STATEMENT, ignore_conflicts=True)


def prune(now: datetime) -> None:
    """What a legal hold keeps stays until it is released."""
    old = CapturedContent.objects.filter(expires_at__lte=now).exclude(held_content())
    old._raw_delete(old.db)


def find(call_id: Any, now: datetime) -> CapturedContent | None:
    """None when nothing is kept, or its days are over and no legal hold keeps it. Its ciphertext is read on use."""
    kept = CapturedContent.objects.filter(Q(expires_at__gt=now) | held_content())
    return kept.defer("ciphertext").filter(call_id=call_id).first()


class Held(Exception):
    """A legal hold keeps the content."""


def is_held(call_id: Any) -> bool:
    return CapturedContent.objects.filter(held_content(), call_id=call_id).exists()


def erase(call_id: Any, note: Callable[[CapturedContent], None]) -> bool:
    """Whether there was any. `note`: puts on record what goes, together with its going or not at all. Raises `Held`."""
    with transaction.atomic():
        there = CapturedContent.objects.filter(call_id=call_id)
        kept = there.defer("ciphertext").select_for_update().first()
        if kept is None:
            return False
        if is_held(call_id):
            raise Held
        note(kept)
        there._raw_delete(there.db)
    return True


def note_access(call_id: Any, *, who: str, reason: str) -> None:
    ContentAccess.objects.create(call_id=call_id, who=who[:150], reason=reason)


def accesses(call_id: Any) -> QuerySet[ContentAccess]:
    return ContentAccess.objects.filter(call_id=call_id)


class Resealed(NamedTuple):
    moved: int
    unopened: int


def reseal(newest_key_id: str, again: Reseal, unopened: type[Exception]) -> Resealed:
    """All that is under an older key, a few rows a transaction, so that the journal's writer gets its turns.

    What no key opens, where `again` raises `unopened`, stays as it is.
    """
    moved = lost = last = 0
    older = CapturedContent.objects.exclude(key_id=newest_key_id).order_by("pk")
    while True:
        with transaction.atomic():
            rows = list(older.select_for_update().filter(pk__gt=last)[:ROWS_A_STATEMENT])
            for row in rows:
                last = row.pk
                try:
                    row.ciphertext = again(bytes(row.ciphertext), str(row.call_id))
                except unopened:
                    lost += 1
                    continue
                row.key_id = newest_key_id
                row.save(update_fields=["ciphertext", "key_id"])
                moved += 1
        if not rows:
            return Resealed(moved, lost)
