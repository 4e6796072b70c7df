"""What the journal's writer stores beside calls, and for how long it is kept."""

from collections.abc import Iterable
from datetime import datetime

from telemetry import failure_rows
from telemetry.failures import FailureCounts


def store(entries: Iterable[object]) -> None:
    """Passes over what is not its own. The same entries may come again. Raises `DatabaseError`."""
    failure_rows.store(entry for entry in entries if isinstance(entry, FailureCounts))


def prune(now: datetime, *, failed_authentication_days: int) -> None:
    failure_rows.prune(now, failed_authentication_days)
