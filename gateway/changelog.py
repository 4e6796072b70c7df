"""What the change log tells besides changes of tables: each old backup that was removed, whoever removed it (contract
§3), each time that the record of calls, or a part of it, was taken away, and kept content that somebody erased."""

import os
import pwd
from contextlib import suppress
from pathlib import Path

from django.db import transaction

from gateway import backups
from gateway.attribution import attribution
from gateway.models import ConfigChange

BACKUPS, EXPORTS, ERASED = "backups", "exports", "kept content"


def save(path: Path, data: bytes) -> list[Path]:
    """`backups.save`, with the change log. Raises `backups.SaveError`."""
    sizes = _sizes(path)
    removed = backups.save(path, data)
    for old in removed:
        _note_removed(old, sizes.get(old, 0), f"more than {backups.KEEP} after {path.name} was saved")
    return removed


def prune(path: Path) -> list[Path]:
    """Removes all but the newest `backups.KEEP` and returns them. Raises `OSError`; what is gone by then is logged."""
    removed = []
    for old in superfluous(path):
        with (
            suppress(FileNotFoundError),
            transaction.atomic(),
        ):  # gone already: whoever removed it has told it
            _note_removed(old, old.stat().st_size, f"more than {backups.KEEP} of {path.name}")
            old.unlink()
            removed.append(old)
    return removed


def superfluous(path: Path) -> list[Path]:
    """What `prune` would remove."""
    return backups.backups_of(path)[backups.KEEP :]


def operating_system_user() -> str:
    """Whose process this is; its number where the system has no name for it."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def _sizes(path: Path) -> dict[Path, int]:
    """Bytes of each backup there is. What is wrong with the folder is for the save itself to tell."""
    try:
        return {old: old.stat().st_size for old in backups.backups_of(path)}
    except OSError:
        return {}


def note_export(calls: str, form: str, *, by: str, where: str) -> None:
    """`calls`: which, in words. `form`: the format's title. `where`: from where it was asked for."""
    ConfigChange.objects.create(
        author=by[:150],
        reason=f"exported as {form}, {where}"[:500],
        table=EXPORTS,
        row=calls[:300],
        action="added",
        after={"calls": calls, "format": form},
    )


def note_erased(call_id: str, *, client: str, size: int, kept_until: str, by: str, reason: str) -> None:
    """`size`: bytes as they were sealed. What was said is not told."""
    ConfigChange.objects.create(
        author=by[:150],
        reason=reason[:500],
        table=ERASED,
        row=f"content of call {call_id}",
        action="removed",
        before={"call": call_id, "client": client, "bytes": size, "kept until": kept_until},
    )


def _note_removed(old: Path, size: int, reason: str) -> None:
    author, why = attribution()
    ConfigChange.objects.create(
        author=(author or operating_system_user())[:150],
        reason=(why or reason)[:500],
        table=BACKUPS,
        row=old.name[:300],
        action="removed",
        before={"file": old.name, "bytes": size},
    )
