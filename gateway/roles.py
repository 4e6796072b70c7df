"""Who may do what: three groups, each a list of permissions as patterns. Users and groups stay with superusers.

The groups are made by a migration. Django makes the permissions themselves only after all migrations, so that
on a new database there is nothing to give yet; and models come later. Therefore permissions are given when
they are made, after every migrate: each reaches the groups once, and what a superuser took away from a group,
or gave to it besides, stays that way.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.db import connections
from django.db.models import Max
from django.db.models.signals import post_migrate, pre_migrate

from gateway.changes import untold

ROLES: dict[str, tuple[str, ...]] = {
    "operators": (
        "providers.*",
        "clients.*",
        "telemetry.view_*",
        "telemetry.find_text",
        "gateway.view_*",
        # Stands for applying a configuration and rolling one back; nobody adds a version by hand.
        "gateway.add_configversion",
    ),
    "auditors": (
        "telemetry.view_*",
        "telemetry.export_requestlog",
        "telemetry.find_text",
        "telemetry.open_content",
        "gateway.view_configversion",
        "gateway.view_configchange",
    ),
    "viewers": ("providers.view_*", "clients.view_*", "telemetry.view_*", "gateway.view_*"),
}
APPS = frozenset({"gateway", "providers", "clients", "telemetry"})

_newest_before: dict[str, int] = {}
"""By database: the newest permission before the migrate that is running."""


def may(role: str, app: str, codename: str) -> bool:
    return any(fnmatchcase(f"{app}.{codename}", pattern) for pattern in ROLES[role])


def give(groups: Any, known: Iterable[Any], new: Iterable[Any]) -> None:
    """Makes the groups that are missing, with what their roles have of `known`; the others get it of `new`.

    `groups`: the manager of groups, so that a migration can bring its own.
    """
    for role in ROLES:
        group, made = groups.get_or_create(name=role)
        offered = known if made else new
        group.permissions.add(*(p for p in offered if may(role, p.content_type.app_label, p.codename)))


def _remember(sender: Any, using: str, **_: Any) -> None:
    if sender.label != "gateway":
        return
    permission = apps.get_model("auth", "Permission")
    there = permission._meta.db_table in connections[using].introspection.table_names()
    newest = permission.objects.using(using).aggregate(newest=Max("pk"))["newest"] if there else None
    _newest_before[using] = newest or 0


def _give_new(sender: Any, using: str, **options: Any) -> None:
    if sender.label not in APPS:
        return
    # Django's own receiver runs for the same app; doing its work first makes the order of the two no matter.
    create_permissions(sender, using=using, verbosity=0)
    permission, group = apps.get_model("auth", "Permission"), apps.get_model("auth", "Group")
    known = permission.objects.using(using).select_related("content_type")
    new = known.filter(content_type__app_label=sender.label, pk__gt=_newest_before.get(using, 0))
    if new:
        with untold():
            give(group.objects.using(using), known, new)


def watch() -> None:
    pre_migrate.connect(_remember, dispatch_uid="gateway.roles.remember")
    post_migrate.connect(_give_new, dispatch_uid="gateway.roles.give")
