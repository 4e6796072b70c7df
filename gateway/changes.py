"""Notices what changes in each row of providers, clients and staff accounts, and keeps it: who, why, before and after.

Like `versions.py` it listens to the apps' signals, and writes in the transaction of the change. What the
product finds out by itself, discovered models, a last use, a code that was used up, is no change.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from django.db.models import BinaryField, Field, Model, QuerySet
from django.db.models.signals import m2m_changed, post_save, pre_delete, pre_save

from gateway import versions
from gateway.attribution import attribution
from gateway.models import ConfigChange

BESIDES = (
    *("auth.user", "auth.group", "gateway.staffsecondfactor"),
    *("telemetry.retentionrule", "telemetry.legalhold"),
)
"""Who may enter, and how; what of the record is removed. These are told, but make no version: calls do not depend on
them."""
SECRETS = frozenset({"stored_credential", "digest", "password", "backup_digests"})
"""Fields told as "changed", as are all binary ones."""
TOLD = "changed"
NOT_CONFIGURATION = frozenset({"discovered_at", "last_used_at", "last_login", "date_joined", "last_step"})
ORDERED = frozenset({"providers.provider"})
"""Where the position decides something, the routing. Elsewhere it is only the order of lines in a file."""
EMPTY = (None, "", [], {})
_STORED = "_gateway_stored"
LOCKED_AS = "locked_as"
_untold: ContextVar[bool] = ContextVar("untold", default=False)


@contextmanager
def untold() -> Iterator[None]:
    """For what a release brings along: nobody decided it here."""
    token = _untold.set(True)
    try:
        yield
    finally:
        _untold.reset(token)


def watched(model: type[Model]) -> bool:
    """Not a migration's own copy of a model: the change log may not be there yet."""
    meta = model._meta
    told = meta.app_label in versions.WATCHED_APPS or meta.label_lower in BESIDES
    return told and model.__module__ != "__fake__" and not _untold.get()


def is_secret(field: Field) -> bool:
    return field.name in SECRETS or isinstance(field, BinaryField)


def _fields(model: type[Model], only: Any = None) -> list[Field]:
    ignored = NOT_CONFIGURATION if model._meta.label_lower in ORDERED else NOT_CONFIGURATION | {"position"}
    fields = [f for f in model._meta.concrete_fields if not f.primary_key and f.name not in ignored]
    return [f for f in fields if only is None or f.name in only or f.attname in only]


def _is_finding(row: Model) -> bool:
    """A model that discovery found and nobody configured."""
    return row._meta.label_lower == "providers.providermodel" and not row.configured  # type: ignore[attr-defined]


def _is_pending(row: Model) -> bool:
    """A second factor that its owner has not proved yet: to the log it is not there."""
    return row._meta.label_lower == "gateway.staffsecondfactor" and row.confirmed_at is None  # type: ignore[attr-defined]


def _is_use(stored: Any, row: Any, field: Field, only: Any) -> bool:
    """A backup code struck out, or a password stored anew by a login because the way of hashing it changed."""
    if field.name == "backup_digests":
        return set(row.backup_digests) < set(stored.backup_digests)
    if field.name != "password" or only is None or set(only) != {"password"}:
        return False
    # Django keeps the plaintext of a password that somebody set until it is saved; a login does not.
    return row._password is None and row.has_usable_password()


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


def _with_named(rows: QuerySet) -> QuerySet:
    """Together with the rows that their names are made of."""
    named = [field.name for field in rows.model._meta.concrete_fields if field.is_relation]
    return rows.select_related(*named) if named else rows


def _names(rows: Iterable[Model]) -> list[str]:
    return sorted(str(row) for row in rows)


def _memberships(row: Model) -> dict[str, list[str]]:
    """What goes with a user or a group: groups and permissions, and the members that a group had."""
    found = {f.name: _names(_with_named(getattr(row, f.name).all())) for f in row._meta.many_to_many}
    if row._meta.label_lower == "auth.group":
        found["members"] = _names(row.user_set.all())  # type: ignore[attr-defined]
    return {name: names for name, names in found.items() if names}


def _keep(row: Model, action: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    author, reason = attribution()
    ConfigChange.objects.create(
        version_id=versions.number() if row._meta.app_label in versions.WATCHED_APPS else None,
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
    # Whoever has read it under a lock in this very transaction may leave it here: of a thousand rows, asking again
    # is a third of the work.
    stored: Model | None = instance.__dict__.pop(LOCKED_AS, None)
    if stored is None and instance.pk is not None:
        # A row with a key of its own choosing may be there already; one that has none yet cannot.
        stored = sender._base_manager.filter(pk=instance.pk).first()
    setattr(instance, _STORED, stored)


def _after_save(
    sender: type[Model], instance: Model, raw: bool = False, update_fields: Any = None, **_: Any
) -> None:
    """Rows loaded `raw` are a backup's, which has its own history; what they name may not be there yet."""
    if raw or not watched(sender):
        return
    stored: Model | None = instance.__dict__.pop(_STORED, None)
    if stored is None or _is_pending(stored):
        if not _is_finding(instance) and not _is_pending(instance):
            _keep(instance, "added", {}, _all_of(instance, secrets=True))
        return
    differing = [f for f in _fields(sender, update_fields) if _raw(stored, f) != _raw(instance, f)]
    differing = [f for f in differing if not _is_use(stored, instance, f, update_fields)]
    if differing:
        before = {f.name: _shown(stored, f) for f in differing if not is_secret(f)}
        _keep(instance, "changed", before, {f.name: _shown(instance, f) for f in differing})


def _before_delete(sender: type[Model], instance: Model, **_: Any) -> None:
    """Before, because a row's name may need rows that go with it. A failed deletion takes this back as well."""
    if watched(sender) and not _is_finding(instance) and not _is_pending(instance):
        _keep(instance, "removed", _all_of(instance, secrets=False) | _memberships(instance), {})


def _members_changed(
    sender: type[Model], instance: Any, action: str, reverse: bool, model: type[Model], pk_set: Any, **_: Any
) -> None:
    """Told at the user or the group that has the list, from whichever side it was changed."""
    owner = model if reverse else type(instance)
    if action not in ("post_add", "pre_remove", "pre_clear") or not watched(owner):
        return
    field = next(f for f in owner._meta.many_to_many if f.remote_field.through is sender)
    if action == "post_add":
        others = model._base_manager.filter(pk__in=pk_set)
    else:  # of those to be removed, the ones that are there
        there = (
            owner._base_manager.filter(**{field.name: instance}) if reverse else getattr(instance, field.name)
        )
        others = there.all() if pk_set is None else there.filter(pk__in=pk_set)
    names = _names([instance] if reverse else _with_named(others.all()))
    before, after = ([], names) if action == "post_add" else (names, [])
    for row in (others if reverse else [instance]) if names else ():
        _keep(row, "changed", {field.name: before}, {field.name: after})


def added_since(table: str, moment: datetime) -> frozenset[str]:
    """The keys, as text, of the rows that were added at that moment or later. `table`: as Django names it."""
    found = ConfigChange.objects.filter(created_at__gte=moment, table=table, action="added")
    return frozenset(found.values_list("object_id", flat=True))


def watch() -> None:
    pre_save.connect(_before_save, dispatch_uid="gateway.changes.before_save")
    post_save.connect(_after_save, dispatch_uid="gateway.changes.after_save")
    pre_delete.connect(_before_delete, dispatch_uid="gateway.changes.before_delete")
    m2m_changed.connect(_members_changed, dispatch_uid="gateway.changes.members_changed")
