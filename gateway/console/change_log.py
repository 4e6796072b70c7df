"""How the rows of the change log read: names for tables and fields, a link to the row, before → after."""

from typing import Any, NamedTuple

from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html

from gateway.changelog import BACKUPS, ERASED, EXPORTS
from gateway.changes import watched
from gateway.models import ConfigChange, ConfigVersion
from gateway.naming import field_name, field_names, model_of, table_name

SHOWN_CHARS = 2_000
SHOWN_ROWS = 50


class Line(NamedTuple):
    field: str
    before: str
    after: str


class Row(NamedTuple):
    """One row of the change log, as the page of its version lists it."""

    change: ConfigChange
    table: str
    fields: str


class TableFilter(admin.SimpleListFilter):
    title = "table"
    parameter_name = "table"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        models = [model for model in apps.get_models() if watched(model)]
        named = [(model._meta.label_lower, str(model._meta.verbose_name)) for model in models]
        return [*named, *((name, name) for name in (BACKUPS, EXPORTS, ERASED))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ConfigChange]) -> QuerySet[ConfigChange]:
        return queryset.filter(table=self.value()) if self.value() else queryset


def differing(change: ConfigChange) -> str:
    return ", ".join(field_names(change))


def may_open(request: HttpRequest, change: ConfigChange) -> bool:
    model = model_of(change.table)
    registered = admin.site._registry.get(model) if model else None
    return registered is not None and registered.has_view_or_change_permission(request)


def object_link(change: ConfigChange) -> str:
    model = model_of(change.table)
    if model is None or not change.object_id or not model._base_manager.filter(pk=change.object_id).exists():
        return f"{change.row} (no longer there)" if change.action != "removed" else change.row
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[change.object_id]), change.row)


def version_link(change: ConfigChange) -> str:
    url = reverse("admin:gateway_configversion_change", args=[change.version_id])
    return format_html('<a href="{}">version {}</a>', url, change.version_id)


def part_of(version: ConfigVersion, request: HttpRequest) -> dict[str, Any]:
    """For the page of a version: its first rows of the change log, for who may read that."""
    if not request.user.has_perm("gateway.view_configchange"):  # type: ignore[union-attr]
        return {}
    changes = version.changes.order_by("pk")
    rows = [Row(change, table_name(change.table), differing(change)) for change in changes[:SHOWN_ROWS]]
    return {"rows": rows, "more_rows": changes.count() - len(rows)}


def difference(change: ConfigChange) -> str:
    names = dict.fromkeys((*change.before, *change.after))
    lines = [
        Line(
            field_name(change.table, name),
            in_words(change.before.get(name)),
            in_words(change.after.get(name)),
        )
        for name in names
    ]
    return render_to_string("admin/console/difference.html", {"lines": lines, "change": change})


def in_words(value: Any) -> str:
    """As people read it; "" for nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + " …"
