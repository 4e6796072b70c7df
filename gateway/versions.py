"""Notices every change of providers and clients and gives it a number that the running processes watch.

The apps below need not know: their save and delete signals are listened to here. The version is written
in the same transaction as the change, once per transaction.
"""

from typing import Any

from django.db import connection, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from gateway.attribution import attribution
from gateway.models import ConfigVersion

WATCHED_APPS = frozenset({"providers", "clients"})


def newest() -> int:
    return ConfigVersion.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def _already_noted() -> None:
    """Marks a transaction that has its version; the marker goes with the transaction, or its savepoint."""


def _changed(sender: type[Model], **_: Any) -> None:
    if sender._meta.app_label not in WATCHED_APPS:
        return
    if connection.in_atomic_block and any(entry[1] is _already_noted for entry in connection.run_on_commit):
        return
    author, reason = attribution()
    ConfigVersion.objects.create(author=author[:150], reason=reason[:500])
    if connection.in_atomic_block:
        transaction.on_commit(_already_noted)


def watch() -> None:
    post_save.connect(_changed, dispatch_uid="gateway.versions.save")
    post_delete.connect(_changed, dispatch_uid="gateway.versions.delete")
