"""Names that the client form offers and checks against. Whoever knows the providers says how to ask for them."""

from collections.abc import Callable, Collection


def _unknown() -> Collection[str]:
    return ()


_ask: Callable[[], Collection[str]] = _unknown


def provider_names_from(ask: Callable[[], Collection[str]]) -> None:
    """Called once at start."""
    global _ask
    _ask = ask


def provider_names() -> list[str]:
    """In alphabetical order; empty when there are none."""
    return sorted(_ask())
