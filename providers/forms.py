"""The provider form: the same checks as an import, and a key field that can be written but never read."""

from typing import Any

from django import forms
from django.conf import settings

from providers.arrange import next_position
from providers.capability_grid import KNOWN_MODELS
from providers.check import egress_policy
from providers.credentials import is_sendable
from providers.document import egress_warning, url_problems
from providers.models import PRINTABLE, CredentialSource, Provider
from providers.secrets import KeyRing

MAX_MODEL_ID = 500


class ProviderForm(forms.ModelForm):
    new_key = forms.CharField(
        label="New API key",
        required=False,
        max_length=4096,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"}),
        help_text="Only for keys kept in the database. It is encrypted and never shown again.",
    )

    configured_models = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 4, "cols": 60}),
        help_text="One model a line: models that calls may name beside the default and what discovery finds.",
    )

    class Meta:
        model = Provider
        fields = (
            "name",
            "kind",
            "base_url",
            "default_model",
            "enabled",
            "credential_source",
            "credential_name",
            "connect_ms",
            "first_event_ms",
            "idle_ms",
            "total_ms",
            "max_concurrency",
            "notes",
        )
        widgets = {
            "default_model": forms.TextInput(attrs={"list": KNOWN_MODELS, "class": "vTextField"}),
            "notes": forms.Textarea(attrs={"rows": 3, "class": "vLargeTextField"}),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk:
            rows = self.instance.model_rows.filter(configured=True)
            self.initial["configured_models"] = "\n".join(rows.values_list("model_id", flat=True))

    def clean_configured_models(self) -> list[str]:
        lines = (line.strip() for line in self.cleaned_data["configured_models"].splitlines())
        models = list(dict.fromkeys(line for line in lines if line))
        for model in models:
            if len(model) > MAX_MODEL_ID:
                raise forms.ValidationError(f"A model's name has at most {MAX_MODEL_ID} characters.")
            PRINTABLE(model)
        return models

    def clean_new_key(self) -> str:
        key: str = self.cleaned_data["new_key"]
        if not is_sendable(key):
            raise forms.ValidationError("A key has only letters, digits and signs of the English keyboard.")
        return key

    def clean_base_url(self) -> str:
        url: str = self.cleaned_data["base_url"].strip()
        problems = [message for _, message in url_problems(url)]
        if not problems and (warning := egress_warning(url, egress_policy())):
            problems.append(warning)
        if problems:
            raise forms.ValidationError(problems)
        return url

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        source = data.get("credential_source")
        named = source in (CredentialSource.ENV, CredentialSource.FILE)
        if named and not data.get("credential_name"):
            self.add_error("credential_name", "Name the environment variable or the file.")
        if not named:
            data["credential_name"] = ""
        if data.get("new_key") and source != CredentialSource.STORED:
            self.add_error("new_key", "Choose “Kept in the database” to store a key here.")
        if (
            source == CredentialSource.STORED
            and not data.get("new_key")
            and not self.instance.stored_credential
        ):
            self.add_error("new_key", "Enter the key to keep.")
        return data

    def save(self, commit: bool = True) -> Provider:
        provider: Provider = super().save(commit=False)
        if not provider.pk:
            provider.position = next_position()
        key = self.cleaned_data.get("new_key")
        if provider.credential_source != CredentialSource.STORED:
            provider.stored_credential = None
        elif key:
            ring = KeyRing(settings.ENCRYPTION_KEYS)
            provider.stored_credential = ring.seal(key, bound_to=str(provider.uid))
        if commit:
            provider.save()
            self.save_m2m()
        return provider
