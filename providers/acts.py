"""What can be done with providers in the list and on their pages: look, discover, switch, copy, reorder.

Each act is a POST, needs the right to change providers, and is written to the history when it changed something.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from providers import arrange
from providers.check import PROBE_TIMEOUTS, Checked, check, egress_policy
from providers.dependents import if_deleted, if_disabled
from providers.diagnosis import NO_CREDENTIAL_REMEDY, NO_KEY_FILE_REMEDY
from providers.loader import freeze, remember_discovered
from providers.models import CredentialSource, Provider
from providers.secrets import KeyRing

SHOWN_MODELS = 50
ACTS = ("check", "discover", "enable", "disable", "duplicate", "up", "down")


def look_at(rows: Sequence[Provider]) -> list[Checked]:
    keys = KeyRing(settings.ENCRYPTION_KEYS)
    found = check([freeze(row, PROBE_TIMEOUTS, keys) for row in rows], egress_policy())
    return [_with_path(row, seen) for row, seen in zip(rows, found, strict=True)]


def _with_path(row: Provider, seen: Checked) -> Checked:
    """The words of a look reach clients as well, and name no path; here an operator reads them."""
    if seen.advice != NO_CREDENTIAL_REMEDY or row.credential_source != CredentialSource.FILE:
        return seen
    return msgspec.structs.replace(seen, advice=NO_KEY_FILE_REMEDY.format(path=row.credential_name))


class ProviderActs(admin.ModelAdmin):
    """The acts of the provider's admin, as actions of the list and as addresses below each provider."""

    actions = ("check_now", "discover_models", "enable", "disable", "duplicate")

    def get_urls(self) -> list[URLPattern]:
        own = [
            path(
                f"<path:object_id>/{act}/",
                self.admin_site.admin_view(self.act_view),
                {"act": act},
                name=f"providers_provider_{act}",
            )
            for act in ACTS
        ]
        return own + super().get_urls()

    def act_view(self, request: HttpRequest, object_id: str, act: str) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        provider = self.get_object(request, unquote(object_id))
        if provider is None:
            raise Http404
        if act in ("up", "down"):
            return self._moved(request, provider, -1 if act == "up" else 1)
        chosen = Provider.objects.filter(pk=provider.pk)
        answer = self._acts()[act](request, chosen)
        return answer or HttpResponseRedirect(reverse("admin:providers_provider_change", args=(provider.pk,)))

    def _acts(self) -> dict[str, Callable[[HttpRequest, QuerySet[Provider]], HttpResponse | None]]:
        return {
            "check": self.check_now,
            "discover": self.discover_models,
            "enable": self.enable,
            "disable": self.disable,
            "duplicate": self.duplicate,
        }

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """An action that the visitor may not take is refused, not passed over in silence."""
        wanted = [name for name in request.POST.getlist("action") if name]
        if request.method == "POST" and not set(wanted) <= set(self.get_actions(request)):
            raise PermissionDenied
        return super().changelist_view(request, extra_context)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Provider], **where: Any
    ) -> HttpResponse | None:
        """Before several are deleted, it is said who counts on them. `where`: of newer Django, passed on."""
        answer = super().response_action(request, queryset, **where)
        if isinstance(answer, TemplateResponse) and "deletable_objects" in (answer.context_data or {}):
            chosen = answer.context_data["queryset"]
            answer.context_data["if_gone"] = if_deleted(chosen.values_list("name", flat=True))
        return answer

    @admin.action(description="Check now", permissions=["change"])
    def check_now(self, request: HttpRequest, chosen: QuerySet[Provider]) -> HttpResponse:
        rows = list(chosen.prefetch_related("capability_rows", "model_rows"))
        found = list(zip(rows, look_at(rows), strict=True))
        context = self.admin_site.each_context(request) | {
            "title": "Check now",
            "opts": self.opts,
            "found": found,
            "shown_models": SHOWN_MODELS,
        }
        return TemplateResponse(request, "admin/providers/checked.html", context)

    @admin.action(description="Discover models", permissions=["change"])
    def discover_models(self, request: HttpRequest, chosen: QuerySet[Provider]) -> None:
        rows = list(chosen.prefetch_related("capability_rows", "model_rows"))
        for row, seen in zip(rows, look_at(rows), strict=True):
            if not seen.models:
                said = f"“{row.name}”: {seen.sentences}"
                self.message_user(request, said, messages.WARNING)
                continue
            remember_discovered(row.name, seen.models)
            self.log_change(request, row, f"Discovered {len(seen.models)} models.")
            said = f"“{row.name}”: {_counted(len(seen.models), 'model')} found, offered in its form now."
            self.message_user(request, said, messages.SUCCESS)

    @admin.action(description="Enable", permissions=["change"])
    def enable(self, request: HttpRequest, chosen: QuerySet[Provider]) -> None:
        self._switch(request, chosen, on=True)

    @admin.action(description="Disable", permissions=["change"])
    def disable(self, request: HttpRequest, chosen: QuerySet[Provider]) -> None:
        self._switch(request, chosen, on=False)

    def _switch(self, request: HttpRequest, chosen: QuerySet[Provider], *, on: bool) -> None:
        word = "enabled" if on else "disabled"
        with transaction.atomic():
            changed = list(chosen.filter(enabled=not on))
            for row in changed:
                row.enabled = on
                row.save(update_fields=["enabled"])
                self.log_change(request, row, f"{word.capitalize()}.")
        names = ", ".join(row.name for row in changed)
        self.message_user(request, f"{word.capitalize()}: {names}." if names else f"Already {word}.")
        if not on and (said := if_disabled(changed)):
            self.message_user(request, said, messages.WARNING)

    @admin.action(description="Duplicate", permissions=["change", "add"])
    def duplicate(self, request: HttpRequest, chosen: QuerySet[Provider]) -> HttpResponse | None:
        if not self.has_add_permission(request):
            raise PermissionDenied
        if chosen.count() != 1:
            self.message_user(request, "Choose exactly one provider to duplicate.", messages.ERROR)
            return None
        original = chosen.get()
        with transaction.atomic():
            copy = arrange.duplicate(original)
            self.log_addition(request, copy, f"Copied from {original.name}.")
        said = f"“{copy.name}” is a disabled copy of “{original.name}”. Give it a name and what differs, then enable it."
        if original.stored_credential:
            said += " The stored key was not copied: enter one."
        self.message_user(request, said, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:providers_provider_change", args=(copy.pk,)))

    def _moved(self, request: HttpRequest, provider: Provider, steps: int) -> HttpResponse:
        with transaction.atomic():
            before, place = arrange.move(provider, steps)
            if place != before:
                self.log_change(request, provider, f"Moved to place {place + 1}.")
        word = "now" if place != before else "already"
        said = f"“{provider.name}” is {word} number {place + 1} of {Provider.objects.count()}."
        self.message_user(request, said, messages.SUCCESS)
        # The address names the row, so that the next Tab starts from it.
        return HttpResponseRedirect(f"{reverse('admin:providers_provider_changelist')}#row-{provider.pk}")


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
