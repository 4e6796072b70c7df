"""A file as an export would write it once it was imported, without importing it: to compare it with the tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from clients.document import Registered, TokenEntry, utc
from clients.tokens import HASH_SCHEME, Pepper
from gateway.reading import Loaded
from gateway.rendering import PROVIDERS
from providers.adapters import infer_kind
from providers.document import ProviderEntry, TimeoutsEntry

STAND_IN = "(new, "
"""How the id of a token begins that gets its own only when it is stored."""


def canonical(item: Loaded, current: Mapping[str, Any], peppers: Sequence[Pepper]) -> dict[str, Any]:
    """`current`: the tables' document. A token given in plaintext has the id that is known for it, or a stand-in."""
    if item.name == PROVIDERS:
        providers = {name: _provider(name, entry) for name, entry in item.entries.items()}
        return _document(item, providers=providers)
    known = {
        token["hash"]: token["id"] for client in current["clients"] for token in client.get("tokens", ())
    }
    return _document(item, clients=[_client(entry, known, peppers) for entry in item.entries.values()])


def _document(item: Loaded, **entries: Any) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(item.document, **entries))
    return document


def _provider(name: str, entry: ProviderEntry) -> Any:
    kind = None if entry.kind == infer_kind(name) else entry.kind
    timeouts = None if entry.timeouts == TimeoutsEntry() else entry.timeouts
    return msgspec.to_builtins(msgspec.structs.replace(entry, kind=kind, timeouts=timeouts))


def _client(item: Registered, known: Mapping[str, str], peppers: Sequence[Pepper]) -> Any:
    tokens = (*_hashed(item.plaintext, known, peppers), *map(_in_utc, item.tokens))
    return msgspec.to_builtins(msgspec.structs.replace(item.entry, tokens=tokens))


def _in_utc(token: TokenEntry) -> TokenEntry:
    expires_at, revoked_at = utc(token.expires_at), utc(token.revoked_at)
    return msgspec.structs.replace(token, expires_at=expires_at, revoked_at=revoked_at)


def _hashed(
    texts: Sequence[str], known: Mapping[str, str], peppers: Sequence[Pepper]
) -> Iterable[TokenEntry]:
    for n, text in enumerate(texts):
        hashes = [f"{HASH_SCHEME}:{pepper.key_id}:{pepper.digest(text)}" for pepper in peppers]
        found = next((candidate for candidate in hashes if candidate in known), None)
        yield TokenEntry(id=known[found] if found else _stand_in(n), hash=found or hashes[0])


def _stand_in(number: int) -> str:
    return f"{STAND_IN}{number + 1})"


def without_minted_ids(document: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Ids that a dry run made up are not those that the tokens will have."""
    for client in document.get("clients", ()):
        fresh = [token for token in client.get("tokens", ()) if token["id"] not in known]
        for n, token in enumerate(fresh):
            token["id"] = _stand_in(n)
    return document
