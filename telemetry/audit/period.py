"""Which rows of a chain belong to a period: by when they were signed, for what a row says of itself may have been changed.

A row is stored after its call began. So what began from `since` on lies behind the last checkpoint signed before it; and
what began before `until` lies before the first one signed after it, but for calls that were still to be stored then:
those are looked for by what they say, and what was signed together with them is part of it.
"""

from datetime import datetime
from typing import NamedTuple

from django.db.models import Max, Min

from telemetry.audit.reader import LARGEST
from telemetry.audit.verifier import ZEROS
from telemetry.models import AuditCheckpoint, RequestLog


class Start(NamedTuple):
    """`sequence`: of the row before the first; `hash`: what was signed of it."""

    sequence: int = 0
    hash: str = ZEROS


def start_of(chain: str, since: datetime | None) -> Start:
    """Clocks are set back now and then: it is the last checkpoint before any that was signed from `since` on."""
    if since is None:
        return Start()
    kept = AuditCheckpoint.objects.filter(chain=chain)
    later = kept.filter(signed_at__gte=since).aggregate(first=Min("number"))["first"]
    before = kept if later is None else kept.filter(number__lt=later)
    first = _rows(chain).filter(started_at__gte=since).aggregate(first=Min("sequence"))["first"]
    if first is not None:
        before = before.filter(sequence__lt=first)
    last = before.order_by("-number").first()
    return Start() if last is None else Start(last.entry()["sequence"], last.entry()["hash"])


def end_of(chain: str, until: datetime | None, last: int) -> int:
    """The last row; `last`: of the chain, which it never goes beyond."""
    if until is None:
        return last
    kept = AuditCheckpoint.objects.filter(chain=chain)
    before = kept.filter(signed_at__lt=until).aggregate(last=Max("number"))["last"] or 0
    after = kept.filter(number__gt=before).order_by("number").first()
    rows = _rows(chain).filter(started_at__lt=until).aggregate(last=Max("sequence"))["last"] or 0
    closing = kept.filter(sequence__gte=rows).order_by("number").first()
    return min(last, max(_sequence(after, last), _sequence(closing, last)))


def _sequence(kept: AuditCheckpoint | None, last: int) -> int:
    return last if kept is None else int(kept.entry()["sequence"])


def _rows(chain: str):  # type: ignore[no-untyped-def]
    return RequestLog.objects.filter(chain=chain, sequence__lte=LARGEST)
