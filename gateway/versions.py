"""Notices every change of providers and clients and gives it a number that the running processes watch.

The apps below need not know: their save and delete signals are listened to here. The version is written
in the same transaction as the change, once per transaction; what both files would have said before is caught
ahead of that change. When the transaction is over, the version is summed up (`summary.py`).
"""

import threading

from django.db import connection, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save, pre_delete, pre_save

from gateway import summary
from gateway.attribution import attribution
from gateway.models import ConfigVersion
from gateway.rendering import pack, render_all

WATCHED_APPS = frozenset({"providers", "clients"})
_QUEUE = 0x4C4C4D43
"""The name of PostgreSQL's advisory lock. SQLite's transactions queue by themselves."""
LATEST = 64


def newest() -> int:
    return ConfigVersion.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def latest() -> tuple[int, ...]:
    """The newest numbers, highest first. What changes outside of a transaction does not queue, so that a lower
    number may be committed after a higher one: whoever compares these sees it all the same."""
    return tuple(ConfigVersion.objects.order_by("-pk").values_list("pk", flat=True)[:LATEST])


def queue() -> None:
    """Waits for whoever else is changing the configuration; held until the transaction is over, nothing outside of
    one. Before any row is locked: of two who take row and queue in different orders, each waits for the other."""
    if connection.in_atomic_block and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_QUEUE])


class _Before:
    """Both files before a transaction's first change, packed; goes with the transaction, or its savepoint."""

    def __init__(self, packed: bytes) -> None:
        self.packed = packed

    def __call__(self) -> None:
        """Nothing is left to do at the commit."""


class _Noted:
    """Marks a transaction that has its version; goes with the transaction, or its savepoint."""

    def __init__(self, number: int) -> None:
        self.number, self.apps = number, set[str]()

    def __call__(self) -> None:
        summary.sum_up(self.number, self.apps)


class _Outside(threading.local):
    """What a change outside of a transaction leaves for its own version."""

    before: bytes | None = None
    noted: _Noted | None = None


_outside = _Outside()


def remember() -> None:
    """Keeps what both files would say now, once per transaction and before its first change.

    Transactions that change the configuration wait for each other here, so that what one finds is what the
    one before it left behind, and versions are numbered in the order of their commits.
    """
    if not connection.in_atomic_block:
        _outside.before, _outside.noted = pack(render_all()), None
    elif _before() is None:
        queue()
        transaction.on_commit(_Before(pack(render_all())))


def _before() -> _Before | None:
    marks = (entry[1] for entry in connection.run_on_commit)
    return next((mark for mark in marks if isinstance(mark, _Before)), None)


def _noted() -> _Noted | None:
    if not connection.in_atomic_block:
        return _outside.noted
    marks = (entry[1] for entry in connection.run_on_commit)
    return next((mark for mark in marks if isinstance(mark, _Noted)), None)


def number() -> int:
    """The version that the change under way belongs to; made now when it has none yet."""
    return (_noted() or _note()).number


def _note() -> _Noted:
    author, reason = attribution()
    inside, mark = connection.in_atomic_block, _before()
    before = mark.packed if mark else _outside.before if not inside else None
    version = ConfigVersion.objects.create(author=author[:150], reason=reason[:500], before=before)
    summary.catch_up(version)
    noted = _Noted(version.pk)
    if inside:
        # The change is committed by then: what fails now is no reason to fail it.
        transaction.on_commit(noted, robust=True)
    else:
        _outside.noted = noted
    return noted


def _changes(sender: type[Model], **_: object) -> None:
    if sender._meta.app_label in WATCHED_APPS:
        remember()


def _changed(sender: type[Model], **_: object) -> None:
    if sender._meta.app_label not in WATCHED_APPS:
        return
    noted = _noted() or _note()
    noted.apps.add(sender._meta.app_label)
    if not connection.in_atomic_block:
        noted()


def watch_ahead() -> None:
    """Before anybody else looks at the change: who has to wait for others waits here."""
    pre_save.connect(_changes, dispatch_uid="gateway.versions.before_save")
    pre_delete.connect(_changes, dispatch_uid="gateway.versions.before_delete")


def watch_after() -> None:
    """After the change log: it may be asked what happened."""
    post_save.connect(_changed, dispatch_uid="gateway.versions.save")
    post_delete.connect(_changed, dispatch_uid="gateway.versions.delete")
