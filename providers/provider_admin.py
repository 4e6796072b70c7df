"""The provider's list and form in the admin."""

from functools import partial
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from providers import columns, kinds, unlisted
from providers.acts import SHOWN_MODELS, ProviderActs
from providers.adapters import ADAPTERS
from providers.capability_grid import CapabilityInline, first_rows
from providers.check import address_warning, egress_policy
from providers.credentials import credential_name
from providers.dependents import if_deleted, if_disabled, if_renamed
from providers.find_models import find_models
from providers.forms import ProviderForm
from providers.loader import configure_models
from providers.models import Provider, ProviderCapability
from providers.observed import latest
from providers.secrets import KeyRing

OFFERED_MODELS = 200
MODELS = "Models"
"""The fieldset that *Find models* stands in, which asks with what stands above it."""
PLAIN_LIST = frozenset({"p", "e", "all"})
"""Parameters of the list that leave its order and its rows as they are."""

SECRET_FIELDS = frozenset({"stored_credential"})


@admin.register(Provider)
class ProviderAdmin(ProviderActs):
    empty_says = (
        "No providers yet, so calls cannot be answered. LM Studio on this machine is ready in a minute."
    )
    form = ProviderForm
    inlines = (CapabilityInline,)
    readonly_fields = ("discovered_models",)
    list_display = ("name", "kind", "enabled", "health", "base_url", "capabilities", "credential")
    list_filter = ("enabled", "kind", "capability_rows__capability")
    search_fields = ("name", "base_url", "default_model", "notes")
    sortable_by = ("name", "kind", "enabled", "base_url")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "enabled")}),
        ("Credential", {"fields": ("credential_source", "credential_name", "new_key")}),
        (MODELS, {"fields": ("default_model", "configured_models", "discovered_models")}),
        (
            "Timeouts and concurrency",
            {
                "classes": ("collapse",),
                "description": "Empty fields take the defaults of the environment.",
                "fields": ("connect_ms", "first_event_ms", "idle_ms", "total_ms", "max_concurrency"),
            },
        ),
        ("Notes", {"fields": ("notes",)}),
    )

    class Media:
        js = ("providers/provider_form.js", "providers/find_models.js")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(partial(find_models, self))
        return [path("find-models/", view, name="providers_provider_find_models"), *super().get_urls()]

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """A filter in the address could tell a secret letter by letter."""
        return not SECRET_FIELDS & set(lookup.split("__")) and super().lookup_allowed(lookup, value, request)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A provider goes with its capabilities, which nobody may delete by themselves."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(needed) - {ProviderCapability._meta.verbose_name}, protected

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        return super().get_queryset(request).prefetch_related("capability_rows")

    # The list

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        in_order = PLAIN_LIST.issuperset(request.GET) and self.has_change_permission(request)
        name, *others = self.list_display
        return (name, "order", *others) if in_order else (name, *others)

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        found = super().get_changelist_instance(request)
        rows = list(found.result_list)
        keys, seen = KeyRing(settings.ENCRYPTION_KEYS), latest()
        for n, row in enumerate(rows):
            row.key_state = columns.key_state(row, keys, seen.get(row.name))
            row.is_first = n == 0 and found.page_num == 1
            row.is_last = n == len(rows) - 1 and found.page_num == found.paginator.num_pages
        found.result_list = rows
        return found

    @admin.display(description="Health now")
    def health(self, provider: Provider) -> SafeString:
        state, word, detail = columns.health(provider, latest().get(provider.name))
        return format_html('<span class="state {}">{}</span> {}', state, word, detail)

    @admin.display(description="Capabilities, scores")
    def capabilities(self, provider: Provider) -> str:
        return columns.capabilities(provider)

    @admin.display(description="Key")
    def credential(self, provider: Provider) -> SafeString:
        state, word = provider.key_state
        origin = "" if state == "off" else credential_name(provider)
        return format_html('<span class="state {}">{}</span> {}', state, word, origin)

    @admin.display(description="Order")
    def order(self, provider: Provider) -> SafeString:
        """Buttons of the list's own form, each with an address of its own, so that they carry its token."""
        buttons = [
            format_html(
                '<button type="submit" formaction="{}" aria-label="Move {} {}"{}>{}</button>',
                reverse(f"admin:providers_provider_{act}", args=(provider.pk,)),
                provider.name,
                act,
                SafeString(" disabled") if at_end else "",
                sign,
            )
            for act, sign, at_end in (("up", "▲", provider.is_first), ("down", "▼", provider.is_last))
        ]
        return format_html('<span class="order" id="row-{}">{}{}</span>', provider.pk, *buttons)

    # The form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial = super().get_changeform_initial_data(request)
        adapter = ADAPTERS.get(initial.get("kind", ""))
        return initial | {"base_url": adapter.default_base_url or ""} if adapter else initial

    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        """With the button among the models, for who may press it."""
        may_ask = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        if not may_ask:
            return self.fieldsets
        button = render_to_string("admin/providers/find_models.html", {"provider": obj})
        return [
            (name, options | {"description": button} if name == MODELS else options)
            for name, options in self.fieldsets
        ]

    def get_formset_kwargs(self, request: HttpRequest, obj: Any, inline: Any, prefix: str) -> dict[str, Any]:
        initial = first_rows(obj, request.GET.get("kind"))
        return super().get_formset_kwargs(request, obj, inline, prefix) | {"initial": initial}

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        form, provider = context["adminform"].form, kwargs.get("obj")
        facts = kinds.facts()
        kind = form["kind"].value() if "kind" in form.fields else provider and provider.kind
        known = provider.model_rows.values_list("model_id", flat=True) if provider else ()
        context |= {
            "kinds": facts,
            "kind": facts.get(kind),
            "choose_kind": kwargs.get("add") and request.method == "GET" and kind not in facts,
            "known_models": list(known[:OFFERED_MODELS]),
            "unlisted": unlisted.warning(provider) if provider and request.method == "GET" else "",
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        context["deleted_providers"] = [context["object"]]
        context["if_gone"] = if_deleted([context["object"].name])
        return super().render_delete_form(request, context)

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Looks up the host name after the save, when no transaction holds the database any more."""
        response = super().changeform_view(request, *args, **kwargs)
        url = request.POST.get("base_url", "").strip()
        if response.status_code == 302 and url and (warning := address_warning(url, egress_policy())):
            self.message_user(request, warning, messages.WARNING)
        return response

    def save_related(self, request: HttpRequest, form: ProviderForm, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        configure_models(form.instance, form.cleaned_data["configured_models"])
        for said in _warnings(form) if change else ():
            self.message_user(request, said, messages.WARNING)

    @admin.display(description="Found by discovery")
    def discovered_models(self, provider: Provider) -> str:
        """In words: a provider may list thousands, which no form should carry."""
        if not provider.pk:
            return "None yet. Once it is saved, the running gateway asks every few seconds."
        found = provider.model_rows.filter(discovered_at__isnull=False)
        if not found:
            return "None yet. The running gateway asks every few seconds; “Discover models” asks at once."
        names = ", ".join(found.values_list("model_id", flat=True)[:SHOWN_MODELS])
        more = found.count() - SHOWN_MODELS
        return f"{names} and {more} more (see Provider models)" if more > 0 else names


def _warnings(form: ProviderForm) -> list[str]:
    """What a change breaks elsewhere. What is known of the models is an old address's once there is another."""
    row, changed = form.instance, set(form.changed_data)
    found = []
    if "name" in changed:
        found.append(if_renamed(form.initial["name"], row))
    if "enabled" in changed and not row.enabled:
        found.append(if_disabled([row]))
    if not changed & {"base_url", "kind"}:
        found.append(unlisted.warning(row))
    return [said for said in found if said]
