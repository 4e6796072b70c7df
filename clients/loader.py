"""Between the client tables and everything else: load them frozen, store a file's entries, issue and revoke tokens."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import msgspec
from django.db.models import Exists, Max, OuterRef, Q
from django.utils import timezone

from clients.directory import Directory
from clients.document import (
    ClientEntry,
    RateLimitEntry,
    Registered,
    RegistryDocument,
    TokenEntry,
    parse_hash,
    utc,
)
from clients.expiry import end_of_overlap, state_of
from clients.models import Client, ClientToken, MethodPermission, RegistryHeader
from clients.permissions import parse_networks
from clients.tokens import HASH_SCHEME, Minted, Pepper, mint, new_token_id
from clients.turns import take_turn
from clients.types import Client as FrozenClient
from clients.types import RateLimit, Token


def load_directory(peppers: Sequence[Pepper]) -> Directory:
    """Three queries, whatever the number of clients."""
    rows = Client.objects.prefetch_related("permissions", "tokens")
    return Directory(peppers, [(_freeze(row), [_token(token) for token in row.tokens.all()]) for row in rows])


def _freeze(row: Client) -> FrozenClient:
    limit = None
    if row.max_requests is not None and row.interval_ms is not None:
        limit = RateLimit(max_requests=row.max_requests, interval_ms=row.interval_ms)
    return FrozenClient(
        tool_id=row.tool_id,
        enabled=row.enabled,
        methods=frozenset(permission.method for permission in row.permissions.all()),
        networks=parse_networks(row.allowed_networks or ()),
        allowed_providers=_names(row.allowed_providers),
        allowed_models=_names(row.allowed_models),
        rate_limit=limit,
        max_concurrency=row.max_concurrency,
        capture=row.capture,
        capture_days=row.capture_days,
    )


def _names(value: list[str] | None) -> frozenset[str] | None:
    return None if value is None else frozenset(value)


def _token(row: ClientToken) -> Token:
    return Token(
        token_id=row.token_id,
        key_id=row.key_id,
        digest=row.digest,
        expires_at=row.expires_at.timestamp() if row.expires_at else None,
        revoked=row.revoked_at is not None,
    )


def tool_ids() -> set[str]:
    return set(Client.objects.values_list("tool_id", flat=True))


def is_disabled(tool_id: str) -> bool:
    return Client.objects.filter(tool_id=tool_id, enabled=False).exists()


def is_empty() -> bool:
    return not Client.objects.exists()


def orphaned_tokens(peppers: Sequence[Pepper]) -> tuple[int, int]:
    """Of the tokens that neither ended nor were revoked: how many no configured pepper knows, and how many there are."""
    known = [pepper.key_id for pepper in peppers]
    good = ClientToken.objects.filter(revoked_at=None).exclude(expires_at__lte=timezone.now())
    return good.exclude(key_id__in=known).count(), good.count()


def issue(tool_id: str, methods: Iterable[str], pepper: Pepper, expires_at: datetime | None = None) -> Minted:
    """A new token; makes the client when there is none, and grants `methods` in addition to what it may.

    The text of the token exists only in what is returned.
    """
    last = Client.objects.aggregate(last=Max("position"))["last"] or 0
    client, _ = Client.objects.get_or_create(tool_id=tool_id, defaults={"position": last + 1})
    have = set(client.permissions.values_list("method", flat=True))
    for method in methods:
        if method not in have:
            MethodPermission.objects.create(client=client, method=method, position=len(have))
            have.add(method)
    minted = mint()
    ClientToken.objects.create(
        client=client,
        token_id=minted.token_id,
        key_id=pepper.key_id,
        digest=pepper.digest(minted.text),
        expires_at=expires_at,
    )
    return minted


def revoke(token_id: str) -> bool:
    """False when there is no such token. Revoking twice keeps the first moment, and tells the running processes once
    more: whoever revokes again may do so because the token still works.

    Runs inside the caller's transaction.
    """
    take_turn()
    token = ClientToken.objects.filter(token_id=token_id).first()
    if token is None:
        return False
    token.revoked_at = token.revoked_at or timezone.now()
    token.save()
    return True


class NotActive(Exception):
    """The token is unknown, expired or revoked: there is nothing to follow on."""


class Rotated(NamedTuple):
    """The new token, and when the old one ends."""

    minted: Minted
    old_ends_at: datetime


def rotate(token_id: str, pepper: Pepper, *, overlap: timedelta, expires_at: datetime | None) -> Rotated:
    """A new token for the same client; the old one ends after `overlap`, never later than it would have.

    Runs inside the caller's transaction. Raises `NotActive`.
    """
    take_turn()
    old = ClientToken.objects.select_for_update().filter(token_id=token_id).first()
    now = timezone.now()
    if old is None or state_of(old.expires_at, old.revoked_at, now).name != "active":
        raise NotActive(token_id)
    old.expires_at = end_of_overlap(old.expires_at, now, overlap)
    old.save()
    return Rotated(issue(old.client.tool_id, (), pepper, expires_at), old.expires_at)


def lifetime(token_id: str) -> timedelta | None:
    """How long the token was to be valid in all; None for ever. Raises `NotActive` when there is no such token."""
    token = ClientToken.objects.filter(token_id=token_id).first()
    if token is None:
        raise NotActive(token_id)
    return None if token.expires_at is None else token.expires_at - token.created_at


class Known(NamedTuple):
    """A client as the tables say now, with all its tokens, whatever their state."""

    client: FrozenClient
    tokens: tuple[Token, ...]


def known(pk: int) -> Known | None:
    row = Client.objects.prefetch_related("permissions", "tokens").filter(pk=pk).first()
    return None if row is None else Known(_freeze(row), tuple(_token(token) for token in row.tokens.all()))


def is_known(text: str, peppers: Sequence[Pepper]) -> bool:
    """Whether a token is registered and neither revoked nor its client disabled."""
    return load_directory(peppers).identify(text) is not None


def note_use(used: Mapping[str, datetime]) -> None:
    """Token id → last use; older ones may come later. Sends no signals: it is no change of configuration."""
    for token_id, moment in used.items():
        before = Q(last_used_at=None) | Q(last_used_at__lt=moment)
        ClientToken.objects.filter(before, token_id=token_id).update(last_used_at=moment)


def store(
    document: RegistryDocument,
    registered: Mapping[str, Registered],
    peppers: Sequence[Pepper],
    *,
    merge: bool,
) -> None:
    """Makes the tables say what the file says. Runs inside the caller's transaction."""
    if not merge:
        for row in Client.objects.exclude(tool_id__in=registered):
            row.delete()
    _store_header(document, merge=merge)
    last = Client.objects.aggregate(last=Max("position"))["last"] or 0
    for n, (tool_id, item) in enumerate(registered.items()):
        known = Client.objects.filter(tool_id=tool_id).first()
        row = known or Client(tool_id=tool_id, position=last + n + 1)
        if not merge:
            row.position = n
        _store_client(row, item.entry)
        _store_tokens(row, item, peppers, merge=merge)


def _store_header(document: RegistryDocument, *, merge: bool) -> None:
    known = RegistryHeader.objects.first()
    header = known or RegistryHeader()
    if document.schema is not None or not merge:
        header.schema = document.schema
    if document.description is not None or not merge:
        header.description = document.description
    if header.schema is not None or header.description is not None:
        header.save()
    elif known:
        known.delete()


def _store_client(row: Client, entry: ClientEntry) -> None:
    row.enabled, row.notes = entry.enabled, entry.notes
    row.allowed_networks = _as_list(entry.allowed_networks)
    row.allowed_providers = _as_list(entry.allowed_providers)
    row.allowed_models = _as_list(entry.allowed_models)
    row.max_requests = entry.rate_limit.max_requests if entry.rate_limit else None
    row.interval_ms = entry.rate_limit.interval_ms if entry.rate_limit else None
    row.max_concurrency = entry.max_concurrency
    row.capture, row.capture_days = entry.capture, entry.capture_days
    row.save()
    for stale in row.permissions.exclude(method__in=entry.allowed_methods):
        stale.delete()
    for n, method in enumerate(entry.allowed_methods):
        row.permissions.update_or_create(method=method, defaults={"position": n})


def _as_list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


def _store_tokens(row: Client, item: Registered, peppers: Sequence[Pepper], *, merge: bool) -> None:
    kept: list[str] = []
    for text in item.plaintext:
        digests = [pepper.digest(text) for pepper in peppers]
        token = ClientToken.objects.filter(digest__in=digests).first()
        if token is None:
            token = ClientToken(token_id=new_token_id(), key_id=peppers[0].key_id, digest=digests[0])
        token.client = row
        token.save()
        kept.append(token.token_id)
    for entry in item.tokens:
        key_id, digest = parse_hash(entry.hash)
        for renamed in ClientToken.objects.filter(digest=digest).exclude(token_id=entry.id):
            renamed.delete()  # the same token under the id it had when it was registered at another time
        token = ClientToken.objects.filter(token_id=entry.id).first() or ClientToken(token_id=entry.id)
        token.client, token.key_id, token.digest = row, key_id, digest
        token.expires_at, token.revoked_at = utc(entry.expires_at), utc(entry.revoked_at)
        token.save()
        kept.append(entry.id)
    if not merge:
        for stale in row.tokens.exclude(token_id__in=kept):
            stale.delete()


def dump() -> dict[str, Any]:
    """The tables as `client-registry.json` writes them, in canonical order."""
    header = RegistryHeader.objects.first() or RegistryHeader()
    rows = Client.objects.prefetch_related("permissions", "tokens")
    document = RegistryDocument(
        schema=header.schema,
        description=header.description,
        clients=[msgspec.to_builtins(_stored_entry(row)) for row in rows],
    )
    dumped: dict[str, Any] = msgspec.to_builtins(document)
    return dumped


def _stored_entry(row: Client) -> ClientEntry:
    return entry_of(row, [permission.method for permission in row.permissions.all()], row.tokens.all())


def entry_of(row: Client, methods: Iterable[str], tokens: Iterable[ClientToken]) -> ClientEntry:
    """As an export writes it; of a row that may not be stored yet."""
    limit = None
    if row.max_requests is not None and row.interval_ms is not None:
        limit = RateLimitEntry(max_requests=row.max_requests, interval_ms=row.interval_ms)
    return ClientEntry(
        tool_id=row.tool_id,
        tokens=tuple(
            TokenEntry(
                id=token.token_id,
                hash=f"{HASH_SCHEME}:{token.key_id}:{token.digest}",
                expires_at=utc(token.expires_at),
                revoked_at=utc(token.revoked_at),
            )
            for token in tokens
        ),
        allowed_methods=tuple(methods),
        enabled=row.enabled,
        allowed_networks=_as_tuple(row.allowed_networks),
        allowed_providers=_as_tuple(row.allowed_providers),
        allowed_models=_as_tuple(row.allowed_models),
        rate_limit=limit,
        max_concurrency=row.max_concurrency,
        # msgspec leaves out what is the default itself, not only equal to it.
        capture=sys.intern(row.capture),
        capture_days=row.capture_days,
        notes=row.notes,
    )


def _as_tuple(names: list[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


class TokenNote(NamedTuple):
    """`client`: the client's primary key, for a link to it."""

    client: int
    tool_id: str
    token_id: str
    expires_at: datetime


def expiring_tokens(until: datetime) -> list[TokenNote]:
    """Tokens that end by then or have ended, soonest first, in one query. Revoked ones, and those of disabled
    clients, are nobody's concern."""
    ending = ClientToken.objects.filter(expires_at__lte=until, revoked_at=None, client__enabled=True)
    rows = ending.order_by("expires_at", "pk")
    return [
        TokenNote(*row) for row in rows.values_list("client", "client__tool_id", "token_id", "expires_at")
    ]


class GrantNote(NamedTuple):
    """That a client may call a method. `grant`, `client`: the primary keys."""

    grant: int
    client: int
    tool_id: str
    method: str


class RestrictedNote(NamedTuple):
    """An enabled client that may use some providers only, and their names, of which there is one at least."""

    client: int
    tool_id: str
    providers: tuple[str, ...]


def restricted_clients() -> list[RestrictedNote]:
    """In the order of the file, in one query. Who may use none, or call nothing, is meant not to be answered."""
    routed = MethodPermission.objects.filter(
        client=OuterRef("pk"), method__in=("chat", "chatStream", "embed")
    )
    rows = Client.objects.filter(Exists(routed), enabled=True, allowed_providers__isnull=False)
    return [
        RestrictedNote(pk, tool_id, tuple(names))
        for pk, tool_id, names in rows.values_list("pk", "tool_id", "allowed_providers")
        if names
    ]


def usable_grants(now: datetime, since: datetime) -> list[GrantNote]:
    """What enabled clients may call that have had a good token since before `since`. One query."""
    good = Q(expires_at=None) | Q(expires_at__gt=now)
    tokens = ClientToken.objects.filter(
        good, client=OuterRef("client"), revoked_at=None, created_at__lt=since
    )
    rows = MethodPermission.objects.filter(Exists(tokens), client__enabled=True)
    ordered = rows.order_by("client__position", "client", "position", "pk")
    return [GrantNote(*row) for row in ordered.values_list("pk", "client", "client__tool_id", "method")]
