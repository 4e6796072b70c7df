"""Stored credentials move under the newest encryption key, all of them or none."""

from copy import copy
from typing import NamedTuple

from django.db import transaction

from providers.models import Provider
from providers.secrets import KeyRing, SealError
from providers.turns import take_turn


class Rotated(NamedTuple):
    """How many credentials were encrypted again, and how many were under the newest key already."""

    moved: int
    stayed: int


class UnopenedError(Exception):
    """No key opens the credentials of these providers; nothing was changed."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"{len(names)} credential(s) cannot be opened")
        self.names = names


def rotate(keys: KeyRing) -> Rotated:
    """One transaction, in which running processes see one change at most. Raises `UnopenedError`."""
    with transaction.atomic():
        take_turn()
        # Locked, so that a key entered meanwhile is not overwritten by the one before it.
        stored = Provider.objects.select_for_update().filter(stored_credential__isnull=False)
        rows, unopened = list(stored), []
        moved = 0
        for row in rows:
            try:
                moved += _reseal(row, keys)
            except SealError:
                unopened.append(row.name)
        if unopened:
            transaction.set_rollback(True)
    if unopened:
        raise UnopenedError(unopened)
    return Rotated(moved, len(rows) - moved)


def _reseal(row: Provider, keys: KeyRing) -> bool:
    """Whether there was anything to do. Opens the credential in any case. Whoever watches changes finds the row as it
    was read under the lock in `locked_as`. Raises `SealError`."""
    sealed, uid = bytes(row.stored_credential), str(row.uid)
    secret = keys.open(sealed, bound_to=uid)
    if keys.is_newest(sealed):
        return False
    row.locked_as = copy(row)  # type: ignore[attr-defined]
    row.stored_credential = keys.seal(secret.reveal(), bound_to=uid)
    row.save(update_fields=["stored_credential"])
    return True
