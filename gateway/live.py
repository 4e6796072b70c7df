"""The gateway of this process, for the pages that tell how it is or call through it. None where none runs."""

from gateway.runtime import Gateway
from gateway.scrape import Scrape
from telemetry.metrics import METRICS
from telemetry.prometheus import exposition

_current: Gateway | None = None
_scrape: Scrape | None = None


def set_current(gateway: Gateway | None, scrape: Scrape | None = None) -> None:
    global _current, _scrape
    _current, _scrape = gateway, scrape


def current() -> Gateway | None:
    return _current


def metrics(accept: str) -> tuple[bytes, str]:
    """The answer of `/metrics` and its content type. Reads files."""
    if _scrape is not None:
        return _scrape.text(accept)
    state = METRICS.state()
    return exposition(state, [state], {}, accept)
