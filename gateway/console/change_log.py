"""How the rows of the change log read: names for tables and fields, a link to the row, before → after."""

from typing import Any, NamedTuple

from django.apps import apps
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html

from gateway.changes import WATCHED_APPS
from gateway.models import ConfigChange

SHOWN_CHARS = 2_000


class Line(NamedTuple):
    field: str
    before: str
    after: str


class TableFilter(admin.SimpleListFilter):
    title = "table"
    parameter_name = "table"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        models = [model for app in sorted(WATCHED_APPS) for model in apps.get_app_config(app).get_models()]
        return [(model._meta.label_lower, str(model._meta.verbose_name)) for model in models]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ConfigChange]) -> QuerySet[ConfigChange]:
        return queryset.filter(table=self.value()) if self.value() else queryset


def _model(table: str) -> type[Model] | None:
    """None for a table of an older version of the product."""
    try:
        return apps.get_model(table)
    except (LookupError, ValueError):
        return None


def table_name(table: str) -> str:
    model = _model(table)
    return str(model._meta.verbose_name) if model else table


def _field_name(model: type[Model] | None, name: str) -> str:
    known = {field.name: str(field.verbose_name) for field in model._meta.concrete_fields} if model else {}
    return known.get(name, name)


def field_names(change: ConfigChange) -> str:
    """Of what differs; a row added or removed is named by itself."""
    if change.action != "changed":
        return ""
    return ", ".join(_field_name(_model(change.table), name) for name in change.after)


def may_open(request: HttpRequest, change: ConfigChange) -> bool:
    model = _model(change.table)
    registered = admin.site._registry.get(model) if model else None
    return registered is not None and registered.has_view_or_change_permission(request)


def object_link(change: ConfigChange) -> str:
    model = _model(change.table)
    if model is None or not change.object_id or not model._base_manager.filter(pk=change.object_id).exists():
        return f"{change.row} (no longer there)" if change.action != "removed" else change.row
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    return format_html('<a href="{}">{}</a>', reverse(name, args=[change.object_id]), change.row)


def difference(change: ConfigChange) -> str:
    model = _model(change.table)
    names = dict.fromkeys((*change.before, *change.after))
    lines = [
        Line(_field_name(model, name), _text(change.before.get(name)), _text(change.after.get(name)))
        for name in names
    ]
    return render_to_string("admin/console/difference.html", {"lines": lines, "change": change})


def _text(value: Any) -> str:
    """As people read it; "" for nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + " …"
