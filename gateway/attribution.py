"""Who changes the configuration, and why: carried to where the change is noticed."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

IN_THE_ADMIN = "changed in the admin"
"""The reason where nobody gave one. A version says instead what happened."""
_attribution: ContextVar[tuple[str, str]] = ContextVar("attribution", default=("", ""))


@contextmanager
def attributed(author: str, reason: str) -> Iterator[None]:
    """Changes made inside are recorded as `author`'s, for `reason`."""
    token = _attribution.set((author, reason))
    try:
        yield
    finally:
        _attribution.reset(token)


def attribution() -> tuple[str, str]:
    """`(author, reason)`, empty outside of `attributed`."""
    return _attribution.get()
