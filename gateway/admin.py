from django.contrib import admin
from django.http import HttpRequest

from gateway.models import ConfigChange, ConfigFile, ConfigVersion


class KeptByTheProduct(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(ConfigVersion)
class ConfigVersionAdmin(KeptByTheProduct):
    list_display = ("id", "created_at", "author", "reason")
    list_filter = ("author",)
    search_fields = ("author", "reason")
    date_hierarchy = "created_at"


@admin.register(ConfigFile)
class ConfigFileAdmin(KeptByTheProduct):
    list_display = ("name", "synced_at")
    search_fields = ("name",)


@admin.register(ConfigChange)
class ConfigChangeAdmin(KeptByTheProduct):
    list_display = ("created_at", "author", "table", "row", "action", "reason")
    list_filter = ("action", "table", "author")
    search_fields = ("row", "author", "reason")
    date_hierarchy = "created_at"
