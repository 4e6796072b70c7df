"""Names that the client form offers and checks against. Whoever knows the providers says how to ask."""

from collections.abc import Callable, Collection, Sequence


def _unknown() -> Collection[str]:
    return ()


def _silent(models: Collection[str]) -> Sequence[str]:
    return ()


_ask: Callable[[], Collection[str]] = _unknown
_ask_about: Callable[[Collection[str]], Sequence[str]] = _silent


def provider_names_from(ask: Callable[[], Collection[str]]) -> None:
    """Called once at start."""
    global _ask
    _ask = ask


def provider_names() -> list[str]:
    """In alphabetical order; empty when there are none."""
    return sorted(_ask())


def model_warnings_from(ask_about: Callable[[Collection[str]], Sequence[str]]) -> None:
    """Called once at start."""
    global _ask_about
    _ask_about = ask_about


def model_warnings(models: Collection[str]) -> Sequence[str]:
    """What is odd about these as the models that a client may use, in sentences."""
    return _ask_about(models)


def provider_warnings(allowed: Collection[str]) -> list[str]:
    """Of providers that a client is restricted to, in sentences."""
    unknown = sorted(set(allowed) - set(provider_names()))
    if not unknown:
        return []
    return [f"There is no provider called {', '.join(unknown)}. Calls go to no provider by such a name."]
