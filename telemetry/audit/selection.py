"""Which calls an export is about."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q

from telemetry.audit.canonical import stamp


@dataclass(frozen=True)
class Selection:
    """`since`, `until`: when the calls began, the end not included. Empty fields do not narrow."""

    since: datetime | None = None
    until: datetime | None = None
    tool_id: str = ""
    call_id: str = ""

    @property
    def whole(self) -> bool:
        """Every call of the period: then rows that are missing can be told from rows that were not asked for."""
        return not (self.tool_id or self.call_id)

    @property
    def about(self) -> str:
        """In words, for people."""
        parts = [f"the call {self.call_id}" if self.call_id else "calls"]
        parts += [f"of the client {self.tool_id}"] if self.tool_id else []
        parts += [f"from {stamp(self.since)}"] if self.since else []
        parts += [f"before {stamp(self.until)}"] if self.until else []
        return " ".join(parts) if len(parts) > 1 or self.call_id else "the whole record"

    def where(self) -> Q:
        found = Q()
        if self.since:
            found &= Q(started_at__gte=self.since)
        if self.until:
            found &= Q(started_at__lt=self.until)
        if self.tool_id:
            found &= Q(tool_id=self.tool_id)
        if self.call_id:
            found &= Q(call_id=self.call_id)
        return found
