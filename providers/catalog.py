"""The configured providers, frozen, and what the background probes have seen of them."""

from typing import Literal

import msgspec

from providers.types import Capability, Provider

Status = Literal["ok", "degraded", "failed"]


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's last probe. `at`: seconds since the epoch. `detail`: safe to show to clients.

    `models`: what it listed, or had listed when it could last be asked.
    """

    status: Status
    at: float
    detail: str = ""
    models: tuple[str, ...] = ()


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """Providers in routing order, by name; `aliases` map a name to `provider/model`."""

    providers: dict[str, Provider] = {}
    aliases: dict[str, str] = {}

    def enabled(self) -> list[Provider]:
        return [provider for provider in self.providers.values() if provider.enabled]


def models_of(provider: Provider, seen: Observation | None) -> tuple[str, ...]:
    """The provider's catalogue: what is configured for it, then what discovery found, each once."""
    configured = (provider.default_model, *provider.defaults.values(), *provider.models)
    return tuple(dict.fromkeys((*configured, *(seen.models if seen else ()))))


def has_model(provider: Provider, seen: Observation | None, model: str) -> bool:
    """Whether it is in the provider's catalogue."""
    configured = model == provider.default_model or model in provider.models
    return configured or model in provider.defaults.values() or (seen is not None and model in seen.models)


def model_for(provider: Provider, capability: Capability) -> str:
    return provider.defaults.get(capability, provider.default_model)


def rank(provider: Provider, capability: Capability) -> float:
    """A declared default is worth 50 points (contract §2.3)."""
    return provider.scores.get(capability, 0) + (50 if capability in provider.defaults else 0)
