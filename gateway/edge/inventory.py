"""What `/mcp/models` tells: the providers a client may use and their models. Pure over the Runtime."""

from typing import Any

from clients.types import Client
from gateway.trail import Trail
from providers.catalog import Observation, models_of
from providers.errors import RoutingError
from providers.routing import preferred
from providers.types import CAPABILITIES, Provider


def models(trail: Trail, wanted: str | None) -> dict[str, Any]:
    """Raises `RoutingError` (`UNKNOWN_PROVIDER`) for a provider that is not this client's to see."""
    assert trail.caller is not None, "only identified callers are told"
    client = trail.caller.client
    seen = trail.gateway.observations.providers
    visible = [
        provider
        for provider in trail.runtime.catalog.enabled()
        if client.allowed_providers is None or provider.name in client.allowed_providers
    ]
    listed = {provider.name: _provider(provider, seen.get(provider.name), client) for provider in visible}
    if wanted is not None and wanted not in listed:
        raise RoutingError("NOT_FOUND", "UNKNOWN_PROVIDER", "Unknown provider", "provider")
    chosen = wanted or _default(trail, client)
    return {
        "provider": chosen,
        "models": listed[chosen]["models"] if chosen in listed else [],
        "providers": list(listed.values()),
    }


def _default(trail: Trail, client: Client) -> str | None:
    """The provider that a `chat` call naming none would go to, else the first one there is."""
    catalog, seen = trail.runtime.catalog, trail.gateway.observations.providers
    best = preferred("chat", catalog, seen, client.allowed_providers, client.allowed_models)
    if best is not None:
        return best.name
    names = [p.name for p in catalog.enabled()]
    allowed = client.allowed_providers
    return next((name for name in names if allowed is None or name in allowed), None)


def _provider(provider: Provider, seen: Observation | None, client: Client) -> dict[str, Any]:
    names = [
        model
        for model in models_of(provider, seen)
        if client.allowed_models is None or model in client.allowed_models
    ]
    ready = frozenset(seen.models) if seen and seen.status == "ok" else frozenset()
    return {
        "name": provider.name,
        "capabilities": [name for name in CAPABILITIES if name in provider.capabilities],
        "defaults": provider.defaults,
        "scores": provider.scores,
        "status": seen.status if seen else "degraded",
        "models": [_model(name, provider, name in ready) for name in names],
    }


def _model(name: str, provider: Provider, ready: bool) -> dict[str, Any]:
    model: dict[str, Any] = {"id": name, "ready": ready}
    defaults = [capability for capability, default in provider.defaults.items() if default == name]
    if name == provider.default_model:
        model["description"] = "Default model"
    if defaults:
        model["defaults"] = defaults
        scores = {
            capability: provider.scores[capability]
            for capability in defaults
            if capability in provider.scores
        }
        if scores:
            model["scores"] = scores
    return model
