"""The kept content of one call: opened by whoever may, after a reason, which is on record before anything is shown."""

from typing import Any
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from gateway.capture import messages_of, unseal
from providers.secrets import KeyRing, SealError
from telemetry import captured_rows

SHOWN_ACCESSES = 20
SAYS_SOMETHING = 10
"""Letters or digits: dots, and characters that nobody sees, are no reason."""
GONE = "No encryption key opens this content: its key was removed, or it was damaged."


class ReasonForm(forms.Form):
    reason = forms.CharField(
        max_length=500,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        help_text=f"At least {SAYS_SOMETHING} letters or digits. It is recorded with your name, for good.",
    )

    def clean_reason(self) -> str:
        reason: str = self.cleaned_data["reason"]
        if sum(map(str.isalnum, reason)) < SAYS_SOMETHING:
            raise forms.ValidationError(f"Give a reason of at least {SAYS_SOMETHING} letters or digits.")
        return reason


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def content(request: HttpRequest, call_id: UUID) -> HttpResponse:
    kept = captured_rows.find(call_id, timezone.now())
    if kept is None:
        raise Http404
    form = ReasonForm(request.POST or None)
    context: dict[str, Any] = {"title": "What was said", "kept": kept, "form": form}
    if request.method == "POST" and form.is_valid():
        user = request.user.get_username()
        captured_rows.note_access(call_id, who=user, reason=form.cleaned_data["reason"])
        context |= _opened(bytes(kept.ciphertext), str(call_id))
    openings = captured_rows.accesses(call_id)
    context |= {"openings": openings[:SHOWN_ACCESSES], "openings_count": openings.count()}
    return render(request, "admin/console/content.html", admin.site.each_context(request) | context)


def _opened(sealed: bytes, call_id: str) -> dict[str, Any]:
    try:
        found = unseal(sealed, call_id, KeyRing(settings.ENCRYPTION_KEYS))
    except SealError:
        return {"problem": GONE}
    return {"content": found, "messages_sent": messages_of(found)}
