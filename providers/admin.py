"""The smaller tables of providers in the admin; the provider's own pages are in `provider_admin.py`."""

from django.contrib import admin, messages
from django.http import HttpRequest

from providers.header_form import FileHeaderForm
from providers.model_forms import ModelAliasForm, ProviderModelForm
from providers.models import FileHeader, ModelAlias, ProviderCapability, ProviderModel
from providers.provider_admin import ProviderAdmin
from providers.unlisted import alias_warnings

__all__ = ["ProviderAdmin"]


@admin.register(ProviderCapability)
class ProviderCapabilityAdmin(admin.ModelAdmin):
    empty_says = "No provider declares a capability yet. They are ticked on a provider's page."
    empty_link = ("Providers", "admin:providers_provider_changelist")
    list_display = ("provider", "capability", "declared", "default_model", "score")
    list_filter = ("capability", "declared", "provider")
    list_select_related = ("provider",)
    search_fields = ("provider__name", "default_model")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Changed on the provider's page, where its kind is checked and one capability stays."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(ProviderModel)
class ProviderModelAdmin(admin.ModelAdmin):
    form = ProviderModelForm
    empty_says = "No model is known yet. Discover models finds those of a provider: it stands on the list of providers."
    list_display = ("model_id", "provider", "configured", "discovered_at")
    list_filter = ("configured", "provider")
    list_select_related = ("provider",)
    search_fields = ("model_id", "provider__name")
    readonly_fields = ("discovered_at",)


@admin.register(ModelAlias)
class ModelAliasAdmin(admin.ModelAdmin):
    form = ModelAliasForm
    empty_says = (
        "No alias yet. Under an alias, clients ask for a provider's model by a name of your choosing."
    )
    list_display = ("name", "provider", "model_id", "position")
    list_select_related = ("provider",)
    list_filter = ("provider",)
    search_fields = ("name", "provider__name", "model_id")

    def save_model(self, request: HttpRequest, obj: ModelAlias, form: ModelAliasForm, change: bool) -> None:
        super().save_model(request, obj, form, change)
        for said in alias_warnings(obj):
            self.message_user(request, said, messages.WARNING)


@admin.register(FileHeader)
class FileHeaderAdmin(admin.ModelAdmin):
    form = FileHeaderForm
    empty_says = "providers.json has neither a description nor a schema. It needs none."
    list_display = ("description", "schema")
    search_fields = ("description",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and not FileHeader.objects.exists()
