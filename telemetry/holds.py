"""What a legal hold keeps beyond its days: the held client's calls and their content, by when they began."""

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from telemetry.models import LegalHold, RequestLog, RetentionRule

NOTHING = Q(pk__in=())
MILLISECOND = 1 << 80
"""A call id is a UUIDv7: above these bits lies when the call began, in ms of the epoch."""


def held_calls() -> Q:
    """Of `RequestLog`: what must stay, under any hold that is not released."""
    return _under_any(lambda hold: _client(hold) & _began(hold))


def held_content() -> Q:
    """Of `CapturedContent`: likewise."""
    return _under_any(_content)


def _under_any(kept_by: Callable[[LegalHold], Q]) -> Q:
    held = NOTHING
    for hold in unreleased():
        held |= kept_by(hold)
    return held


def unreleased() -> QuerySet[LegalHold]:
    """One that is to be released later holds until then."""
    return LegalHold.objects.filter(Q(released_at=None) | Q(released_at__gt=timezone.now()))


def holds_naming(tool_ids: Collection[str]) -> dict[str, list[str]]:
    """Of these clients, those that holds name which are not released: their reasons, in one query."""
    found: dict[str, list[str]] = {}
    wanted = set(tool_ids)
    for tool_id, reason in unreleased().exclude(tool_id="").order_by("pk").values_list("tool_id", "reason"):
        if tool_id in wanted:
            found.setdefault(tool_id, []).append(reason)
    return found


def rules_naming(tool_id: str) -> list[str]:
    """The retention rules that name the client, in words."""
    return [str(rule) for rule in RetentionRule.objects.filter(tool_id=tool_id)]


def _client(hold: LegalHold) -> Q:
    return Q(tool_id=hold.tool_id) if hold.tool_id else Q(pk__isnull=False)


def _content(hold: LegalHold) -> Q:
    """A call's row says when it began; where a retention rule has removed it, the call's id does."""
    client = _client(hold)
    if not (hold.since or hold.until):
        return client
    row = RequestLog.objects.filter(call_id=OuterRef("call_id"))
    return client & (Q(Exists(row.filter(_began(hold)))) | (~Exists(row) & _began_by_id(hold)))


def _began(hold: LegalHold) -> Q:
    since = Q(started_at__gte=hold.since) if hold.since else Q()
    return since & (Q(started_at__lt=hold.until) if hold.until else Q())


def _began_by_id(hold: LegalHold) -> Q:
    """To the millisecond, the ends included."""
    since = Q(call_id__gte=UUID(int=_ms(hold.since) * MILLISECOND)) if hold.since else Q()
    return since & (Q(call_id__lt=UUID(int=(_ms(hold.until) + 1) * MILLISECOND)) if hold.until else Q())


def _ms(moment: datetime) -> int:
    return max(0, int(moment.timestamp() * 1000))
