"""Where a provider's key comes from, and the key itself."""

from providers.adapters import ADAPTERS
from providers.models import CredentialSource, Provider
from providers.secrets import KeyRing, SealError, from_environment, from_file
from providers.types import Secret

UNSENDABLE = "the credential holds characters that no key has"


def credential_name(row: Provider) -> str:
    """Where the key comes from, in words for people. Never the key."""
    if row.credential_source == CredentialSource.STORED:
        return "stored in the database"
    if row.credential_source == CredentialSource.FILE:
        return f"file {row.credential_name}"
    if row.credential_source == CredentialSource.ENV:
        return f"environment variable {row.credential_name}"
    adapter = ADAPTERS.get(row.kind)
    default = adapter.default_key_env if adapter else None
    return f"environment variable {default}" if default else "none needed"


def open_credential(row: Provider, keys: KeyRing) -> tuple[Secret | None, str | None]:
    """The key, or what to say of its absence. A key that no header can carry counts as absent."""
    key, missing = _find_credential(row, keys)
    return (None, UNSENDABLE) if key is not None and not is_sendable(key.reveal()) else (key, missing)


def is_sendable(key: str) -> bool:
    """Whether a header can carry it (RFC 9110 §5.5): the engine raises on others, with the key in the exception."""
    return key.isascii() and key.isprintable()


def _find_credential(row: Provider, keys: KeyRing) -> tuple[Secret | None, str | None]:
    if row.credential_source == CredentialSource.STORED:
        try:
            return keys.open(bytes(row.stored_credential or b""), bound_to=str(row.uid)), None
        except SealError:
            return None, "no usable credential is stored in the database"
    if row.credential_source == CredentialSource.FILE:
        key = from_file(row.credential_name)
        return key, None if key else "the credential's file cannot be read or is empty"
    adapter = ADAPTERS.get(row.kind)
    name = row.credential_name or (adapter.default_key_env if adapter else None)
    if name is None:
        return None, None
    key = from_environment(name)
    return key, None if key else f"the environment variable {name} is not set"
