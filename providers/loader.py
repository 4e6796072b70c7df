"""Between the provider tables and everything else: load them frozen, store a file's entries, dump them back."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from providers.adapters import infer_kind
from providers.catalog import Catalog
from providers.credentials import open_credential
from providers.document import ProviderEntry, ProvidersDocument, TimeoutsEntry, origin
from providers.models import (
    CredentialSource,
    FileHeader,
    ModelAlias,
    Provider,
    ProviderCapability,
    ProviderModel,
)
from providers.secrets import KeyRing, SealError
from providers.types import Provider as FrozenProvider
from providers.types import Timeouts


def load_catalog(defaults: Timeouts, keys: KeyRing) -> Catalog:
    """Four queries, whatever the number of providers. Credentials are opened here, once per version."""
    rows = Provider.objects.prefetch_related("capability_rows", "model_rows")
    providers = {row.name: freeze(row, defaults, keys) for row in rows}
    return Catalog(providers=providers, aliases=_aliases())


def _aliases() -> dict[str, str]:
    return {alias.name: alias.target for alias in ModelAlias.objects.select_related("provider")}


def freeze(row: Provider, defaults: Timeouts, keys: KeyRing) -> FrozenProvider:
    capabilities = list(row.capability_rows.all())
    key, missing = open_credential(row, keys)
    return FrozenProvider(
        name=row.name,
        kind=row.kind,
        base_url=row.base_url,
        default_model=row.default_model,
        capabilities=frozenset(c.capability for c in capabilities if c.declared),
        timeouts=Timeouts(
            connect_ms=row.connect_ms or defaults.connect_ms,
            first_event_ms=row.first_event_ms or defaults.first_event_ms,
            idle_ms=row.idle_ms or defaults.idle_ms,
            total_ms=row.total_ms or defaults.total_ms,
        ),
        defaults={c.capability: c.default_model for c in capabilities if c.default_model},
        scores={c.capability: _number(c.score) for c in capabilities if c.score is not None},
        models=tuple(m.model_id for m in row.model_rows.all() if m.configured),
        enabled=row.enabled,
        api_key=key,
        credential_missing=missing,
        max_concurrency=row.max_concurrency,
    )


def _number(score: float) -> float:
    """A whole number as one, up to where floats tell whole numbers apart; files hold no integers of 300 digits."""
    return int(score) if score.is_integer() and abs(score) <= 2**53 else score


def sealed_wrongly(keys: KeyRing) -> list[str]:
    """Names of providers whose stored credential no configured key opens."""
    wrong = []
    stored = Provider.objects.filter(
        credential_source=CredentialSource.STORED, stored_credential__isnull=False
    )
    for row in stored:
        try:
            keys.open(bytes(row.stored_credential), bound_to=str(row.uid))
        except SealError:
            wrong.append(row.name)
    return wrong


def with_stored_key() -> set[str]:
    """Names of providers whose key is kept here."""
    return set(Provider.objects.filter(stored_credential__isnull=False).values_list("name", flat=True))


def without_stored_key() -> list[str]:
    """Names of providers whose key should be stored here and is not."""
    stored = Provider.objects.filter(
        credential_source=CredentialSource.STORED, stored_credential__isnull=True
    )
    return list(stored.values_list("name", flat=True))


def provider_names() -> set[str]:
    return set(Provider.objects.values_list("name", flat=True))


def enabled_names() -> dict[str, bool]:
    """Every provider's name, and whether it is enabled. One query."""
    return dict(Provider.objects.values_list("name", "enabled"))


def alias_names() -> set[str]:
    return set(ModelAlias.objects.values_list("name", flat=True))


def is_empty() -> bool:
    return not Provider.objects.exists()


def store(document: ProvidersDocument, entries: Mapping[str, ProviderEntry], *, merge: bool) -> None:
    """Makes the tables say what the file says. Runs inside the caller's transaction.

    Rows are saved one by one, because saving is what tells the running processes.
    """
    if not merge:
        for row in Provider.objects.exclude(name__in=entries):
            row.delete()
        for alias in ModelAlias.objects.exclude(name__in=document.aliases):
            alias.delete()
    _store_header(document, merge=merge)
    last = Provider.objects.aggregate(last=Max("position"))["last"] or 0
    for n, (name, entry) in enumerate(entries.items()):
        known = Provider.objects.filter(name=name).first()
        row = known or Provider(name=name, position=last + n + 1)
        if not merge:
            row.position = n
        _store_entry(row, entry)
    for n, (name, target) in enumerate(document.aliases.items()):
        position = {} if merge else {"position": n}
        provider, _, model_id = target.partition("/")
        place = {"provider": Provider.objects.get(name=provider), "model_id": model_id}
        ModelAlias.objects.update_or_create(name=name, defaults=place | position)


def _store_header(document: ProvidersDocument, *, merge: bool) -> None:
    known = FileHeader.objects.first()
    header = known or FileHeader()
    if document.schema is not None or not merge:
        header.schema = document.schema
    if document.description is not None or not merge:
        header.description = document.description
    if header.schema is not None or header.description is not None:
        header.save()
    elif known:
        known.delete()


def _store_entry(row: Provider, entry: ProviderEntry) -> None:
    timeouts = entry.timeouts or TimeoutsEntry()
    if row.base_url and origin(row.base_url) != origin(entry.base_url):
        # A key was given for the address that it was stored with; another is not sent it.
        row.stored_credential = None
    row.kind = entry.kind or infer_kind(row.name)
    row.base_url, row.default_model = entry.base_url, entry.default_model
    row.enabled, row.notes, row.max_concurrency = entry.enabled, entry.notes, entry.max_concurrency
    row.connect_ms, row.first_event_ms = timeouts.connect_ms, timeouts.first_event_ms
    row.idle_ms, row.total_ms = timeouts.idle_ms, timeouts.total_ms
    source, name = next(iter((entry.api_key or {"default": ""}).items()))
    row.credential_source, row.credential_name = source, name if isinstance(name, str) else ""
    if source != CredentialSource.STORED:
        row.stored_credential = None
    row.save()
    _store_capabilities(row, entry)
    configure_models(row, entry.models)


def _store_capabilities(row: Provider, entry: ProviderEntry) -> None:
    names = list(dict.fromkeys((*entry.capabilities, *entry.defaults, *entry.scores)))
    for stale in row.capability_rows.exclude(capability__in=names):
        stale.delete()
    for n, name in enumerate(names):
        row.capability_rows.update_or_create(
            capability=name,
            defaults={
                "declared": name in entry.capabilities,
                "default_model": entry.defaults.get(name, ""),
                "score": entry.scores.get(name),
                "position": n,
            },
        )


def configure_models(row: Provider, models: Iterable[str]) -> None:
    """Exactly these are configured. What discovery found besides stays known, but not configured."""
    wanted = list(models)
    for known in row.model_rows.exclude(model_id__in=wanted).filter(configured=True):
        if known.discovered_at is None:
            known.delete()
        else:
            known.configured = False
            known.save()
    for n, model_id in enumerate(wanted):
        row.model_rows.update_or_create(model_id=model_id, defaults={"configured": True, "position": n})


def dump() -> dict[str, Any]:
    """The tables as `providers.json` writes them, in canonical order."""
    rows = Provider.objects.prefetch_related("capability_rows", "model_rows")
    header = FileHeader.objects.first() or FileHeader()
    document = ProvidersDocument(
        schema=header.schema,
        description=header.description,
        aliases=_aliases(),
        providers={row.name: msgspec.to_builtins(_stored_entry(row)) for row in rows},
    )
    dumped: dict[str, Any] = msgspec.to_builtins(document)
    return dumped


def _stored_entry(row: Provider) -> ProviderEntry:
    models = [m.model_id for m in row.model_rows.all() if m.configured]
    return entry_of(row, list(row.capability_rows.all()), models)


def entry_of(
    row: Provider, capabilities: Iterable[ProviderCapability], models: Iterable[str]
) -> ProviderEntry:
    """As an export writes it; of a row that may not be stored yet."""
    capabilities = list(capabilities)
    timeouts = TimeoutsEntry(
        connect_ms=row.connect_ms,
        first_event_ms=row.first_event_ms,
        idle_ms=row.idle_ms,
        total_ms=row.total_ms,
    )
    return ProviderEntry(
        base_url=row.base_url,
        default_model=row.default_model,
        capabilities=tuple(c.capability for c in capabilities if c.declared),
        defaults={c.capability: c.default_model for c in capabilities if c.default_model},
        scores={c.capability: _number(c.score) for c in capabilities if c.score is not None},
        kind=None if row.kind == infer_kind(row.name) else row.kind,
        api_key=_api_key(row),
        enabled=row.enabled,
        timeouts=timeouts if timeouts != TimeoutsEntry() else None,
        max_concurrency=row.max_concurrency,
        models=tuple(models),
        notes=row.notes,
    )


def _api_key(row: Provider) -> dict[str, Any] | None:
    if row.credential_source == CredentialSource.DEFAULT:
        return None
    if row.credential_source == CredentialSource.STORED:
        return {"stored": True}
    return {str(row.credential_source): row.credential_name}


@transaction.atomic
def remember_discovered(name: str, models: Iterable[str]) -> None:
    """Keeps what discovery found, for the admin. Sends no signals: it is no change of configuration."""
    provider = Provider.objects.filter(name=name).first()
    if provider is None:
        return
    now = timezone.now()
    found = list(dict.fromkeys(model[:500] for model in models))
    known = set(provider.model_rows.values_list("model_id", flat=True))
    provider.model_rows.filter(model_id__in=found).update(discovered_at=now)
    gone = provider.model_rows.filter(discovered_at__isnull=False).exclude(model_id__in=found)
    gone.filter(configured=False)._raw_delete(gone.db)
    gone.update(discovered_at=None)
    ProviderModel.objects.bulk_create(
        [
            ProviderModel(
                provider=provider, model_id=model, configured=False, discovered_at=now, position=1000 + n
            )
            for n, model in enumerate(found)
            if model not in known
        ]
    )


class ProviderNote(NamedTuple):
    """`pk`: for a link to it. `missing`: what to say of a credential that is not there, else None."""

    pk: int
    name: str
    enabled: bool
    missing: str | None


def notes(keys: KeyRing) -> list[ProviderNote]:
    """Every provider in routing order, in one query. Stored keys are opened to see whether they can be."""
    return [
        ProviderNote(row.pk, row.name, row.enabled, open_credential(row, keys)[1])
        for row in Provider.objects.all()
    ]
