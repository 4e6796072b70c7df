"""Notices every change of providers and clients and gives it a number that the running processes watch.

The apps below need not know: their save and delete signals are listened to here. The version is written
in the same transaction as the change, after the first change and once per transaction; what both files
would have said before is caught ahead of that change.
"""

import json
import threading
from functools import lru_cache

from django.db import connection, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from gateway.attribution import attribution
from gateway.difference import Change, difference
from gateway.models import ConfigVersion
from gateway.rendering import FILES, pack, render_all, unpack

WATCHED_APPS = frozenset({"providers", "clients"})
_QUEUE = 0x4C4C4D43
"""The name of PostgreSQL's advisory lock. SQLite's transactions queue by themselves."""
_outside = threading.local()


def newest() -> int:
    return ConfigVersion.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


class _Before:
    """Both files before a transaction's first change, packed; goes with the transaction, or its savepoint."""

    def __init__(self, packed: bytes) -> None:
        self.packed = packed

    def __call__(self) -> None:
        """Nothing is left to do at the commit."""


def _already_noted() -> None:
    """Marks a transaction that has its version; the marker goes with the transaction, or its savepoint."""


def remember() -> None:
    """Keeps what both files would say now, once per transaction and before its first change.

    Transactions that change the configuration wait for each other here, so that what one finds is what the
    one before it left behind, and versions are numbered in the order of their commits.
    """
    if not connection.in_atomic_block:
        _outside.before = pack(render_all())
    elif _remembered() is None:
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_QUEUE])
        transaction.on_commit(_Before(pack(render_all())))


def _remembered() -> bytes | None:
    if not connection.in_atomic_block:
        return getattr(_outside, "before", None)
    marks = (entry[1] for entry in connection.run_on_commit)
    return next((mark.packed for mark in marks if isinstance(mark, _Before)), None)


def _is_noted() -> bool:
    return connection.in_atomic_block and any(
        entry[1] is _already_noted for entry in connection.run_on_commit
    )


def _changes(sender: type[Model], **_: object) -> None:
    if sender._meta.app_label in WATCHED_APPS and not _is_noted():
        remember()


def _changed(sender: type[Model], **_: object) -> None:
    if sender._meta.app_label not in WATCHED_APPS or _is_noted():
        return
    author, reason = attribution()
    ConfigVersion.objects.create(author=author[:150], reason=reason[:500], before=_remembered())
    if connection.in_atomic_block:
        transaction.on_commit(_already_noted)


def watch() -> None:
    pre_save.connect(_changes, dispatch_uid="gateway.versions.before_save")
    pre_delete.connect(_changes, dispatch_uid="gateway.versions.before_delete")
    post_save.connect(_changed, dispatch_uid="gateway.versions.save")
    post_delete.connect(_changed, dispatch_uid="gateway.versions.delete")


def changes_of(before: bytes | None, after: bytes | None) -> dict[str, tuple[Change, ...]] | None:
    """File name → what a version changed in it; files that say the same are left out.

    `before`, `after`: the version's and that of the version after it. None when one of them was not kept.
    """
    if not before or not after:
        return None
    old, new = _texts(bytes(before)), _texts(bytes(after))
    return {
        name: difference(_document(old[name]), _document(new[name]))
        for name in FILES
        if old[name] != new[name]
    }


# Neighbours in the history share a side: in a list of versions, each state is read once.
_texts = lru_cache(maxsize=4)(unpack)
_document = lru_cache(maxsize=4)(json.loads)
