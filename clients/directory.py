"""From a token to its caller: one keyed digest per pepper and one look-up, whatever the token is."""

import time
from collections.abc import Iterable

import msgspec

from clients.tokens import Pepper
from clients.types import Caller, Client, Token


class Entry(msgspec.Struct, frozen=True):
    """A token's caller and whether it may be used at all."""

    caller: Caller
    expires_at: float
    usable: bool


class Directory:
    """All tokens of all clients by digest. Immutable once built."""

    __slots__ = ("_entries", "_peppers", "clients")

    def __init__(self, peppers: Iterable[Pepper], clients: Iterable[tuple[Client, Iterable[Token]]]) -> None:
        self._peppers = tuple(peppers)
        self._entries: dict[str, Entry] = {}
        self.clients: dict[str, Client] = {}
        known = {pepper.key_id for pepper in self._peppers}
        for client, tokens in clients:
            self.clients[client.tool_id] = client
            for token in tokens:
                if token.key_id in known:
                    self._entries[token.digest] = _entry(client, token)

    def identify(self, token: str) -> Caller | None:
        """The caller, or None for a token that is unknown, expired or revoked, or whose client is off.

        Every token is digested under every pepper before anything is looked up, so that the answer's
        time tells nothing about which of these it was.
        """
        digests = [pepper.digest(token) for pepper in self._peppers]
        now = time.time()
        found: Caller | None = None
        for digest in digests:
            entry = self._entries.get(digest)
            if entry is not None and entry.usable and now < entry.expires_at:
                found = entry.caller
        return found

    def why_not(self, token: str) -> str:
        """Why `identify` knows nobody by it, for the record: unknown, expired, revoked or disabled. Takes as long for each."""
        now, found = time.time(), "unknown"
        for entry in map(self._entries.get, [pepper.digest(token) for pepper in self._peppers]):
            if entry is None:
                continue
            if not entry.caller.client.enabled:
                found = "disabled"
            elif not entry.usable:
                found = "revoked"
            elif now >= entry.expires_at:
                found = "expired"
        return found

    def token_hash(self, token: str) -> str:
        """16 hex digits that name a token in logs without telling it."""
        return self._peppers[0].digest(token)[:16]


def _entry(client: Client, token: Token) -> Entry:
    caller = Caller(client=client, token_id=token.token_id, token_hash=token.digest[:16])
    expires_at = float("inf") if token.expires_at is None else token.expires_at
    return Entry(caller, expires_at, client.enabled and not token.revoked)
