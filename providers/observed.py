"""What this process's probes saw last of each provider, for the admin's pages. Empty where no gateway runs."""

from collections.abc import Mapping

from providers.catalog import Observation

_latest: Mapping[str, Observation] = {}


def note(observations: Mapping[str, Observation]) -> None:
    global _latest
    _latest = observations


def latest() -> Mapping[str, Observation]:
    """By name of the provider."""
    return _latest
