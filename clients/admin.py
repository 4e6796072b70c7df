from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import quote
from django.db.models import F, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone

from clients import token_pages
from clients.client_list import TokensFilter, limits_in_words, state_in_words, tokens_in_words, with_tokens
from clients.expiry import state_of
from clients.forms import ClientForm
from clients.grants import set_methods
from clients.grid import grid_page
from clients.header_form import RegistryHeaderForm
from clients.kept_by_name import if_gone, if_renamed
from clients.models import Client, ClientToken, MethodPermission, RegistryHeader
from clients.suggestions import model_warnings, provider_warnings

SHOWN_TOKENS = 50

SECRET_FIELDS = frozenset({"digest", "key_id"})


class ReadOnly(admin.ModelAdmin):
    """What is changed elsewhere, by pages that say what they do."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Client)
class ClientAdmin(admin.ModelAdmin):
    empty_says = "No client yet. A client is a tool that may call the gateway; it calls with a token that you issue for it."
    form = ClientForm
    list_display = ("tool_id", "enabled", "methods", "limits", "tokens", "last_used")
    list_filter = ("enabled", "permissions__method", TokensFilter)
    search_fields = ("tool_id", "notes", "tokens__token_id")
    fieldsets = (
        (None, {"fields": ("tool_id", "enabled", "methods", "notes")}),
        (
            "Limits",
            {
                "description": "For all tokens of the client together. Calls: chat, chatStream and embed.",
                "fields": (("max_requests", "interval_ms"), "max_concurrency"),
            },
        ),
        (
            "Content of its calls",
            {
                "description": "The record keeps digests of it in any case, and the content only when it is kept here. "
                "Changing this concerns the calls that follow; what is kept already stays for its days.",
                "fields": (("capture", "capture_days"),),
            },
        ),
        ("Restrictions", {"fields": ("allowed_networks", "allowed_providers", "allowed_models")}),
    )

    def get_urls(self) -> list[URLPattern]:
        own = [
            _route(self, "permissions/", grid_page, "clients_client_permissions"),
            _route(self, "<path:object_id>/issue/", token_pages.issue_page, "clients_client_issue"),
        ]
        return own + super().get_urls()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        return with_tokens(super().get_queryset(request)).prefetch_related("permissions")

    def save_related(self, request: HttpRequest, form: ClientForm, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        set_methods(form.instance, form.cleaned_data["methods"])
        client = form.instance
        said = provider_warnings(client.allowed_providers or ())
        if change and "tool_id" in form.changed_data:
            said = [*filter(None, [if_renamed(form.initial["tool_id"], client.tool_id)]), *said]
        for words in (*said, *model_warnings(client.allowed_models or ())):
            messages.warning(request, words)

    def response_post_save_add(self, request: HttpRequest, obj: Client) -> HttpResponse:
        """To the client's page, where its first token is issued."""
        if not self.has_view_or_change_permission(request, obj):
            return super().response_post_save_add(request, obj)
        return HttpResponseRedirect(reverse("admin:clients_client_change", args=[quote(obj.pk)]))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        client = kwargs.get("obj")
        if client is not None:
            context |= _tokens(request, client)
        return super().render_change_form(request, context, *args, **kwargs)

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        context["deleted_clients"] = [context["object"]]
        context["if_gone"] = if_gone([context["object"].tool_id])
        return super().render_delete_form(request, context)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Client], **where: Any
    ) -> HttpResponse | None:
        """Before several are deleted, it is said what goes by their names. `where`: of newer Django, passed on."""
        answer = super().response_action(request, queryset, **where)
        if isinstance(answer, TemplateResponse) and "deletable_objects" in (answer.context_data or {}):
            chosen = answer.context_data["queryset"]
            answer.context_data["if_gone"] = if_gone(chosen.values_list("tool_id", flat=True))
        return answer

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """A client goes with its tokens and grants, which nobody may delete by themselves."""
        deleted, counts, needed, protected = super().get_deleted_objects(objs, request)
        along = {model._meta.verbose_name for model in (ClientToken, MethodPermission)}
        return deleted, counts, set(needed) - along, protected

    @admin.display(description="May call")
    def methods(self, client: Client) -> str:
        """Also what stands in the form's place for who may only look."""
        return ", ".join(permission.method for permission in client.permissions.all()) or "nothing"

    @admin.display(description="Limits")
    def limits(self, client: Client) -> str:
        return limits_in_words(client)

    @admin.display(description="Tokens", ordering="active_tokens")
    def tokens(self, client: Client) -> str:
        return tokens_in_words(client)

    @admin.display(description="Last used (UTC)", ordering="last_used")
    def last_used(self, client: Any) -> str:
        return f"{client.last_used:%Y-%m-%d %H:%M}" if client.last_used else "never"


def _tokens(request: HttpRequest, client: Client) -> dict[str, Any]:
    """The newest that still matter first; what was revoked last of all."""
    now = timezone.now()
    rows = client.tokens.order_by(F("revoked_at").desc(nulls_first=True), "-pk")
    count = rows.count()
    may_issue = request.user.has_perm(token_pages.ADD)  # type: ignore[union-attr]
    may_change = request.user.has_perm(token_pages.CHANGE)  # type: ignore[union-attr]
    return {
        "tokens": [(row, state_of(row.expires_at, row.revoked_at, now)) for row in rows[:SHOWN_TOKENS]],
        "more_tokens": max(count - SHOWN_TOKENS, 0),
        "may_issue": may_issue,
        "may_change_tokens": may_change,
        "may_rotate": may_issue and may_change,
    }


def _route(owner: admin.ModelAdmin, pattern: str, page: Any, name: str) -> URLPattern:
    return path(pattern, owner.admin_site.admin_view(partial(page, owner)), name=name)


@admin.register(ClientToken)
class ClientTokenAdmin(ReadOnly):
    """Never deleted, only revoked: a token's id names past calls."""

    empty_says = "No token yet. Tokens are issued on a client's page."
    empty_link = ("Clients", "admin:clients_client_changelist")
    list_display = ("token_id", "client", "state", "created_at", "expires_at", "last_used_at")
    list_filter = ("revoked_at", "expires_at")
    list_select_related = ("client",)
    search_fields = ("token_id", "client__tool_id")
    date_hierarchy = "created_at"
    fields = ("token_id", "client", "state", "created_at", "expires_at", "revoked_at", "last_used_at")

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest | None = None) -> bool:
        """A filter in the address could tell a secret letter by letter."""
        return not SECRET_FIELDS & set(lookup.split("__")) and super().lookup_allowed(lookup, value, request)

    def get_urls(self) -> list[URLPattern]:
        own = [
            _route(self, "<path:object_id>/rotate/", token_pages.rotate_page, "clients_clienttoken_rotate"),
            _route(self, "<path:object_id>/expiry/", token_pages.expiry_page, "clients_clienttoken_expiry"),
            _route(self, "<path:object_id>/revoke/", token_pages.revoke_page, "clients_clienttoken_revoke"),
        ]
        return own + super().get_urls()

    @admin.display(description="State")
    def state(self, token: ClientToken) -> str:
        return state_in_words(token)


@admin.register(MethodPermission)
class MethodPermissionAdmin(ReadOnly):
    """Changed on the client's page and in the grid."""

    empty_says = (
        "No client may call anything yet. Methods are ticked on a client's page, or for all clients at once."
    )
    empty_link = ("Who may call what", "admin:clients_client_permissions")
    list_display = ("client", "method")
    list_filter = ("method",)
    list_select_related = ("client",)
    search_fields = ("client__tool_id",)


@admin.register(RegistryHeader)
class RegistryHeaderAdmin(admin.ModelAdmin):
    form = RegistryHeaderForm
    empty_says = "client-registry.json has neither a description nor a schema. It needs none."
    list_display = ("description", "schema")
    search_fields = ("description",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not RegistryHeader.objects.exists()
