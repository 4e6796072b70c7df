"""The client form: methods are ticked, lists are typed one item a line."""

import json
import re
from typing import Any

import msgspec
from django import forms
from django.utils.html import escape

from clients.import_rules import refuse
from clients.kept_by_name import no_rename
from clients.loader import entry_of
from clients.models import METHOD_CHOICES, Client
from clients.suggestions import provider_names
from clients.texts import unless_untouched
from clients.types import MOST_CAPTURE_DAYS

SHOWN_NAMES = 30
LISTS = {"allowed_networks", "allowed_providers", "allowed_models"}
AT_LEAST_1 = {"max_requests", "interval_ms", "max_concurrency"}
KEPT_WHEN_ABSENT = {"capture", "capture_days"}
PLACES = {
    "/clients/0/toolId": "tool_id",
    "/clients/0/allowedMethods": "methods",
    "/clients/0/allowedNetworks": "allowed_networks",
    "/clients/0/allowedProviders": "allowed_providers",
    "/clients/0/allowedModels": "allowed_models",
    "/clients/0/rateLimit/maxRequests": "max_requests",
    "/clients/0/rateLimit/intervalMs": "interval_ms",
    "/clients/0/maxConcurrency": "max_concurrency",
    "/clients/0/capture": "capture",
    "/clients/0/captureDays": "capture_days",
    "/clients/0/notes": "notes",
}
"""JSON pointer → the field that says it."""
_LINE_END = re.compile(r"\r\n|\r|\n")


NOTHING = "(none)"
"""Stands alone in the field of a list that is there and empty, so that it is not taken for no restriction."""


class LinesField(forms.Field):
    """A list of texts, one a line; nothing at all means no restriction (None)."""

    widget = forms.Textarea(attrs={"rows": 3, "cols": 40})

    def __init__(self, *, nothing: str = NOTHING, **more: Any) -> None:
        """`nothing`: how a list without items is shown."""
        self.nothing = nothing
        super().__init__(required=False, **more)

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return "\n".join(value) or self.nothing
        return value

    def to_python(self, value: Any) -> list[str] | None:
        if value in (None, ""):
            return None
        lines = [line.strip() for line in _LINE_END.split(str(value))]
        if lines == [self.nothing]:
            return []
        return [line for line in lines if line] or None

    def unless_untouched(self, value: list[str] | None, before: list[str] | None) -> list[str] | None:
        """`before` itself, when the lines are those that it was shown as."""
        return before if value == self.to_python(self.prepare_value(before)) else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        return json.dumps(initial) != json.dumps(self.to_python(data))


class ClientForm(forms.ModelForm):
    methods = forms.MultipleChoiceField(
        choices=METHOD_CHOICES,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        label="May call",
        help_text="Nothing ticked: its tokens are known, and may call nothing.",
    )
    # An empty list of networks restricts as little as none.
    allowed_networks = LinesField(
        nothing="",
        help_text="One network a line, such as 10.1.0.0/16. Empty: any that the gateway lets in.",
    )
    allowed_providers = LinesField()
    allowed_models = LinesField(
        help_text="One model a line, as its provider calls it. Empty: any. (none): not one."
    )

    class Meta:
        model = Client
        fields = (
            "tool_id",
            "enabled",
            "notes",
            "max_requests",
            "interval_ms",
            "max_concurrency",
            "capture",
            "capture_days",
            "allowed_networks",
            "allowed_providers",
            "allowed_models",
        )
        labels = {"max_requests": "Calls per interval", "interval_ms": "Interval (ms)"}
        help_texts = {
            "tool_id": "Name the tool. Records and limits show it; the tool's requests should name it as callerTool.",
            "max_requests": "How many calls it may make in any interval. Both empty: the environment's default.",
            "interval_ms": "For example 1000 for a second, 60000 for a minute.",
            "notes": "For the people who come after you. They are written to the file and sent to nobody.",
        }
        widgets = {"notes": forms.Textarea(attrs={"rows": 3, "cols": 40})}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            rows = self.instance.permissions.all()
            self.initial.setdefault("methods", [row.method for row in rows])
        for name in KEPT_WHEN_ABSENT & self.fields.keys():
            self.fields[name].required = False
        # A person who may only look gets a form without fields.
        if "allowed_providers" in self.fields:
            self.fields["allowed_providers"].help_text = _providers_help()

    def clean_tool_id(self) -> str:
        tool_id: str = self.cleaned_data["tool_id"]
        known: str = self.instance.tool_id
        if tool_id == known.strip():
            return known
        if self.instance.pk and (said := no_rename(known)):
            raise forms.ValidationError(said)
        return tool_id

    def clean_notes(self) -> str | None:
        return unless_untouched(self.cleaned_data["notes"], self.instance.notes)

    def clean_capture(self) -> str:
        return self.cleaned_data["capture"] or self.instance.capture

    def clean_capture_days(self) -> int:
        days: int | None = self.cleaned_data["capture_days"]
        if days is None:
            return self.instance.capture_days
        if not 1 <= days <= MOST_CAPTURE_DAYS:
            raise forms.ValidationError(f"1 to {MOST_CAPTURE_DAYS} days.")
        return days

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        limit = [data[name] is None for name in ("max_requests", "interval_ms") if name in data]
        if limit in ([True, False], [False, True]):
            self.add_error("interval_ms", "A limit has both a number of requests and an interval.")
        for name in LISTS & data.keys():
            before = getattr(self.instance, name)
            data[name] = self.fields[name].unless_untouched(data[name], before)
            if data[name] is not before and NOTHING in (data[name] or ()):
                self.add_error(name, f"{NOTHING} stands alone: beside others it would be the name of one.")
        for name in [name for name in AT_LEAST_1 if data.get(name) == 0]:
            self.add_error(name, "At least 1, or empty.")
        return data

    def _post_clean(self) -> None:
        super()._post_clean()
        entry = entry_of(self.instance, self.cleaned_data.get("methods", ()), ())
        refuse(self, {"clients": [msgspec.to_builtins(entry)]}, PLACES)


def _providers_help() -> str:
    names = provider_names()
    if not names:
        return "One provider a line. Empty: any. (none): not one. There is no provider yet."
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return f"One provider a line. Empty: any. (none): not one. There are: {escape(', '.join(names[:SHOWN_NAMES]))}{more}."
