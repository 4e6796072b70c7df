"""What the list says of a provider beside its fields: how it is, what it can do, whether its key works."""

from providers.catalog import Observation
from providers.credentials import UNSENDABLE, open_credential
from providers.diagnosis import refused_credential
from providers.models import CredentialSource, Provider
from providers.secrets import KeyRing

State = tuple[str, str]
"""A state of the style sheet (ok, degraded, failed, off) and its word."""


def health(provider: Provider, seen: Observation | None) -> tuple[str, str, str]:
    """State, word and details. `seen`: the last look of this process's gateway, None where there was none."""
    if not provider.enabled:
        return "off", "disabled", ""
    if seen is None:
        return "off", "not looked at", ""
    return seen.status, seen.status, seen.detail


def capabilities(provider: Provider) -> str:
    """In canonical order as stored, each with its score: `chat 90, embed`."""
    declared = [row for row in provider.capability_rows.all() if row.declared]
    return ", ".join(
        row.capability if row.score is None else f"{row.capability} {row.score:g}" for row in declared
    )


def key_state(provider: Provider, keys: KeyRing, seen: Observation | None) -> State:
    """Whether the key works, as far as is known. The key itself is opened and forgotten here."""
    key, missing = open_credential(provider, keys)
    if missing is not None:
        return "failed", "unusable" if missing == UNSENDABLE else _absence(provider)
    if key is None:
        return "off", "none needed"
    if refused_credential(seen):
        return "failed", "refused"
    return ("ok", "works") if seen is not None and seen.status == "ok" else ("ok", "set")


def _absence(provider: Provider) -> str:
    if provider.credential_source == CredentialSource.STORED and provider.stored_credential:
        return "cannot be decrypted"
    if provider.credential_source == CredentialSource.FILE:
        return "cannot be read"
    return "not set"
