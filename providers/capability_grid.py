"""The grid of a provider's form: one row for each capability, whether it is stored yet or not."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from providers.adapters import ADAPTERS
from providers.import_rules import refuse
from providers.models import Provider, ProviderCapability
from providers.types import CAPABILITIES

KNOWN_MODELS = "known-models"
"""Id of the page's `<datalist>`."""
STAND_IN: dict[str, Any] = {"baseUrl": "http://localhost", "defaultModel": "m"}
"""What a row's entry says besides, which is the provider's form to judge."""


class CapabilityForm(forms.ModelForm):
    class Meta:
        model = ProviderCapability
        fields = ("capability", "declared", "default_model", "score")
        widgets = {
            "capability": forms.HiddenInput,
            "default_model": forms.TextInput(attrs={"list": KNOWN_MODELS, "autocomplete": "off"}),
            # Of a field for numbers, a browser sends nothing when it cannot read what was typed.
            "score": forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        }
        error_messages = {"score": {"invalid": "Score is a number, such as 90 or 1.5."}}
        # One paragraph below the grid explains the columns.
        help_texts = {"declared": "", "default_model": "", "score": ""}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        score = self.initial.get("score")
        if isinstance(score, float) and score.is_integer():
            self.initial["score"] = int(score)
        for name, said in (("declared", "enabled"), ("default_model", "default model"), ("score", "score")):
            self.fields[name].widget.attrs["aria-label"] = f"{self.about}: {said}"

    @property
    def about(self) -> str:
        """The capability's name; in a template, `form.capability` is the field."""
        return str(self["capability"].value() or "")

    @property
    def says_something(self) -> bool:
        said = [self[name].value() for name in ("declared", "default_model", "score")]
        return any(value is not None and value is not False and str(value).strip() for value in said)

    def has_changed(self) -> bool:
        """A row that is not stored yet counts when it says something, however it was filled in at first."""
        return super().has_changed() if self.instance.pk else self.says_something


class CapabilityFormSet(forms.BaseInlineFormSet):
    """At least one capability, and none that the provider's kind cannot do. Rows that say nothing are not kept."""

    def __init__(self, data: Any = None, *args: Any, **more: Any) -> None:
        super().__init__(data, *args, **more)
        if data is not None and is_stored(self.instance):
            self.data = _settled(
                data, self.prefix, dict(self.instance.capability_rows.values_list("capability", "pk"))
            )

    @property
    def rows(self) -> list[CapabilityForm]:
        known = {name: n for n, name in enumerate(CAPABILITIES)}
        return sorted(self.forms, key=lambda form: known.get(form.about, len(known)))

    def add_fields(self, form: forms.Form, index: int | None) -> None:
        super().add_fields(form, index)
        form.fields.pop(forms.formsets.DELETION_FIELD_NAME, None)

    def _should_delete_form(self, form: CapabilityForm) -> bool:
        return not form.says_something

    def save_new(self, form: CapabilityForm, commit: bool = True) -> ProviderCapability:
        """Behind those that are there: the order of the rows is that of the file."""
        stored = [known.instance.position for known in self.forms if known.instance.pk]
        form.instance.position = max(stored, default=-1) + 1
        row: ProviderCapability = super().save_new(form, commit)
        return row

    def clean(self) -> None:
        super().clean()
        kept = [form.cleaned_data for form in self.forms if form.cleaned_data]
        declared = [row["capability"] for row in kept if row.get("declared") and row.get("capability")]
        if not declared:
            raise forms.ValidationError("Enable at least one capability.")
        for row in self.forms:
            if row.is_valid() and row.cleaned_data:
                self._judge(row)

    def _judge(self, row: CapabilityForm) -> None:
        name, said = row.about, row.cleaned_data
        adapter = ADAPTERS.get(self.instance.kind)
        if adapter is None:
            return  # the provider's own form says so
        able = [name] if said["declared"] else [n for n in CAPABILITIES if n in adapter.capabilities][:1]
        entry = STAND_IN | {"kind": adapter.kind, "capabilities": able}
        if said["default_model"]:
            entry["defaults"] = {name: said["default_model"]}
        if said["score"] is not None:
            entry["scores"] = {name: said["score"]}
        places = {"capabilities": "declared", f"defaults/{name}": "default_model", f"scores/{name}": "score"}
        pointers = {f"/providers/x/{below}": field for below, field in places.items()}
        refuse(row, {"providers": {"x": entry}}, pointers)


def _settled(data: Any, prefix: str, stored: dict[str, int]) -> Any:
    """What was sent, with the rows that are stored now in front and by their keys, as a formset wants them: since the
    page was opened, somebody may have stored a capability, or removed one. It is the name that says which is meant."""
    sent = {data.get(f"{prefix}-{n}-capability"): n for n in range(len(CAPABILITIES))}
    if None in sent or set(sent) != set(CAPABILITIES):
        return data
    found = data.copy()
    names = [*(name for name in sent if name in stored), *(name for name in sent if name not in stored)]
    for n, name in enumerate(names):
        for field in ("capability", "declared", "default_model", "score"):
            found.pop(f"{prefix}-{n}-{field}", None)
            if (value := data.get(f"{prefix}-{sent[name]}-{field}")) is not None:
                found[f"{prefix}-{n}-{field}"] = value
        found[f"{prefix}-{n}-id"] = str(stored.get(name, ""))
    found[f"{prefix}-INITIAL_FORMS"] = str(len(stored))
    return found


class CapabilityInline(admin.TabularInline):
    model = ProviderCapability
    form = CapabilityForm
    formset = CapabilityFormSet
    fields = ("capability", "declared", "default_model", "score")
    template = "admin/providers/capability_grid.html"
    max_num = len(CAPABILITIES)

    def get_extra(self, request: HttpRequest, obj: Provider | None = None, **kwargs: Any) -> int:
        return len(missing(obj))


def missing(provider: Provider | None) -> list[str]:
    """The capabilities that have no row yet."""
    stored = provider.capability_rows.values_list("capability", flat=True) if is_stored(provider) else ()
    return [name for name in CAPABILITIES if name not in set(stored)]


def first_rows(provider: Provider | None, kind: str | None) -> list[dict[str, Any]]:
    """What the rows say that are not stored yet. A new provider chats; embedding takes a model made for it."""
    adapter = ADAPTERS.get(kind or "")
    able = adapter.capabilities if adapter else frozenset(CAPABILITIES)
    chats = frozenset() if is_stored(provider) else able - {"embed"}
    return [{"capability": name, "declared": name in chats} for name in missing(provider)]


def is_stored(provider: Provider | None) -> bool:
    """A form that adds carries a provider too, which has no rows to ask for."""
    return provider is not None and provider.pk is not None
