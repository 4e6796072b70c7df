"""Notices what changes in each row of providers and clients, and keeps it: who, why, before and after.

Like `versions.py` it listens to the apps' signals, and writes in the transaction of the change. What the
product finds out by itself, discovered models and a token's last use, is no change of configuration.
"""

from datetime import datetime
from typing import Any

from django.db.models import BinaryField, Field, Model
from django.db.models.signals import post_save, pre_delete, pre_save

from gateway.attribution import attribution
from gateway.models import ConfigChange

WATCHED_APPS = frozenset({"providers", "clients"})
SECRETS = frozenset({"stored_credential", "digest"})
"""Fields told as "changed", as are all binary ones."""
TOLD = "changed"
NOT_CONFIGURATION = frozenset({"discovered_at", "last_used_at"})
ORDERED = frozenset({"providers.provider"})
"""Where the position decides something, the routing. Elsewhere it is only the order of lines in a file."""
EMPTY = (None, "", [], {})
_STORED = "_gateway_stored"


def watched(model: type[Model]) -> bool:
    return model._meta.app_label in WATCHED_APPS


def is_secret(field: Field) -> bool:
    return field.name in SECRETS or isinstance(field, BinaryField)


def _fields(model: type[Model], only: Any = None) -> list[Field]:
    ignored = NOT_CONFIGURATION if model._meta.label_lower in ORDERED else NOT_CONFIGURATION | {"position"}
    fields = [f for f in model._meta.concrete_fields if not f.primary_key and f.name not in ignored]
    return [f for f in fields if only is None or f.name in only or f.attname in only]


def _is_finding(row: Model) -> bool:
    """A model that discovery found and nobody configured."""
    return row._meta.label_lower == "providers.providermodel" and not row.configured  # type: ignore[attr-defined]


def _raw(row: Model, field: Field) -> Any:
    value = field.to_python(getattr(row, field.attname))
    return bytes(value) if isinstance(value, memoryview) else value


def _shown(row: Model, field: Field) -> Any:
    """As JSON, and for people: related rows by their names."""
    value = _raw(row, field)
    if is_secret(field):
        return TOLD
    if field.is_relation and value is not None:
        return str(getattr(row, field.name))
    if isinstance(value, datetime):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | list | dict) else str(value)


def _all_of(row: Model, *, secrets: bool) -> dict[str, Any]:
    fields = [f for f in _fields(type(row)) if secrets or not is_secret(f)]
    return {f.name: _shown(row, f) for f in fields if _raw(row, f) not in EMPTY}


def _keep(row: Model, action: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    author, reason = attribution()
    ConfigChange.objects.create(
        author=author[:150],
        reason=reason[:500],
        table=row._meta.label_lower,
        object_id=str(row.pk),
        row=str(row)[:300],
        action=action,
        before=before,
        after=after,
    )


def _before_save(sender: type[Model], instance: Model, raw: bool = False, **_: Any) -> None:
    if raw or not watched(sender):
        return
    # A row with a key of its own choosing may be there already; one that has none yet cannot.
    stored = None if instance.pk is None else sender._base_manager.filter(pk=instance.pk).first()
    setattr(instance, _STORED, stored)


def _after_save(
    sender: type[Model], instance: Model, raw: bool = False, update_fields: Any = None, **_: Any
) -> None:
    """Rows loaded `raw` are a backup's, which has its own history; what they name may not be there yet."""
    if raw or not watched(sender):
        return
    stored: Model | None = instance.__dict__.pop(_STORED, None)
    if stored is None:
        if not _is_finding(instance):
            _keep(instance, "added", {}, _all_of(instance, secrets=True))
        return
    differing = [f for f in _fields(sender, update_fields) if _raw(stored, f) != _raw(instance, f)]
    if differing:
        before = {f.name: _shown(stored, f) for f in differing if not is_secret(f)}
        _keep(instance, "changed", before, {f.name: _shown(instance, f) for f in differing})


def _before_delete(sender: type[Model], instance: Model, **_: Any) -> None:
    """Before, because a row's name may need rows that go with it. A failed deletion takes this back as well."""
    if watched(sender) and not _is_finding(instance):
        _keep(instance, "removed", _all_of(instance, secrets=False), {})


def added_since(table: str, moment: datetime) -> frozenset[str]:
    """The keys, as text, of the rows that were added at that moment or later. `table`: as Django names it."""
    found = ConfigChange.objects.filter(created_at__gte=moment, table=table, action="added")
    return frozenset(found.values_list("object_id", flat=True))


def watch() -> None:
    pre_save.connect(_before_save, dispatch_uid="gateway.changes.before_save")
    post_save.connect(_after_save, dispatch_uid="gateway.changes.after_save")
    pre_delete.connect(_before_delete, dispatch_uid="gateway.changes.before_delete")
