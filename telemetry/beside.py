"""What the journal's writer stores beside calls, and for how long it is kept."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError

from telemetry import captured_rows, failure_rows
from telemetry.captured import SealedContent
from telemetry.failures import FailureCounts
from telemetry.unreadable import UNREADABLE, is_cell

UNFIT = (OverflowError, OSError, ValueError, TypeError, ValidationError, DataError, IntegrityError)
"""What a value raises that is no moment, or that a column does not take."""
SetAside = Callable[[Any, Exception], None]
STORES: dict[type, Callable[[Sequence[Any]], None]] = {
    FailureCounts: failure_rows.store,
    SealedContent: captured_rows.store,
}


def store(entries: Sequence[object], set_aside: SetAside) -> None:
    """Passes over what is not its own. The same entries may come again. Raises `DatabaseError`."""
    for kind, keep in STORES.items():
        _keep([entry for entry in entries if type(entry) is kind], keep, set_aside)


def _keep(lines: Sequence[object], keep: Callable[[Sequence[Any]], None], set_aside: SetAside) -> None:
    """One line that no column takes must not hold up the others."""
    if not lines:
        return
    try:
        keep(lines)
    except (*UNFIT, *UNREADABLE) as error:
        # What somebody has put into the row that a line belongs to is not waited out either.
        if not isinstance(error, UNFIT) and not is_cell(error):
            raise
        if len(lines) == 1:
            set_aside(lines[0], error)
            return
    else:
        return
    for line in lines:
        _keep([line], keep, set_aside)


def prune(now: datetime, *, failed_authentication_days: int) -> None:
    failure_rows.prune(now, failed_authentication_days)
    captured_rows.prune(now)
