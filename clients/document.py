"""An entry of `client-registry.json`, and what must hold of it beyond its shape. Pure.

A problem is a pair: a JSON pointer below the entry, and a sentence. Sentences never show a token.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple

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


def problems_of(known: Mapping[str, Any], peppers: Sequence[Pepper]) -> list[Problem]:
    """`known`: the entry's fields that have the right shape; of the others nothing is said here."""
    found: list[Problem] = []
    methods, token = known.get("allowed_methods", ()), known.get("token")
    if len(set(methods)) != len(methods):
        found.append(("/allowedMethods", "A method is named twice"))
    if token is not None and is_mistyped(token):
        found.append(("/token", "The token's checksum is wrong; it was mistyped or cut"))
    if token is not None and any("\ud800" <= character <= "\udfff" for character in token):
        found.append(("/token", "The token contains an unpaired surrogate"))
    for n, network in enumerate(known.get("allowed_networks") or ()):
        try:
            parse_networks([network])
        except ValueError as error:
            found.append((f"/allowedNetworks/{n}", str(error)))
    return found + _hash_problems(known.get("tokens", ()), peppers)


def _hash_problems(tokens: Sequence[TokenEntry], peppers: Sequence[Pepper]) -> list[Problem]:
    found: list[Problem] = []
    key_ids = {pepper.key_id for pepper in peppers}
    for n, token in enumerate(tokens):
        match = _HASH.fullmatch(token.hash)
        if match is None:
            found.append((f"/tokens/{n}/hash", f"{HASH_SCHEME}:KEYID:HEX is needed"))
        elif match["key_id"] not in key_ids:
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


class Item(NamedTuple):
    """An entry as it was read. `known`: its fields of the right shape. `entry`: all of it, when it is good."""

    n: int
    raw: Mapping[str, Any]
    known: Mapping[str, Any]
    entry: ClientEntry | None

    @property
    def tokens(self) -> tuple[TokenEntry, ...]:
        found: tuple[TokenEntry, ...] = self.known.get("tokens", ())
        return found

    def __repr__(self) -> str:
        return f"<Item {self.n}>"


def gather(items: Sequence[Item]) -> dict[str, Registered]:
    """Good entries by tool id, in order of first appearance."""
    registered: dict[str, Registered] = {}
    for entry in (item.entry for item in items if item.entry is not None):
        before = registered.get(entry.tool_id)
        registered[entry.tool_id] = Registered(
            entry=_without_tokens(entry),
            plaintext=(*(before.plaintext if before else ()), *((entry.token,) if entry.token else ())),
            tokens=(*(before.tokens if before else ()), *entry.tokens),
        )
    return registered


def clashes(items: Sequence[Item]) -> list[Problem]:
    """What several entries say against each other; pointers from the file's root."""
    found: list[Problem] = []
    first: dict[str, Item] = {}
    owners: dict[str, int] = {}
    ids: set[str] = set()
    for item in items:
        for secret in (item.known.get("token"), *(token.hash for token in item.tokens)):
            if secret is not None and owners.setdefault(secret, item.n) != item.n:
                found.append((f"/clients/{item.n}", "The same token is registered twice"))
        tool_id = item.known.get("tool_id")
        if tool_id is not None and not _agree(first.setdefault(tool_id, item), item):
            found.append((f"/clients/{item.n}/toolId", "The same toolId appears before with other values"))
        for n, token in enumerate(item.tokens):
            if token.id in ids:
                place = f"/clients/{item.n}/tokens/{n}/id"
                found.append((place, f"The token id {token.id} appears twice"))
            ids.add(token.id)
    return found


def _agree(one: Item, other: Item) -> bool:
    """Whether they differ at most in their tokens: as they are meant, or as written while one cannot be read."""
    if one.entry is not None and other.entry is not None:
        return _without_tokens(one.entry) == _without_tokens(other.entry)
    return _written_without_tokens(one.raw) == _written_without_tokens(other.raw)


def _written_without_tokens(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in raw.items() if name not in ("token", "tokens")}


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
