from django.contrib import admin
from django.http import HttpRequest

from gateway import staff_accounts  # noqa: F401 - importing puts our form of users in the place of Django's
from gateway.console import change_log
from gateway.console.change_log import TableFilter
from gateway.models import ConfigChange, ConfigFile, ConfigVersion, StaffSecondFactor


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
    list_display = ("created_at", "by", "action_taken", "table_name", "row", "what_differs", "reason")
    list_filter = ("action", TableFilter, "author", "created_at")
    search_fields = ("row", "author", "reason")
    date_hierarchy = "created_at"
    list_per_page = 50

    def get_fields(self, request: HttpRequest, obj: ConfigChange | None = None) -> list[str]:
        """The row as a link only for who may open it."""
        row = "object_link" if obj and change_log.may_open(request, obj) else "row"
        return ["created_at", "by", "reason", "table_name", row, "action_taken", "difference"]

    def get_readonly_fields(self, request: HttpRequest, obj: ConfigChange | None = None) -> list[str]:
        return self.get_fields(request, obj)

    @admin.display(description="Changed by", ordering="author")
    def by(self, change: ConfigChange) -> str:
        return change.author or "unknown (outside of the admin and the commands)"

    @admin.display(description="Action", ordering="action")
    def action_taken(self, change: ConfigChange) -> str:
        return change.action

    @admin.display(description="Table", ordering="table")
    def table_name(self, change: ConfigChange) -> str:
        return change_log.table_name(change.table)

    @admin.display(description="Fields")
    def what_differs(self, change: ConfigChange) -> str:
        return change_log.field_names(change)

    @admin.display(description="Row")
    def object_link(self, change: ConfigChange) -> str:
        return change_log.object_link(change)

    @admin.display(description="Before → after")
    def difference(self, change: ConfigChange) -> str:
        return change_log.difference(change)


@admin.register(StaffSecondFactor)
class StaffSecondFactorAdmin(KeptByTheProduct):
    """Who has one. It is set up by its owner and reset by `manage.py reset_second_factor`."""

    list_display = ("user", "confirmed_at", "backup_codes_left")
    list_select_related = ("user",)
    search_fields = ("user__username",)
    fields = readonly_fields = ("user", "confirmed_at", "backup_codes_left")

    @admin.display(description="Backup codes left")
    def backup_codes_left(self, factor: StaffSecondFactor) -> int:
        return len(factor.backup_digests)
