"""The provider form: the same checks as an import, and a key field that can be written but never read."""

import re
from typing import Any

import msgspec
from django import forms
from django.conf import settings

from providers.adapters import ADAPTERS
from providers.arrange import next_position
from providers.capability_grid import KNOWN_MODELS, STAND_IN
from providers.check import egress_policy
from providers.credentials import is_sendable
from providers.document import egress_warning, escape, origin, url_problems
from providers.import_rules import refuse
from providers.loader import entry_of
from providers.models import CredentialSource, Provider
from providers.secrets import KeyRing
from providers.texts import unless_untouched
from providers.types import CAPABILITIES

PLACES = {
    "": "name",
    "/baseUrl": "base_url",
    "/defaultModel": "default_model",
    "/kind": "kind",
    "/apiKey": "credential_name",
    "/timeouts/connectMs": "connect_ms",
    "/timeouts/firstEventMs": "first_event_ms",
    "/timeouts/idleMs": "idle_ms",
    "/timeouts/totalMs": "total_ms",
    "/maxConcurrency": "max_concurrency",
    "/models": "configured_models",
    "/notes": "notes",
}
"""JSON pointer below a provider's entry → the field that says it."""
_BEFORE_HOST = re.compile(r"\A(\s*(?:[a-z+.-]+:)?//|).*@", re.IGNORECASE | re.DOTALL)
"""The scheme, kept, and all up to the last @: a password may have any sign."""
_LINE_END = re.compile(r"\r\n|\r|\n")


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
        help_texts = {
            "kind": "Choose what it is: the dialect of its requests follows from that.",
            "default_model": "Asked for when neither the caller nor a capability names a model. Choose one that "
            "“Find models” lists, or write it as the provider calls it.",
            "credential_source": "Choose where the key comes from. It is never shown.",
            "connect_ms": "How long to wait for the connection.",
            "first_event_ms": "How long to wait for the answer to begin. A local model may have to be loaded first.",
            "idle_ms": "How long a stream may be silent between two events.",
            "total_ms": "How long an answer may take in all.",
            "notes": "For the people who come after you. They are written to the file and sent to nobody.",
        }
        error_messages = {
            "default_model": {
                "required": "Name a model: press “Find models” and choose one, or write it as the provider calls it."
            }
        }
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
        lines = (line.strip() for line in _LINE_END.split(self.cleaned_data["configured_models"]))
        return list(dict.fromkeys(line for line in lines if line))

    def clean_notes(self) -> str | None:
        return unless_untouched(self.cleaned_data["notes"], self.instance.notes)

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
        elif (
            source == CredentialSource.STORED
            and not data.get("new_key")
            and self._moves(data.get("base_url"))
        ):
            self.add_error(
                "new_key", "The base URL names another address: enter the key again to send it there."
            )
        return data

    def _post_clean(self) -> None:
        super()._post_clean()
        name = self.instance.name or "x"
        places = {f"/providers/{escape(name)}{below}": field for below, field in PLACES.items()}
        refuse(self, {"providers": {name: self._entry()}}, places)
        if "credential_name" in self.errors:
            # Not shown again: somebody may have typed the key itself.
            self.data = self.data.copy()
            self.data[self.add_prefix("credential_name")] = ""
        url = self.data.get(self.add_prefix("base_url"), "")
        if "base_url" in self.errors and "@" in url:
            # Nor is a password that was typed into the address.
            self.data = self.data.copy()
            self.data[self.add_prefix("base_url")] = _BEFORE_HOST.sub(r"\1", url)

    def _entry(self) -> dict[str, Any]:
        """As an export would write it, but for the capabilities, which the grid answers for. What is not typed
        yet, which the form says by itself, keeps nothing else from being judged."""
        written = entry_of(self.instance, (), self.cleaned_data.get("configured_models", ()))
        typed = {name: value for name, value in msgspec.to_builtins(written).items() if value != ""}
        adapter = ADAPTERS.get(self.instance.kind)
        able = [name for name in CAPABILITIES if adapter is None or name in adapter.capabilities]
        return STAND_IN | typed | {"capabilities": able[:1]}

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
