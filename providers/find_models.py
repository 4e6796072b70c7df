"""*Find models* on the form: asks the address that is typed there, with the key that is chosen there, for its models.

Nothing is kept. The form's own checks decide whom a key may be sent to, the transport which addresses are open.
"""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse

from providers.check import PROBE_TIMEOUTS, Checked, check, egress_policy
from providers.credentials import open_credential
from providers.forms import ProviderForm
from providers.secrets import KeyRing
from providers.types import Provider, Secret

ASKED = ("kind", "base_url", "credential_source", "credential_name", "new_key")
"""The fields that decide who is asked, and how."""
OFFERED = 500


def find_models(owner: admin.ModelAdmin, request: HttpRequest) -> HttpResponse:
    pk = request.POST.get("provider", "")
    row = owner.get_object(request, pk) if pk else None
    if pk and row is None:
        raise Http404
    if not (owner.has_change_permission(request, row) if pk else owner.has_add_permission(request)):
        raise PermissionDenied
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    return JsonResponse(_found(ProviderForm(request.POST, instance=row)))


def _found(form: ProviderForm) -> dict[str, Any]:
    """`level`: a state of the style sheet. `said`: what was found, or what is wrong and what to do."""
    wrong = [f"{form[name].label}: {' '.join(form.errors[name])}" for name in ASKED if name in form.errors]
    if wrong:
        return {"level": "failed", "said": f"Nobody was asked yet. {' '.join(wrong)}", "models": []}
    (seen,) = check([_typed(form)], egress_policy())
    if not seen.models:
        return {"level": seen.status, "said": seen.sentences, "models": []}
    return {
        "level": "degraded" if seen.unlisted else "ok",
        "said": _said(seen),
        "models": seen.models[:OFFERED],
    }


def _typed(form: ProviderForm) -> Provider:
    """As the form stands, which need not be good for anything but this."""
    row, key = form.instance, form.cleaned_data.get("new_key")
    opened = (Secret(key), None) if key else open_credential(row, KeyRing(settings.ENCRYPTION_KEYS))
    return Provider(
        name=row.name,
        kind=row.kind,
        base_url=row.base_url,
        default_model=form.cleaned_data.get("default_model", ""),
        capabilities=frozenset(),
        timeouts=PROBE_TIMEOUTS,
        api_key=opened[0],
        credential_missing=opened[1],
    )


def _said(seen: Checked) -> str:
    count = len(seen.models)
    said = f"{count:,} model{'' if count == 1 else 's'} found."
    if count > OFFERED:
        said += f" The first {OFFERED} are offered; another can be typed."
    if seen.unlisted:
        return f"{said} “{seen.unlisted[0]}” is not among them, so calls for it may fail: choose another."
    return f"{said} Choose the default model, here or in the field."
