"""The client form: lists are typed one item a line."""

import json
from typing import Any

from django import forms

from clients.models import Client


class LinesField(forms.Field):
    """A list of texts, one a line; nothing at all means no restriction (None)."""

    widget = forms.Textarea(attrs={"rows": 3, "cols": 40})

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str] | None:
        if value in (None, ""):
            return None
        lines = [line.strip() for line in str(value).splitlines()]
        return [line for line in lines if line] or None

    def has_changed(self, initial: Any, data: Any) -> bool:
        return json.dumps(initial) != json.dumps(self.to_python(data))


class ClientForm(forms.ModelForm):
    allowed_networks = LinesField(
        required=False, help_text="One network a line, such as 10.1.0.0/16. Empty: any."
    )
    allowed_providers = LinesField(required=False, help_text="One provider a line. Empty: any.")
    allowed_models = LinesField(required=False, help_text="One model a line. Empty: any.")

    class Meta:
        model = Client
        fields = (
            "tool_id",
            "enabled",
            "notes",
            "max_requests",
            "interval_ms",
            "max_concurrency",
            "allowed_networks",
            "allowed_providers",
            "allowed_models",
        )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if (data.get("max_requests") is None) != (data.get("interval_ms") is None):
            self.add_error("interval_ms", "A limit has both a number of requests and an interval.")
        for name in ("max_requests", "interval_ms", "max_concurrency"):
            if data.get(name) == 0:
                self.add_error(name, "At least 1; leave both empty for the default.")
        return data
