"""What a version changed: its whole difference, and in a few words and three counts that are stored with it.

Stored once its transaction is over, because only then is the difference whole. If that fails, or the process ends in
between, the next version makes up for it; in the meantime nothing but the short form is missing.
"""

import json
from collections import Counter
from collections.abc import Collection
from functools import lru_cache

from gateway.attribution import IN_THE_ADMIN
from gateway.difference import Change, difference
from gateway.happening import fields, happenings, in_short
from gateway.models import ConfigVersion
from gateway.naming import field_names, table_name
from gateway.rendering import FILE_OF, FILES, pack, render, unpack

_NOBODY_S_WORDS = ("", IN_THE_ADMIN)
NO_DIFFERENCE = "Saved without a difference"


def sum_up(number: int, apps: Collection[str]) -> None:
    """Of a version that is committed. One that is summed up stays as it is. `apps`: whose tables it changed."""
    version = ConfigVersion.objects.filter(pk=number, added=None, before__isnull=False).first()
    if version is None or version.before is None:
        return
    # The other file says what it said.
    rendered = {name: render(name).decode() for app, name in FILE_OF.items() if app in apps}
    left: bytes | None = pack(unpack(bytes(version.before)) | rendered)
    # Whoever changed something meanwhile kept what this version had left.
    later = ConfigVersion.objects.filter(pk__gt=number).order_by("pk").first()
    if later is not None:
        left = later.before
    _write(version, left)


def catch_up(made: ConfigVersion) -> None:
    """Sums up the version before `made`, if that was missed."""
    previous = ConfigVersion.objects.defer("before").filter(pk__lt=made.pk).first()
    if previous is not None and previous.added is None:
        _write(previous, made.before)


def _write(version: ConfigVersion, left: bytes | None) -> None:
    found = changes_of(version.before, left)
    if found is None:
        return
    changes = [change for listed in found.values() for change in listed]
    counts = Counter(change.action for change in changes)
    typed = version.reason not in _NOBODY_S_WORDS
    ConfigVersion.objects.filter(pk=version.pk).update(
        added=counts["added"],
        changed=counts["changed"] + counts["moved"],
        removed=counts["removed"],
        reason=version.reason if typed else _words(version, changes)[:500],
    )


def _words(version: ConfigVersion, changes: list[Change]) -> str:
    if changes:
        return in_short(happenings(changes))
    # The files do not tell everything, a stored key least of all: the change log knows.
    rows = version.changes.order_by("pk")
    first = rows.first()
    if first is None:
        return NO_DIFFERENCE
    named = fields(field_names(first))
    name = f"{table_name(first.table)} {first.row} {first.action}"
    text = name[:1].upper() + name[1:] + (f": {named}" if named else "")
    return in_short([text], more=rows.count() - 1)


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


# Neighbours in the history share a side: one after the other, each state is read once.
_texts = lru_cache(maxsize=4)(unpack)
_document = lru_cache(maxsize=4)(json.loads)
