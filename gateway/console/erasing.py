"""Kept content that goes before its days end, as when somebody asks for erasure: a superuser says why, and ticks that it
is meant."""

from datetime import UTC
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpRequest

from gateway.changelog import note_erased
from gateway.console.reason_form import ReasonForm
from telemetry import captured_rows
from telemetry.logs import log

DONE = "The content is erased. The call stays on record, and Configuration changes say who erased it and why."
HELD = "A legal hold keeps this content. Release the hold first."
GONE = "The content is gone already."


class EraseForm(ReasonForm):
    sure = forms.BooleanField(label="Erase it for good: nothing brings it back")


def erase(request: HttpRequest, call_id: UUID, reason: str) -> None:
    """Says how it went to whoever asked. That it was erased, and the erasing, are stored together or not at all."""
    by = request.user.get_username()

    def note(kept: Any) -> None:
        note_erased(
            str(kept.call_id),
            client=kept.tool_id,
            size=kept.size,
            kept_until=f"{kept.expires_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            by=by,
            reason=reason,
        )

    try:
        erased = captured_rows.erase(call_id, note)
    except captured_rows.Held:
        messages.error(request, HELD)
        return
    if erased:
        log.info("Kept content erased", metadata={"by": by, "callId": str(call_id)})
        messages.success(request, DONE)
    else:
        messages.warning(request, GONE)
