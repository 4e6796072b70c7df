"""The provider form: the same checks as an import, and a key field that can be written but never read."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.validators import MaxValueValidator

from providers.arrange import next_position
from providers.capability_grid import KNOWN_MODELS
from providers.check import egress_policy
from providers.credentials import is_sendable
from providers.document import egress_warning, is_variable, origin, url_problems
from providers.models import PRINTABLE, CredentialSource, Provider
from providers.secrets import KeyRing, is_closed, is_reserved

MAX_MODEL_ID = 500
NUMBERS = frozenset({"connect_ms", "first_event_ms", "idle_ms", "total_ms", "max_concurrency"})
MOST = 2_147_483_647
"""What a file may say at most, so that an export can be imported again."""


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
        # A person who may only look gets a form without fields.
        for name in NUMBERS & self.fields.keys():
            self.fields[name].validators.append(MaxValueValidator(MOST))
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
        problems = [message.replace("use apiKey", "see Credential below") for _, message in url_problems(url)]
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
        elif source == CredentialSource.ENV and not is_variable(data.get("credential_name")):
            # Not shown again: somebody may have typed the key itself.
            data["credential_name"] = ""
            self.data = self.data.copy()
            self.data[self.add_prefix("credential_name")] = ""
            self.add_error("credential_name", "The name of an environment variable is needed, never a key.")
        if not named:
            data["credential_name"] = ""
        elif data.get("credential_name"):
            self._require_ours_untouched(source, data["credential_name"])
        if data.get("new_key") and source != CredentialSource.STORED:
            self.add_error("new_key", "Choose “Kept in the database” to store a key here.")
        if (
            source == CredentialSource.STORED
            and not data.get("new_key")
            and not self.instance.stored_credential
        ):
            self.add_error("new_key", "Enter the key to keep.")
        elif (
            source == CredentialSource.STORED
            and not data.get("new_key")
            and self._moves(data.get("base_url"))
        ):
            self.add_error(
                "new_key", "The base URL names another address: enter the key again to send it there."
            )
        return data

    def _require_ours_untouched(self, source: str, name: str) -> None:
        """The product's own secrets are not to be had as a provider's key."""
        if source == CredentialSource.ENV and is_reserved(name):
            self.add_error(
                "credential_name", "This variable is the product's own and is sent to no provider."
            )
        if source == CredentialSource.FILE and is_closed(name):
            self.add_error(
                "credential_name", "The product keeps secrets of its own there; no provider is sent one."
            )

    def _moves(self, url: str | None) -> bool:
        before = Provider.objects.filter(pk=self.instance.pk).values_list("base_url", flat=True).first()
        return bool(url and before and origin(url) != origin(before))

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
