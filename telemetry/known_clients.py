"""Which clients there are, for whatever names one: a rule, a hold, a filter, a question. Whoever knows the clients says how to ask."""

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


def doubt_about(tool_id: str) -> str:
    """A sentence on a client of which neither the configuration nor the record knows anything; "" of another."""
    if not tool_id or not is_unheard_of(tool_id):
        return ""
    return f"There is no client called “{tool_id}”, and no call of one is on record. Is it misspelt?"
