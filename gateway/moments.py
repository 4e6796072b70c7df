"""A moment as people type it on a command line."""

import argparse
from datetime import UTC, datetime


def moment(text: str) -> datetime:
    """`2026-11-01`, `2026-11-01T08:00` or with seconds and an offset; without an offset it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date or time; write 2026-11-01 or 2026-11-01T08:00"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
