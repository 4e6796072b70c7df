"""The gateway of this process, for the pages that tell how it is or call through it. None where none runs."""

from gateway.runtime import Gateway

_current: Gateway | None = None


def set_current(gateway: Gateway | None) -> None:
    global _current
    _current = gateway


def current() -> Gateway | None:
    return _current
