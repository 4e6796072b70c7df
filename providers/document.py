"""An entry of `providers.json`, and what must hold of it beyond its shape. Pure.

A problem is a pair: a JSON pointer below the entry, and a sentence.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import msgspec
from msgspec import Meta

from providers.adapters import ADAPTERS, infer_kind
from providers.egress import EgressPolicy, way_in
from providers.secrets import is_closed, is_reserved
from providers.types import MOST_SCORE, Capability

Name = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
ModelId = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
AliasTarget = Annotated[str, Meta(min_length=1, max_length=601, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
Score = Annotated[float, Meta(ge=-MOST_SCORE, le=MOST_SCORE)]
Milliseconds = Annotated[int, Meta(ge=1, le=2_147_483_647)]
Notes = Annotated[str, Meta(max_length=10_000, pattern=r"\A[^\x00]*\Z")]
Problem = tuple[str, str]


class Entry(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """The order of the fields is the order of an export."""


class TimeoutsEntry(Entry, frozen=True, kw_only=True):
    connect_ms: Milliseconds | None = None
    first_event_ms: Milliseconds | None = None
    idle_ms: Milliseconds | None = None
    total_ms: Milliseconds | None = None


class ProviderEntry(Entry, frozen=True, kw_only=True):
    base_url: Annotated[str, Meta(min_length=1, max_length=500)]
    default_model: ModelId
    capabilities: Annotated[tuple[Capability, ...], Meta(min_length=1)]
    defaults: dict[Capability, ModelId] = {}
    scores: dict[Capability, Score] = {}
    kind: str | None = None
    api_key: dict[str, Any] | None = None
    enabled: bool = True
    timeouts: TimeoutsEntry | None = None
    max_concurrency: Milliseconds | None = None
    models: tuple[ModelId, ...] = ()
    notes: Notes | None = None


class ProvidersDocument(Entry, frozen=True, kw_only=True):
    """The file's top level; entries are checked one by one so that every problem is found."""

    schema: Annotated[str, Meta(max_length=2000)] | None = msgspec.field(default=None, name="$schema")
    description: Notes | None = None
    aliases: dict[ModelId, AliasTarget] = {}
    providers: dict[str, Any]


def problems_of(name: str, known: Mapping[str, Any]) -> list[Problem]:
    """`known`: the entry's fields that have the right shape; of the others nothing is said here."""
    found: list[Problem] = []
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
        found.append(("", "The name has letters, digits, dots, dashes and underscores, at most 100"))
    if "kind" in known:
        found += _kind_problems(known["kind"] or infer_kind(name), known.get("capabilities", ()))
    capabilities, models = known.get("capabilities", ()), known.get("models", ())
    if len(set(capabilities)) != len(capabilities):
        found.append(("/capabilities", "A capability is named twice"))
    if len(set(models)) != len(models):
        found.append(("/models", "A model is named twice"))
    if "base_url" in known:
        found += url_problems(known["base_url"])
    return found + _key_problems(known.get("api_key"))


def _kind_problems(kind: str, capabilities: Sequence[str]) -> list[Problem]:
    adapter = ADAPTERS.get(kind)
    if adapter is None:
        return [("/kind", f"Unknown kind; known are {', '.join(ADAPTERS)}")]
    return [
        (f"/capabilities/{n}", f"Providers of kind {kind} have no {capability}")
        for n, capability in enumerate(capabilities)
        if capability not in adapter.capabilities
    ]


def url_problems(url: str) -> list[Problem]:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return [("/baseUrl", "Not a URL")]
    try:
        _ = parts.port
    except ValueError:
        return [("/baseUrl", "The port of the URL is no number from 0 to 65535")]
    try:
        httpx.URL(url)
    except httpx.InvalidURL:
        return [("/baseUrl", "Not a URL")]
    if parts.scheme not in ("http", "https") or not host:
        return [("/baseUrl", "An http:// or https:// URL is needed")]
    if parts.username is not None or parts.password is not None:
        return [("/baseUrl", "Credentials do not belong into the URL; use apiKey")]
    if parts.query or parts.fragment:
        return [("/baseUrl", "The base URL has neither query nor fragment")]
    if re.search(r"[\s\x00-\x1f\x7f\\]", url):
        return [("/baseUrl", "The URL contains a space, a backslash or a control character")]
    return [] if _is_host(url, host) else [("/baseUrl", "The URL's host is not a name that can be looked up")]


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port: whom a key is sent to."""
    parts = urlsplit(url)
    return parts.scheme.lower(), (parts.hostname or "").lower(), parts.port


def _is_host(url: str, host: str) -> bool:
    """As the transport will see it: encoded for the wire, with labels of 1 to 63 characters (RFC 1035 §2.3.4)."""
    try:
        parsed = httpx.URL(url)
        encoded, decoded = parsed.raw_host.decode(), parsed.host
    except (httpx.InvalidURL, UnicodeError):
        return False
    if ":" in host:
        return True
    labels = encoded.removesuffix(".").split(".")
    return bool(decoded) and len(encoded) <= 253 and all(0 < len(label) <= 63 for label in labels)


def is_variable(value: object) -> bool:
    """Whether it can be the name of an environment variable. Keys of vendors have dashes, or are longer."""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,199}", value) is not None


def _key_problems(key: dict[str, Any] | None) -> list[Problem]:
    if key is None:
        return []
    if len(key) != 1:
        return [("/apiKey", 'One of {"env": NAME}, {"file": PATH} or {"stored": true} is needed')]
    ((source, value),) = key.items()
    if source == "stored":
        return [] if value is True else [("/apiKey/stored", "Only `true` is possible here")]
    if source == "env":
        if is_variable(value):
            own = [("/apiKey/env", "This variable is the product's own and is sent to no provider")]
            return own if is_reserved(value) else []
        return [("/apiKey/env", "The name of an environment variable is needed, never a key")]
    if source == "file":
        good = isinstance(value, str) and 0 < len(value) <= 500 and "\0" not in value
        if good and is_closed(value):
            return [("/apiKey/file", "The product keeps secrets of its own there; no provider is sent one")]
        return [] if good else [("/apiKey/file", "The path of a file is needed")]
    return [("/apiKey", 'One of {"env": NAME}, {"file": PATH} or {"stored": true} is needed')]


def alias_problems(aliases: dict[str, str], names: set[str]) -> list[Problem]:
    found: list[Problem] = []
    for alias, target in aliases.items():
        provider, slash, model = target.partition("/")
        pointer = f"/aliases/{escape(alias)}"
        if not slash or not model:
            found.append((pointer, "An alias names provider/model"))
        elif provider not in names:
            found.append((pointer, f"There is no provider {provider!r}"))
    return found


def egress_warning(url: str, egress: EgressPolicy) -> str | None:
    """For literal addresses only: what a name resolves to is checked when it is dialled."""
    host = urlsplit(url).hostname or ""
    looks_numeric = ":" in host or host.replace(".", "").isdigit()
    if looks_numeric and not egress.permits(host):
        refused = f"{host} is neither public nor loopback nor in LLM_CALLER_EGRESS_ALLOW; calls to it will be refused."
        return f"{refused} {way_in(host)}"
    return None


def escape(name: str) -> str:
    """A member name as a JSON pointer writes it (RFC 6901 §4)."""
    return name.replace("~", "~0").replace("/", "~1")
