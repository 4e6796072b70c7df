"""The playground: try a call as one of the clients, and see what was decided on the way.

The page only writes the request; `gateway/edge/playground.py` makes the call, in the event loop where calls
are made. What connects the two is a ticket: Django knows who is logged in and signs it for one call, within seconds
and in this session.
"""

from secrets import token_hex

from django.contrib import admin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from gateway import live
from gateway.console import reasons
from gateway.edge.playground import PATH, signer
from gateway.runtime import Gateway
from providers.catalog import models_of
from providers.types import CAPABILITIES

MAX_SHOWN_MODELS = 500
MAX_MESSAGES = 50
"""Rows of one conversation; a page is no place for longer ones."""


@require_safe
def playground(request: HttpRequest) -> HttpResponse:
    gateway = live.current()
    context = admin.site.each_context(request) | {"title": "Playground", "running": gateway is not None}
    if gateway is not None:
        context |= _choices(gateway) | {
            "max_messages": MAX_MESSAGES,
            "facts": {
                "call": f"/{PATH}",
                "ticket": reverse("admin:playground_ticket"),
                "record": reverse("admin:telemetry_requestlog_changelist"),
                "words": reasons.words(),
            },
        }
    return render(request, "admin/console/playground.html", context)


@never_cache
@require_POST
def ticket(request: HttpRequest) -> HttpResponse:
    return JsonResponse(
        {"ticket": make_ticket(request.user.get_username(), request.session.session_key or "")}
    )


def make_ticket(username: str, session: str) -> str:
    """For one call, within seconds, and only as long as the session lasts. `session`: its key."""
    return signer(session).sign(f"{username}:{token_hex(8)}")


def _choices(gateway: Gateway) -> dict[str, object]:
    catalog, seen = gateway.runtime.catalog, gateway.observations.providers
    providers = catalog.enabled()
    models = dict.fromkeys(model for p in providers for model in models_of(p, seen.get(p.name)))
    return {
        "clients": list(gateway.runtime.directory.clients.values()),
        "methods": CAPABILITIES,
        "providers": [provider.name for provider in providers],
        "models": [*catalog.aliases, *models][:MAX_SHOWN_MODELS],
    }
