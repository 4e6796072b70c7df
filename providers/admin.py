from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from providers.forms import CapabilityFormSet, ProviderForm
from providers.loader import credential_name
from providers.models import FileHeader, ModelAlias, Provider, ProviderCapability, ProviderModel


class CapabilityInline(admin.TabularInline):
    model = ProviderCapability
    formset = CapabilityFormSet
    fields = ("capability", "declared", "default_model", "score")
    extra = 0
    min_num = 1


class ModelInline(admin.TabularInline):
    model = ProviderModel
    fields = ("model_id", "configured", "discovered_at")
    readonly_fields = ("discovered_at",)
    extra = 0


@admin.register(Provider)
class ProviderAdmin(admin.ModelAdmin):
    form = ProviderForm
    inlines = (CapabilityInline, ModelInline)
    list_display = (
        "name",
        "kind",
        "enabled",
        "base_url",
        "default_model",
        "capabilities",
        "credential",
        "position",
    )
    list_editable = ("position",)
    list_filter = ("enabled", "kind", "capability_rows__capability")
    search_fields = ("name", "base_url", "default_model", "notes")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "default_model", "enabled", "position")}),
        ("Credential", {"fields": ("credential_source", "credential_name", "new_key")}),
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

    def get_queryset(self, request: HttpRequest) -> QuerySet[Provider]:
        return super().get_queryset(request).prefetch_related("capability_rows")

    @admin.display(description="Capabilities")
    def capabilities(self, provider: Provider) -> str:
        return ", ".join(row.capability for row in provider.capability_rows.all() if row.declared)

    @admin.display(description="Key comes from")
    def credential(self, provider: Provider) -> str:
        return credential_name(provider)


@admin.register(ProviderCapability)
class ProviderCapabilityAdmin(admin.ModelAdmin):
    list_display = ("provider", "capability", "declared", "default_model", "score")
    list_filter = ("capability", "declared", "provider")
    list_select_related = ("provider",)
    search_fields = ("provider__name", "default_model")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Added beside the provider, where its kind is checked."""
        return False


@admin.register(ProviderModel)
class ProviderModelAdmin(admin.ModelAdmin):
    list_display = ("model_id", "provider", "configured", "discovered_at")
    list_filter = ("configured", "provider")
    list_select_related = ("provider",)
    search_fields = ("model_id", "provider__name")
    readonly_fields = ("discovered_at",)


@admin.register(ModelAlias)
class ModelAliasAdmin(admin.ModelAdmin):
    list_display = ("name", "target", "position")
    search_fields = ("name", "target")
    list_filter = ()


@admin.register(FileHeader)
class FileHeaderAdmin(admin.ModelAdmin):
    list_display = ("description", "schema")

    def has_add_permission(self, request: HttpRequest, *args: Any) -> bool:
        return not FileHeader.objects.exists()
