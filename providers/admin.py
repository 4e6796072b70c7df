from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from providers.forms import CapabilityFormSet, ProviderForm
from providers.loader import configure_models, credential_name
from providers.models import FileHeader, ModelAlias, Provider, ProviderCapability, ProviderModel

SHOWN_MODELS = 50


class CapabilityInline(admin.TabularInline):
    model = ProviderCapability
    formset = CapabilityFormSet
    fields = ("capability", "declared", "default_model", "score")
    extra = 0
    min_num = 1


@admin.register(Provider)
class ProviderAdmin(admin.ModelAdmin):
    form = ProviderForm
    inlines = (CapabilityInline,)
    readonly_fields = ("discovered_models",)
    list_display = (
        "name",
        "kind",
        "enabled",
        "base_url",
        "capabilities",
        "credential",
        "position",
    )
    list_editable = ("position",)
    list_filter = ("enabled", "kind", "capability_rows__capability")
    search_fields = ("name", "base_url", "default_model", "notes")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "default_model", "enabled", "position")}),
        ("Models", {"fields": ("configured_models", "discovered_models")}),
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

    def save_related(self, request: HttpRequest, form: ProviderForm, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        configure_models(form.instance, form.cleaned_data["configured_models"])

    @admin.display(description="Found by discovery")
    def discovered_models(self, provider: Provider) -> str:
        """In words: a provider may list thousands, which no form should carry."""
        found = provider.model_rows.filter(discovered_at__isnull=False) if provider.pk else None
        if not found:
            return "None yet. The running gateway asks every few seconds."
        names = ", ".join(found.values_list("model_id", flat=True)[:SHOWN_MODELS])
        more = found.count() - SHOWN_MODELS
        return f"{names} and {more} more (see Provider models)" if more > 0 else names

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
    list_display = ("name", "provider", "model_id", "position")
    list_select_related = ("provider",)
    list_filter = ("provider",)
    search_fields = ("name", "provider__name", "model_id")


@admin.register(FileHeader)
class FileHeaderAdmin(admin.ModelAdmin):
    list_display = ("description", "schema")
    search_fields = ("description",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not FileHeader.objects.exists()
