"""The configuration being edited: both documents as an export writes them, and what no file may hold. Pure.

Every edit returns a new `Draft`; nothing reaches the database before it is saved.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from providers.types import Secret

Json = dict[str, Any]


class TokenRequest(msgspec.Struct, frozen=True):
    """A token to be issued when the draft is saved. `lifetime_s`: seconds from then on; None: it does not expire."""

    tool_id: str
    lifetime_s: int | None = None


class Documents(msgspec.Struct, frozen=True):
    """What `providers.json` and `client-registry.json` would hold."""

    providers: Json
    clients: Json


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """`version`: the configuration version that `before` is of. `stored`: providers with a usable key in the
    database. `keys`: those to be sealed there when the draft is saved."""

    version: int
    before: Documents
    now: Documents
    stored: frozenset[str] = frozenset()
    keys: dict[str, Secret] = {}
    tokens: tuple[TokenRequest, ...] = ()


def is_changed(draft: Draft) -> bool:
    """The order of providers counts: it is the routing order."""
    same = draft.now == draft.before and list(providers(draft)) == list(draft.before.providers["providers"])
    return not same or bool(draft.keys) or bool(draft.tokens)


def providers(draft: Draft) -> dict[str, Json]:
    """By name, in routing order."""
    found: dict[str, Json] = draft.now.providers["providers"]
    return found


def clients(draft: Draft) -> dict[str, Json]:
    """By tool id. An export writes each client once."""
    return {entry["toolId"]: entry for entry in draft.now.clients["clients"]}


def put_provider(draft: Draft, name: str, entry: Json, key: Secret | None = None) -> Draft:
    """Adds or replaces. `key` is for entries whose key is kept in the database; without, the one there stays."""
    keys = {other: secret for other, secret in draft.keys.items() if other != name}
    if entry.get("apiKey") == {"stored": True} and (key or draft.keys.get(name)):
        keys[name] = key or draft.keys[name]
    changed = _with_providers(draft, providers(draft) | {name: entry})
    return msgspec.structs.replace(changed, keys=keys)


def remove_provider(draft: Draft, name: str) -> Draft:
    """Its aliases go along: they would name a provider that is not there."""
    left = {other: entry for other, entry in providers(draft).items() if other != name}
    changed = _with_providers(draft, left, without=aliases_of(draft, name))
    keys = {other: secret for other, secret in draft.keys.items() if other != name}
    return msgspec.structs.replace(changed, keys=keys)


def move_provider(draft: Draft, name: str, place: int) -> Draft:
    """`place`: 1 is asked first among providers of equal score; what is beyond the end is the end."""
    names = [other for other in providers(draft) if other != name]
    names.insert(max(place, 1) - 1, name)
    return _with_providers(draft, {other: providers(draft)[other] for other in names})


def aliases_of(draft: Draft, name: str) -> list[str]:
    aliases = draft.now.providers.get("aliases", {})
    return [alias for alias, target in aliases.items() if target.partition("/")[0] == name]


def _with_providers(draft: Draft, entries: dict[str, Json], without: list[str] | None = None) -> Draft:
    document = draft.now.providers | {"providers": entries}
    aliases = {a: target for a, target in document.pop("aliases", {}).items() if a not in (without or ())}
    if aliases:
        document["aliases"] = aliases
    return msgspec.structs.replace(draft, now=msgspec.structs.replace(draft.now, providers=document))


def put_client(draft: Draft, entry: Json) -> Draft:
    return _with_clients(draft, clients(draft) | {entry["toolId"]: entry})


def remove_client(draft: Draft, tool_id: str) -> Draft:
    """Its tokens go along, those not issued yet too."""
    left = {other: entry for other, entry in clients(draft).items() if other != tool_id}
    tokens = tuple(token for token in draft.tokens if token.tool_id != tool_id)
    return msgspec.structs.replace(_with_clients(draft, left), tokens=tokens)


def _with_clients(draft: Draft, entries: dict[str, Json]) -> Draft:
    document = draft.now.clients | {"clients": list(entries.values())}
    return msgspec.structs.replace(draft, now=msgspec.structs.replace(draft.now, clients=document))


def request_token(draft: Draft, tool_id: str, lifetime_s: int | None = None) -> Draft:
    return msgspec.structs.replace(draft, tokens=(*draft.tokens, TokenRequest(tool_id, lifetime_s)))


def withdraw_token(draft: Draft, request: TokenRequest) -> Draft:
    tokens = list(draft.tokens)
    tokens.remove(request)
    return msgspec.structs.replace(draft, tokens=tuple(tokens))


def revoke_token(draft: Draft, tool_id: str, token_id: str, at: datetime) -> Draft:
    """Revoking twice keeps the first moment."""
    moment = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    entry = clients(draft)[tool_id]
    tokens = [
        {"revokedAt": moment} | token if token["id"] == token_id else token for token in entry["tokens"]
    ]
    return put_client(draft, entry | {"tokens": tokens})
