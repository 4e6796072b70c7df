"""A moment as people type it on a command line."""

import argparse
from datetime import UTC, datetime


def moment(text: str) -> datetime:
    """`2026-11-01`, `2026-11-01T08:00` or with seconds and an offset; without an offset it is UTC, as what is returned.

    A moment that only its offset puts before the year 1, or behind 9999, is none: nothing after this could tell it.
    """
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date or time; write 2026-11-01 or 2026-11-01T08:00"
        ) from None
