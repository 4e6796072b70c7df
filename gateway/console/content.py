"""The kept content of one call: opened by whoever may, after a reason, which is on record before anything is shown."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from gateway.capture import messages_of, unseal
from gateway.console.erasing import EraseForm, erase
from gateway.console.reason_form import ReasonForm
from providers.secrets import KeyRing, SealError
from telemetry import captured_rows

SHOWN_ACCESSES = 20
ERASING = "erasing"
"""Before the names of its form's fields: the page has another with a reason."""
GONE = "No encryption key opens this content: its key was removed, or it was damaged."


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def content(request: HttpRequest, call_id: UUID) -> HttpResponse:
    kept = captured_rows.find(call_id, timezone.now())
    if kept is None:
        raise Http404
    if "erase" in request.POST:
        return _erase(request, kept)
    form = ReasonForm(request.POST or None)
    context: dict[str, Any] = {"form": form}
    if request.method == "POST" and form.is_valid():
        user = request.user.get_username()
        captured_rows.note_access(call_id, who=user, reason=form.cleaned_data["reason"])
        context |= _opened(bytes(kept.ciphertext), str(call_id))
    return _page(request, kept, context)


def _erase(request: HttpRequest, kept: Any) -> HttpResponse:
    if not request.user.is_superuser:  # type: ignore[union-attr]
        raise PermissionDenied
    form = EraseForm(request.POST, prefix=ERASING)
    if not form.is_valid():
        return _page(request, kept, {"form": ReasonForm(), "erasing": form})
    erase(request, kept.call_id, form.cleaned_data["reason"])
    return redirect("admin:telemetry_capturedcontent_changelist")


def _page(request: HttpRequest, kept: Any, context: dict[str, Any]) -> HttpResponse:
    openings = captured_rows.accesses(kept.call_id)
    told = {
        "title": "What was said",
        "kept": kept,
        "is_held": captured_rows.is_held(kept.call_id),
        "erasing": EraseForm(prefix=ERASING),
        "openings": openings[:SHOWN_ACCESSES],
        "openings_count": openings.count(),
    }
    everywhere = admin.site.each_context(request)
    return render(request, "admin/console/content.html", everywhere | told | context)


def _opened(sealed: bytes, call_id: str) -> dict[str, Any]:
    try:
        found = unseal(sealed, call_id, KeyRing(settings.ENCRYPTION_KEYS))
    except SealError:
        return {"problem": GONE}
    return {"content": found, "messages_sent": messages_of(found)}
