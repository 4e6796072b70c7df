from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.urls import URLPattern, URLResolver, path

from gateway import (
    staff_accounts,  # noqa: F401 - importing puts our form of users in the place of Django's
    summary,
)
from gateway.console import change_log
from gateway.console.change_log import TableFilter
from gateway.console.configuration import MAY_CHANGE, require, shown
from gateway.console.plan import propose
from gateway.models import ConfigChange, ConfigFile, ConfigVersion, StaffSecondFactor
from gateway.naming import table_name
from gateway.reading import Content
from gateway.rendering import CLIENTS, PROVIDERS, pack, render_all, unpack

ROLL_BACK_CHOICES = ((PROVIDERS, "Providers and aliases"), (CLIENTS, "Clients, their grants and tokens"))
"""File → what goes back with it. Of one alone, the other stays: to undo a routing need not stop newer tokens."""


class KeptByTheProduct(admin.ModelAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False


@admin.register(ConfigVersion)
class ConfigVersionAdmin(KeptByTheProduct):
    empty_says = (
        "No version yet. Each change of providers or clients makes one, and leads back to what was before."
    )
    empty_link = ("Configuration", "admin:configuration")
    list_display = ("version", "created_at", "author", "reason", "entries_changed")
    list_filter = ("author",)
    search_fields = ("author", "reason")
    date_hierarchy = "created_at"
    list_per_page = 25
    fields = ("created_at", "author", "reason")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ConfigVersion]:
        """Both files of each would be many megabytes for a list; the page of one fetches them."""
        return super().get_queryset(request).defer("before")

    def get_urls(self) -> list[URLPattern | URLResolver]:
        view = self.admin_site.admin_view(self.roll_back)
        return [
            path("<path:object_id>/rollback/", view, name="gateway_configversion_rollback"),
            *super().get_urls(),
        ]

    @admin.display(description="Version", ordering="pk")
    def version(self, version: ConfigVersion) -> int:
        return version.pk

    @admin.display(description="Entries")
    def entries_changed(self, version: ConfigVersion) -> str:
        if version.added is None:
            return "not counted"
        counts = ((version.added, "added"), (version.changed, "changed"), (version.removed, "removed"))
        return ", ".join(f"{count} {action}" for count, action in counts if count) or "none"

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """With its difference, for whoever may see versions: it tells no secret, only where one comes from."""
        version = self.get_object(request, object_id)
        context: dict[str, Any] = {
            "may_change": request.user.has_perms(MAY_CHANGE),
        }
        if version is not None and self.has_view_permission(request, version):
            is_newest, left = _left(version)
            found = summary.changes_of(version.before, left)
            context |= {
                "kept": found is not None,
                "difference": shown(found or {}),
                "is_newest": is_newest,
                "may_roll_back": not is_newest and left is not None,
                "roll_back_choices": ROLL_BACK_CHOICES,
            }
            context |= change_log.part_of(version, request)
        return super().change_view(request, object_id, form_url, context | (extra_context or {}))

    def roll_back(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Plans the import of what the chosen files said at that version."""
        require(request, MAY_CHANGE)
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        version = self.get_object(request, object_id)
        if version is None:
            raise Http404
        _, left = _left(version)
        if left is None:
            messages.error(request, f"What the files said at version {version.pk} was not kept.")
            return redirect("admin:gateway_configversion_change", version.pk)
        contents = [
            Content(name, f"{name} at version {version.pk}", text.encode())
            for name, text in unpack(left).items()
            if name in request.POST.getlist("file")
        ]
        if not contents:
            messages.error(request, "Choose what to roll back: one of the files at least.")
            return redirect("admin:gateway_configversion_change", version.pk)
        what = f" of {contents[0].name}" if len(contents) == 1 else ""
        return propose(request, contents, merge=False, reason=f"roll back{what} to version {version.pk}")


def _left(version: ConfigVersion) -> tuple[bool, bytes | None]:
    """Whether it is the newest, and both files as it left them, packed; None where the next one kept nothing."""
    later = ConfigVersion.objects.filter(pk__gt=version.pk).order_by("pk").first()
    if later is None:
        return True, pack(render_all())
    return False, bytes(later.before) if later.before else None


@admin.register(ConfigFile)
class ConfigFileAdmin(KeptByTheProduct):
    empty_says = "No file has been imported or exported yet."
    empty_link = ("Configuration", "admin:configuration")
    list_display = ("name", "synced_at")
    search_fields = ("name",)


@admin.register(ConfigChange)
class ConfigChangeAdmin(KeptByTheProduct):
    empty_says = "Nothing has been changed yet. Who changes what, when and why is kept here."
    empty_link = ("Home", "admin:index")
    list_display = ("created_at", "by", "action_taken", "table_name", "row", "what_differs", "reason")
    list_filter = ("action", TableFilter, "author", "created_at")
    search_fields = ("row", "author", "reason")
    date_hierarchy = "created_at"
    list_per_page = 50

    def get_fields(self, request: HttpRequest, obj: ConfigChange | None = None) -> list[str]:
        """The row as a link only for who may open it."""
        row = "object_link" if obj and change_log.may_open(request, obj) else "row"
        known = ["version_link"] if obj and obj.version_id else []
        return ["created_at", "by", "reason", *known, "table_name", row, "action_taken", "difference"]

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
        return table_name(change.table)

    @admin.display(description="Fields")
    def what_differs(self, change: ConfigChange) -> str:
        return change_log.differing(change)

    @admin.display(description="Row")
    def object_link(self, change: ConfigChange) -> str:
        return change_log.object_link(change)

    @admin.display(description="Version")
    def version_link(self, change: ConfigChange) -> str:
        return change_log.version_link(change)

    @admin.display(description="Before → after")
    def difference(self, change: ConfigChange) -> str:
        return change_log.difference(change)


@admin.register(StaffSecondFactor)
class StaffSecondFactorAdmin(KeptByTheProduct):
    """Who has one. It is set up by its owner and reset by `manage.py reset_second_factor`."""

    empty_says = "Nobody has set up a second factor yet. Everybody does that for their own account."
    empty_link = ("Home", "admin:index")
    list_display = ("user", "confirmed_at", "backup_codes_left")
    list_select_related = ("user",)
    search_fields = ("user__username",)
    fields = readonly_fields = ("user", "confirmed_at", "backup_codes_left")

    @admin.display(description="Backup codes left")
    def backup_codes_left(self, factor: StaffSecondFactor) -> int:
        return len(factor.backup_digests)
