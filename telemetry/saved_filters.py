"""Filters of the record that somebody keeps under a name: for himself, or for all who may read the record."""

from typing import Any

from django import forms
from django.contrib import messages
from django.core.validators import RegexValidator
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from telemetry.filter_form import read_query
from telemetry.models import SavedFilter

MOST = 100
"""Filters that one person may keep."""
MOST_SHARED = 100
"""Others' filters that are offered."""
NAMES = RegexValidator(r"[\x00-\x1f\x7f]", "A name is one line of text.", inverse_match=True)
TAKEN = "You have a filter of this name already."


class SaveForm(forms.Form):
    """`kept`: the row that is changed; without one, a new filter is made of `query`."""

    use_required_attribute = False
    name = forms.CharField(
        label="Name",
        max_length=60,
        validators=[NAMES],
        widget=forms.TextInput(attrs={"size": 24, "autocomplete": "off"}),
    )
    shared = forms.BooleanField(required=False, label="Others may see it")
    query = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(
        self, user: Any, data: Any = None, kept: SavedFilter | None = None, initial: Any = None
    ) -> None:
        super().__init__(
            data, initial=initial, label_suffix="", auto_id=f"keep_{kept.pk}_%s" if kept else "keep_%s"
        )
        self._user, self._kept = user, kept

    def clean_query(self) -> str:
        """As the list reads it; places in it are left out: a filter begins at the newest."""
        if self._kept is not None:
            return self._kept.query
        form = read_query(self.cleaned_data["query"])
        if not form.is_valid():
            raise forms.ValidationError("This is no filter of the record.")
        query = form.query()
        if not query:
            raise forms.ValidationError("Nothing is filtered yet: set a filter first, then save it.")
        if len(query) > SavedFilter._meta.get_field("query").max_length:
            raise forms.ValidationError("The filter is too long to be saved.")
        return query

    def clean(self) -> dict[str, Any]:
        own = SavedFilter.objects.filter(owner=self._user)
        if self._kept is None and own.count() >= MOST:
            raise forms.ValidationError(f"You have {MOST} filters, which is the most. Delete one first.")
        return self.cleaned_data

    def save(self) -> bool:
        """False, with an error on the form, when the name is taken."""
        row = self._kept or SavedFilter(owner=self._user, query=self.cleaned_data["query"])
        row.name, row.shared = self.cleaned_data["name"], self.cleaned_data["shared"]
        try:
            with transaction.atomic():
                row.save()
        except IntegrityError:
            self.add_error("name", TAKEN)
            return False
        return True


def seen_by(user: Any) -> list[SavedFilter]:
    """His own, then those that others share."""
    rows = SavedFilter.objects.order_by("name", "pk")
    shared = rows.filter(shared=True).exclude(owner=user).select_related("owner")
    return [*rows.filter(owner=user)[:MOST], *shared[:MOST_SHARED]]


def page(request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
    """All that one may see; his own can be renamed, shared and deleted. New ones are posted from the list."""
    form, bound = None, None
    if request.method == "POST":
        bound = _own(request)
        form, done = _deleted(request, bound) if "delete" in request.POST else _saved(request, bound)
        if done:
            return HttpResponseRedirect(done)
    rows = [_Line(row, request.user, form if row == bound else None) for row in seen_by(request.user)]
    context |= {"title": "Saved filters", "rows": rows, "most": MOST}
    context["form"] = form if bound is None else None
    if form is not None and bound is None:
        context |= _unsaved(form.data.get("query", ""))
    return render(request, "admin/telemetry/requestlog/filters.html", context, status=400 if form else 200)


class _Line:
    """A filter as the page shows it. `form`: for its owner only."""

    def __init__(self, row: SavedFilter, user: Any, form: SaveForm | None) -> None:
        self.row, self.own = row, row.owner_id == user.pk
        self.words = words_of(row.query)
        self.form = form or SaveForm(user, kept=row, initial={"name": row.name, "shared": row.shared})


def _unsaved(typed: str) -> dict[str, str]:
    """The filter that was to be saved, so that it is not lost for its name; nothing where it was none."""
    form = read_query(typed)
    if not form.is_valid() or not form.query():
        return {}
    return {"unsaved": form.query(), "unsaved_words": form.words()}


def words_of(query: str) -> str:
    form = read_query(query)
    return form.words() if form.is_valid() else "no longer a filter of this version"


def _own(request: HttpRequest) -> SavedFilter | None:
    """The row that is meant, None for a new one. Raises `Http404` for another's."""
    text = request.POST.get("filter", "")
    if not text:
        return None
    row = SavedFilter.objects.filter(owner=request.user, pk=text).first() if _is_key(text) else None
    if row is None:
        raise Http404
    return row


def _is_key(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19


def _deleted(request: HttpRequest, row: SavedFilter | None) -> tuple[None, str]:
    if row is None:
        raise Http404
    row.delete()
    messages.success(request, f"“{row.name}” was deleted.")
    return None, reverse("admin:telemetry_requestlog_filters")


def _saved(request: HttpRequest, row: SavedFilter | None) -> tuple[SaveForm, str]:
    """The form, and where to go when it was saved."""
    form = SaveForm(request.user, request.POST, kept=row)
    if not form.is_valid() or not form.save():
        return form, ""
    messages.success(request, f"“{form.cleaned_data['name']}” was saved.")
    if row is not None:
        return form, reverse("admin:telemetry_requestlog_filters")
    return form, f"{reverse('admin:telemetry_requestlog_changelist')}?{form.cleaned_data['query']}"
