"""A provider asked for its models, as it stands in the draft. What goes wrong is told in the words of `/health`."""

import asyncio

import msgspec
from django.conf import settings

from gateway import configfile
from gateway.assistant.draft import Draft, Json
from gateway.monitor import FAILED, PROBE_TIMEOUT_MS
from gateway.reload import default_timeouts
from providers.adapters import ADAPTERS, infer_kind
from providers.attempt import discover
from providers.document import ProviderEntry
from providers.errors import UpstreamError
from providers.loader import load_catalog
from providers.secrets import KeyRing, from_environment, from_file
from providers.transport import open_transport
from providers.types import Provider, Secret


class NoModels(Exception):
    """Why there are none, in a sentence for people that shows no secret."""


def models_of(draft: Draft, name: str, entry: Json, key: Secret | None = None) -> tuple[str, ...]:
    """Asks over the network, at most `PROBE_TIMEOUT_MS`; costs no tokens. `entry` was found good. Raises `NoModels`.

    `key`: one typed for this entry that is not in the draft yet.
    """
    read = msgspec.convert(entry, ProviderEntry)
    provider = Provider(
        name=name,
        kind=read.kind or infer_kind(name),
        base_url=read.base_url,
        default_model=read.default_model,
        capabilities=frozenset(read.capabilities),
        timeouts=default_timeouts(),
        api_key=key or _key(draft, name, read),
    )
    try:
        found = asyncio.run(_ask(provider))
    except UpstreamError as error:
        raise NoModels(_words(error)) from None
    except TimeoutError:
        raise NoModels(FAILED["TOTAL_TIMEOUT"]) from None
    if not found:
        raise NoModels("The provider lists no models")
    return found


async def _ask(provider: Provider) -> tuple[str, ...]:
    transport = open_transport(configfile.egress())
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_MS / 1000):
            return await discover(transport, provider, timeout_ms=PROBE_TIMEOUT_MS)
    finally:
        await transport.close()


def _key(draft: Draft, name: str, entry: ProviderEntry) -> Secret | None:
    """None where none is needed. Raises `NoModels` where one is needed and missing."""
    key, missing = _find_key(draft, name, entry)
    if key is None and missing:
        raise NoModels(missing)
    if key is not None and not (key.reveal().isascii() and key.reveal().isprintable()):
        # The engine would raise, with the key in the exception.
        raise NoModels("The credential holds characters that no key has")
    return key


def _find_key(draft: Draft, name: str, entry: ProviderEntry) -> tuple[Secret | None, str]:
    """The key, or what to say of its absence."""
    source, where = next(iter((entry.api_key or {"default": None}).items()))
    if source == "stored":
        return draft.keys.get(name) or _stored(name), "No usable credential is stored in the database"
    if source == "file":
        return from_file(str(where)), "The credential's file cannot be read or is empty"
    variable = where or ADAPTERS[entry.kind or infer_kind(name)].default_key_env
    if variable is None:
        return None, ""
    return from_environment(str(variable)), f"The environment variable {variable} is not set"


def _stored(name: str) -> Secret | None:
    known = load_catalog(default_timeouts(), KeyRing(settings.ENCRYPTION_KEYS)).providers.get(name)
    return known.api_key if known is not None else None


def _words(error: UpstreamError) -> str:
    if error.status is not None:
        done = {"AUTH": "refused the credential", "RATE_LIMIT": "limits the rate of requests"}
        return f"The provider {done.get(error.classification, 'answered')} (status {error.status})"
    return FAILED.get(error.reason or "", "The list of models could not be read")
