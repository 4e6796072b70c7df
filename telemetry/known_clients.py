"""Which clients there are, for rules and holds that name one. Whoever knows the clients says how to ask."""

from collections.abc import Callable, Collection

from telemetry.models import RequestLog


def _nobody() -> Collection[str]:
    return ()


_ask: Callable[[], Collection[str]] = _nobody


def client_names_from(ask: Callable[[], Collection[str]]) -> None:
    """Called once at start."""
    global _ask
    _ask = ask


def is_unheard_of(tool_id: str) -> bool:
    """Neither a client now nor one on record: a client that was deleted has its calls there."""
    return tool_id not in _ask() and not RequestLog.objects.filter(tool_id=tool_id).exists()
