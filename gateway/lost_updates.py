"""Two people with the same form open: the later save must not undo the earlier one without a word.

A change form carries digests of what it showed. When something else is stored by the time it is sent, and saving
would put another value over it, the form is refused once: it says who changed what, keeps what was typed, and
carries the digests of now, so that sending it again goes through.
"""

import hashlib
import json
from collections.abc import Collection, Iterator
from typing import Any

import msgspec
from django import forms
from django.contrib.admin import ModelAdmin
from django.core.exceptions import ValidationError
from django.db import connection
from django.db.models import Model, Q
from django.forms.models import _get_foreign_key
from django.http import HttpRequest, HttpResponse

from gateway import versions
from gateway.changes import NOT_CONFIGURATION, is_secret, watched
from gateway.console.change_log import in_words
from gateway.models import ConfigChange

FIELD = "_shown"
"""The hidden field. A form without one, sent by a script that never opened the page, has shown nothing to undo."""
MOST_CHARS = 200
REFUSED = (
    "“{row}” was changed{by} meanwhile: {what}. Your input is still here; save again to put yours over it."
)


class Shown(msgspec.Struct):
    """`at`: the newest change that the log had then. `digests`: by the name of a field, or of a cell of a grid."""

    at: int
    digests: dict[str, str]


class GuardedForm:
    """Before a model's change form. What the person sees is the form's initial values: the stored ones."""

    guard: "GuardedAdmin"
    request: HttpRequest

    def clean(self: Any) -> Any:
        data = super().clean()  # type: ignore[misc]
        if problem := self.guard.meanwhile(self.request, self):
            self.add_error(None, ValidationError(problem, code="meanwhile"))
        return data


class GuardedAdmin:
    """Before the admin of a table that people change."""

    def get_form(self: Any, request: HttpRequest, obj: Any = None, change: bool = False, **more: Any) -> Any:
        form = super().get_form(request, obj, change=change, **more)  # type: ignore[misc]
        if obj is None:
            return form
        return type(form.__name__, (GuardedForm, form), {"guard": self, "request": request})

    def get_object(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        """Who saves waits for who is saving: the row is read once the other's is stored."""
        changes = request.method == "POST" and connection.in_atomic_block
        if changes and self.model._meta.app_label in versions.WATCHED_APPS:
            versions.queue()
        found = super().get_object(request, *args, **kwargs)  # type: ignore[misc]
        if found is None or not changes or not connection.features.has_select_for_update:
            return found
        self.model._base_manager.select_for_update().filter(pk=found.pk).first()
        return super().get_object(request, *args, **kwargs)  # type: ignore[misc]

    def render_change_form(
        self: Any, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = kwargs.get("obj")
        if kwargs.get("change") and row is not None and self.has_change_permission(request, row):
            digests = _digests(context["adminform"].form, dict(self._cells(request, row)))
            shown = Shown(ConfigChange.objects.values_list("pk", flat=True).first() or 0, digests)
            context |= {"shown_field": FIELD, "shown": msgspec.json.encode(shown).decode()}
        response: HttpResponse = super().render_change_form(request, context, *args, **kwargs)  # type: ignore[misc]
        return response

    def meanwhile(self, request: HttpRequest, form: Any) -> str:
        """What somebody else stored and this form would undo; "" when it undoes nothing."""
        shown = _shown(request.POST.get(FIELD, ""))
        if shown is None:
            return ""
        cells = dict(self._cells(request, form.instance))
        now = _digests(form, cells)
        names = dict.fromkeys((*shown.digests, *cells))
        others = [name for name in names if shown.digests.get(name) != now.get(name)]
        undone = [name for name in others if name not in form.fields or name in form.changed_data]
        if not undone:
            return ""
        what = "; ".join(_now(form, cells, name) for name in undone)
        by = _authors(request, form.instance, shown.at, undone)
        return REFUSED.format(row=form.instance, by=by and f" by {by}", what=what)

    def _cells(self: Any, request: HttpRequest, row: Model) -> Iterator[tuple[str, Any]]:
        """What the grids below the form show. Their first column says which row it is."""
        for inline in self.get_inline_instances(request, row):
            parent = _get_foreign_key(self.model, inline.model, fk_name=inline.fk_name)
            first, *columns = inline.fields
            for below in inline.model._base_manager.filter(**{parent.name: row}):
                for column in columns:
                    label = inline.model._meta.get_field(column).verbose_name
                    yield f"{getattr(below, first)}: {label}", getattr(below, column)


def guarded(model: type[Model], admin: type[ModelAdmin]) -> type[ModelAdmin]:
    """The admin itself for what is no configuration."""
    if not watched(model):
        return admin
    return type(admin.__name__, (GuardedAdmin, admin), {"__module__": admin.__module__})


def _shown(sent: str) -> Shown | None:
    try:
        return msgspec.json.decode(sent, type=Shown)
    except msgspec.MsgspecError:
        return None


def _digests(form: Any, cells: dict[str, Any]) -> dict[str, str]:
    kept = [name for name in form.fields if name in form.initial and not form.fields[name].disabled]
    values = {name: form.initial[name] for name in kept if name not in NOT_CONFIGURATION}
    return {name: _digest(value) for name, value in (values | cells).items()}


def _digest(value: Any) -> str:
    if isinstance(value, list) and any(isinstance(item, Model) for item in value):
        value = sorted(item.pk for item in value)
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _now(form: Any, cells: dict[str, Any], name: str) -> str:
    if name in form.fields:
        label, value = form[name].label, _named(form.fields[name], form.initial.get(name))
    elif name in cells:
        label, value = name, cells[name]
    else:
        return f"{name} is no longer there"
    said = " ".join(in_words(value).split()) or "empty"
    return f"{label} is now {said if len(said) <= MOST_CHARS else said[:MOST_CHARS] + ' …'}"


def _named(field: Any, value: Any) -> Any:
    """Of a choice, what the page calls it."""
    if isinstance(field, forms.ModelMultipleChoiceField) or value in (None, ""):
        return value
    if isinstance(field, forms.ModelChoiceField):
        return field.queryset.filter(pk=value).first()
    if isinstance(field, forms.ChoiceField) and not isinstance(value, list):
        return dict(field.choices).get(value, value)
    return value


def _authors(request: HttpRequest, row: Model, at: int, undone: Collection[str]) -> str:
    label, key = row._meta.label_lower, str(row.pk)
    known = {field.name for field in row._meta.get_fields()}
    mine = [
        change.author
        for change in ConfigChange.objects.filter(pk__gt=at, table=label, object_id=key)
        if set(change.after) & set(undone)
    ]
    if not known.issuperset(undone):
        mine += [change.author for change in ConfigChange.objects.filter(_below(row), pk__gt=at)]
    names = sorted({"you" if name == request.user.get_username() else name for name in mine if name})
    return " and ".join(names)


def _below(row: Model) -> Q:
    """Changes of the rows that belong to this one, but for those with secrets, which have pages of their own."""
    found = Q(pk__in=())
    for relation in row._meta.related_objects:
        model, name = relation.related_model, relation.field.name
        if watched(model) and not any(is_secret(field) for field in model._meta.concrete_fields):
            there = [str(pk) for pk in model._base_manager.filter(**{name: row}).values_list("pk", flat=True)]
            named = Q(**{f"after__{name}": str(row)}) | Q(**{f"before__{name}": str(row)})
            found |= Q(table=model._meta.label_lower) & (named | Q(object_id__in=there))
    return found
