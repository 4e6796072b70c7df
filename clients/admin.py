from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from clients.forms import ClientForm
from clients.models import Client, ClientToken, MethodPermission, RegistryHeader


class PermissionInline(admin.TabularInline):
    model = MethodPermission
    fields = ("method",)
    extra = 0


class TokenInline(admin.TabularInline):
    """Tokens are issued by `manage.py issue_token`, which shows them once; here they expire or are revoked."""

    model = ClientToken
    fields = ("token_id", "created_at", "expires_at", "revoked_at", "last_used_at")
    readonly_fields = ("token_id", "created_at", "last_used_at")
    extra = 0
    can_delete = True

    def has_add_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(Client)
class ClientAdmin(admin.ModelAdmin):
    form = ClientForm
    inlines = (PermissionInline, TokenInline)
    list_display = ("tool_id", "enabled", "methods", "limit", "active_tokens")
    list_filter = ("enabled", "permissions__method")
    search_fields = ("tool_id", "notes", "tokens__token_id")
    fieldsets = (
        (None, {"fields": ("tool_id", "enabled", "notes")}),
        ("Limits", {"fields": ("max_requests", "interval_ms", "max_concurrency")}),
        ("Restrictions", {"fields": ("allowed_networks", "allowed_providers", "allowed_models")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Client]:
        return super().get_queryset(request).prefetch_related("permissions", "tokens")

    @admin.display(description="May call")
    def methods(self, client: Client) -> str:
        return ", ".join(permission.method for permission in client.permissions.all()) or "nothing"

    @admin.display(description="Limit")
    def limit(self, client: Client) -> str:
        if client.max_requests is None:
            return "default"
        return f"{client.max_requests} per {client.interval_ms} ms"

    @admin.display(description="Active tokens")
    def active_tokens(self, client: Client) -> int:
        return sum(token.revoked_at is None for token in client.tokens.all())


@admin.register(ClientToken)
class ClientTokenAdmin(admin.ModelAdmin):
    list_display = ("token_id", "client", "created_at", "expires_at", "revoked_at", "last_used_at")
    list_filter = ("revoked_at", "expires_at")
    list_select_related = ("client",)
    search_fields = ("token_id", "client__tool_id")
    readonly_fields = ("client", "token_id", "created_at", "last_used_at")
    date_hierarchy = "created_at"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


@admin.register(MethodPermission)
class MethodPermissionAdmin(admin.ModelAdmin):
    list_display = ("client", "method")
    list_filter = ("method",)
    list_select_related = ("client",)
    search_fields = ("client__tool_id",)


@admin.register(RegistryHeader)
class RegistryHeaderAdmin(admin.ModelAdmin):
    list_display = ("description", "schema")
    search_fields = ("description",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not RegistryHeader.objects.exists()
