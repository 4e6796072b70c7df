"""Health of the parts, told as one report. Pure: probes run elsewhere, in the background."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

Status = Literal["ok", "degraded", "failed"]
_SEVERITY: dict[Status, int] = {"ok": 0, "degraded": 1, "failed": 2}


class Coverage(msgspec.Struct, frozen=True):
    capability: str
    status: Status


class Component(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`details` is for people: it names causes, never secrets or a provider's own text."""

    name: str
    status: Status
    timestamp: str
    details: str | None = None
    capability_coverage: tuple[Coverage, ...] | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    status: Status
    timestamp: str
    components: tuple[Component, ...]


def report(components: Iterable[Component]) -> Report:
    """The worst part decides; of nothing, nothing good can be said."""
    parts = tuple(components)
    statuses: list[Status] = [part.status for part in parts]
    worst: Status = max(statuses, key=_SEVERITY.__getitem__, default="degraded")
    return Report(status=worst, timestamp=timestamp(), components=parts)


def timestamp(epoch: float | None = None) -> str:
    """ISO 8601 in UTC with milliseconds, as in every log line and answer."""
    moment = datetime.now(UTC) if epoch is None else datetime.fromtimestamp(epoch, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
