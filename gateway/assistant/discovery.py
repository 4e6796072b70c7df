"""A provider asked for its models, as it stands in the draft. What goes wrong is told in the words of the admin."""

import msgspec
from django.conf import settings

from gateway import configfile
from gateway.assistant.draft import Draft, Json
from gateway.reload import default_timeouts
from providers.adapters import ADAPTERS, infer_kind
from providers.check import check
from providers.credentials import UNSENDABLE, is_sendable
from providers.document import ProviderEntry
from providers.loader import load_catalog
from providers.secrets import KeyRing, from_environment, from_file
from providers.types import Provider, Secret


class NoModels(Exception):
    """Why there are none and what to do, in sentences for people that show no secret."""


def models_of(draft: Draft, name: str, entry: Json, key: Secret | None = None) -> tuple[str, ...]:
    """Asks over the network, 5 s at most; costs no tokens. `entry` was found good. Raises `NoModels`.

    `key`: one typed for this entry that is not in the draft yet.
    """
    read = msgspec.convert(entry, ProviderEntry)
    found, missing = (key, "") if key is not None else _key(draft, name, read)
    if found is not None and not is_sendable(found.reveal()):
        found, missing = None, UNSENDABLE
    provider = Provider(
        name=name,
        kind=read.kind or infer_kind(name),
        base_url=read.base_url,
        default_model=read.default_model,
        capabilities=frozenset(read.capabilities),
        timeouts=default_timeouts(),
        api_key=found,
        credential_missing=missing if found is None and missing else None,
    )
    (checked,) = check([provider], configfile.egress())
    if checked.status != "ok":
        raise NoModels(checked.sentences)
    return checked.models


def _key(draft: Draft, name: str, entry: ProviderEntry) -> tuple[Secret | None, str]:
    """The key, and what to say when it is not there; nothing where none is needed."""
    source, where = next(iter((entry.api_key or {"default": None}).items()))
    if source == "stored":
        return draft.keys.get(name) or _stored(name), "no usable credential is stored in the database"
    if source == "file":
        return from_file(str(where)), "the credential's file cannot be read or is empty"
    variable = where or ADAPTERS[entry.kind or infer_kind(name)].default_key_env
    if variable is None:
        return None, ""
    return from_environment(str(variable)), f"the environment variable {variable} is not set"


def _stored(name: str) -> Secret | None:
    known = load_catalog(default_timeouts(), KeyRing(settings.ENCRYPTION_KEYS)).providers.get(name)
    return known.api_key if known is not None else None
