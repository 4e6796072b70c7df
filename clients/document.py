"""An entry of `client-registry.json`, and what must hold of it beyond its shape. Pure.

A problem is a pair: a JSON pointer below the entry, and a sentence. Sentences never show a token.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from clients.permissions import parse_networks
from clients.tokens import HASH_SCHEME, Pepper, fits_a_header, is_mistyped
from clients.types import CAPTURE_DAYS, MOST_CAPTURE_DAYS

Method = Literal["chat", "chatStream", "embed", "getHealth", "models"]
ToolId = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f\x7f]+\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\A[^\x00]+\Z")]
Notes = Annotated[str, Meta(max_length=10_000, pattern=r"\A[^\x00]*\Z")]
Count = Annotated[int, Meta(ge=1, le=2_147_483_647)]
Capture = Literal["off", "failures", "all"]
Days = Annotated[int, Meta(ge=1, le=MOST_CAPTURE_DAYS)]
Problem = tuple[str, str]
_HASH = re.compile(rf"{HASH_SCHEME}:(?P<key_id>[0-9a-f]{{1,16}}):(?P<digest>[0-9a-f]{{64}})")


class Entry(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """The order of the fields is the order of an export."""


class TokenEntry(Entry, frozen=True, kw_only=True):
    id: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"\A[A-Za-z0-9._-]+\Z")]
    hash: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class RateLimitEntry(Entry, frozen=True, kw_only=True):
    max_requests: Count
    interval_ms: Count


class ClientEntry(Entry, frozen=True, kw_only=True):
    tool_id: ToolId
    token: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    tokens: tuple[TokenEntry, ...] = ()
    allowed_methods: tuple[Method, ...]
    enabled: bool = True
    allowed_networks: tuple[Text, ...] | None = None
    allowed_providers: tuple[Text, ...] | None = None
    allowed_models: tuple[Text, ...] | None = None
    rate_limit: RateLimitEntry | None = None
    max_concurrency: Count | None = None
    capture: Capture = "off"
    capture_days: Days = CAPTURE_DAYS
    notes: Notes | None = None

    def __repr__(self) -> str:
        return f"<ClientEntry {self.tool_id}>"


class RegistryDocument(Entry, frozen=True, kw_only=True):
    schema: Annotated[str, Meta(max_length=2000)] | None = msgspec.field(default=None, name="$schema")
    description: Notes | None = None
    clients: list[Any]


class Registered(msgspec.Struct, frozen=True, kw_only=True):
    """All entries of one tool id taken together: several entries that differ only in their token are one client."""

    entry: ClientEntry
    plaintext: tuple[str, ...] = ()
    tokens: tuple[TokenEntry, ...] = ()

    def __repr__(self) -> str:
        return f"<Registered {self.entry.tool_id}>"


def problems_of(entry: ClientEntry, peppers: Sequence[Pepper]) -> list[Problem]:
    found: list[Problem] = []
    if len(set(entry.allowed_methods)) != len(entry.allowed_methods):
        found.append(("/allowedMethods", "A method is named twice"))
    if entry.token is not None and is_mistyped(entry.token):
        found.append(("/token", "The token's checksum is wrong; it was mistyped or cut"))
    if entry.token is not None and any("\ud800" <= character <= "\udfff" for character in entry.token):
        found.append(("/token", "The token contains an unpaired surrogate"))
    for n, network in enumerate(entry.allowed_networks or ()):
        try:
            parse_networks([network])
        except ValueError as error:
            found.append((f"/allowedNetworks/{n}", str(error)))
    known = {pepper.key_id for pepper in peppers}
    for n, token in enumerate(entry.tokens):
        match = _HASH.fullmatch(token.hash)
        if match is None:
            found.append((f"/tokens/{n}/hash", f"{HASH_SCHEME}:KEYID:HEX is needed"))
        elif match["key_id"] not in known:
            found.append((f"/tokens/{n}/hash", "No key of LLM_CALLER_TOKEN_PEPPERS has this id"))
    return found


def warnings_of(entry: ClientEntry) -> list[Problem]:
    """Of what is accepted all the same: any text is a token."""
    if entry.token is None or fits_a_header(entry.token):
        return []
    return [
        (
            "/token",
            "No request can carry this token: it begins or ends with a blank, or contains a control character such as "
            "a line end",
        )
    ]


def gather(entries: Iterable[tuple[int, ClientEntry]]) -> tuple[dict[str, Registered], list[Problem]]:
    """By tool id, in order of first appearance; problems carry pointers from the file's root."""
    registered: dict[str, Registered] = {}
    found: list[Problem] = []
    owners: dict[str, int] = {}
    for n, entry in entries:
        for secret in (entry.token, *(token.hash for token in entry.tokens)):
            if secret is not None and owners.setdefault(secret, n) != n:
                found.append((f"/clients/{n}", "The same token is registered twice"))
        before = registered.get(entry.tool_id)
        if before is not None and _without_tokens(before.entry) != _without_tokens(entry):
            found.append((f"/clients/{n}/toolId", "The same toolId appears before with other values"))
            continue
        registered[entry.tool_id] = Registered(
            entry=_without_tokens(entry),
            plaintext=(*(before.plaintext if before else ()), *((entry.token,) if entry.token else ())),
            tokens=(*(before.tokens if before else ()), *entry.tokens),
        )
    return registered, found + _repeated_ids(registered)


def _repeated_ids(registered: dict[str, Registered]) -> list[Problem]:
    counts = Counter(token.id for item in registered.values() for token in item.tokens)
    return [("/clients", f"The token id {name} appears twice") for name, n in counts.items() if n > 1]


def _without_tokens(entry: ClientEntry) -> ClientEntry:
    return msgspec.structs.replace(entry, token=None, tokens=())


def parse_hash(text: str) -> tuple[str, str]:
    """`(key id, digest)` of a hash that `problems_of` found good."""
    match = _HASH.fullmatch(text)
    assert match is not None, "only checked entries are stored"
    return match["key_id"], match["digest"]


def utc(moment: datetime | None) -> datetime | None:
    """A moment without a zone is taken as UTC."""
    if moment is None:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
