"""Which provider answers a call: a pure choice over the catalogue, tested with literals (contract §2)."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from providers.adapters import ADAPTERS
from providers.catalog import Catalog, Observation, model_for, models_of, rank
from providers.errors import RoutingError
from providers.types import Capability, ChatRequest, EmbedRequest, Provider, Target

Strategy = Literal["capability-default", "caller-override", "fallback"]
Observations = Mapping[str, Observation]


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller wants routed. `allowed_*`: None means any."""

    capability: Capability
    request: ChatRequest | EmbedRequest
    provider: str | None = None
    model: str | None = None
    allowed_providers: frozenset[str] | None = None
    allowed_models: frozenset[str] | None = None

    @property
    def key(self) -> tuple[Any, ...]:
        """All of it that decides about the shortlist."""
        return (self.capability, self.provider, self.model, self.allowed_providers, self.allowed_models)

    def may_use(self, provider: Provider) -> bool:
        return self.allowed_providers is None or provider.name in self.allowed_providers

    def may_ask_for(self, model: str) -> bool:
        return self.allowed_models is None or model in self.allowed_models


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """The targets to try, best first; never empty. `pinned`: the caller left no choice of provider."""

    capability: Capability
    targets: tuple[Target, ...]
    pinned: bool
    named: bool
    models_by_default: bool = True

    def strategy(self, answered: Target, failed: Iterable[str]) -> Strategy:
        """How the answering target came to be chosen (contract §1, `routing.strategy`)."""
        if any(name != answered.provider.name for name in failed) or self._only_default_left(answered):
            return "fallback"
        return "caller-override" if self.named else "capability-default"

    def _only_default_left(self, target: Target) -> bool:
        return self.models_by_default and self.capability not in target.provider.defaults


def shortlist(ask: Ask, catalog: Catalog, seen: Observations) -> Plan:
    """The plan before the request's own fields are looked at: the same for every request that asks alike."""
    if ask.provider is not None:
        provider = _require_provider(ask, catalog, ask.provider)
        model = ask.model if ask.model is not None else model_for(provider, ask.capability)
        return _pinned(ask, provider, model, by_default=ask.model is None)
    if ask.model is not None:
        return _by_model(ask, ask.model, catalog, seen)
    ranked = _ranked(ask, catalog, seen)
    targets = [Target(provider=p, model=model_for(p, ask.capability)) for p in ranked]
    allowed = tuple(target for target in targets if ask.may_ask_for(target.model))
    if not allowed:
        raise _no_provider()
    return Plan(capability=ask.capability, targets=allowed, pinned=False, named=False)


def able(ask: Ask, listed: Plan) -> tuple[Plan, dict[str, str]]:
    """Without those whose kind cannot honour a field of the request, who are returned with that field.

    Raises `RoutingError` only when none can.
    """
    blamed: dict[str, str] = {}
    for target in listed.targets:
        field = ADAPTERS[target.provider.kind].unsupported(ask.request)
        if field is not None:
            blamed[target.provider.name] = field
    if not blamed:
        return listed, blamed
    left = tuple(target for target in listed.targets if target.provider.name not in blamed)
    if not left:
        field = next(iter(blamed.values()))
        raise RoutingError(
            "BAD_REQUEST", "CAPABILITY_UNSUPPORTED", f"The provider cannot honour `{field}` as given", field
        )
    return msgspec.structs.replace(listed, targets=left), blamed


def exclusion(ask: Ask, provider: Provider) -> str | None:
    """What keeps a provider from being a candidate, the most deliberate reason first; None when nothing does."""
    if not provider.enabled:
        return "DISABLED"
    if not ask.may_use(provider):
        return "NOT_ALLOWED"
    if ask.capability not in provider.capabilities:
        return "CAPABILITY_NOT_DECLARED"
    if provider.kind not in ADAPTERS:
        return "KIND_UNKNOWN"
    return "CREDENTIAL_MISSING" if provider.credential_missing is not None else None


def candidates(ask: Ask, catalog: Catalog) -> list[Provider]:
    """Enabled providers that declare the capability, have their credential, and are the client's to use."""
    return [provider for provider in catalog.providers.values() if exclusion(ask, provider) is None]


def _ranked(ask: Ask, catalog: Catalog, seen: Observations) -> list[Provider]:
    """By health, then rank; the sort is stable, so ties keep the configured order."""

    def order(provider: Provider) -> tuple[bool, float]:
        observed = seen.get(provider.name)
        return (observed is not None and observed.status == "failed", -rank(provider, ask.capability))

    return sorted(candidates(ask, catalog), key=order)


def preferred(
    capability: Capability,
    catalog: Catalog,
    seen: Observations,
    allowed_providers: frozenset[str] | None,
    allowed_models: frozenset[str] | None,
) -> Provider | None:
    """Whom a call that names neither provider nor model would go to, whatever else is in it."""
    ask = Ask(
        capability=capability,
        request=ChatRequest(messages=()),
        allowed_providers=allowed_providers,
        allowed_models=allowed_models,
    )
    ranked = _ranked(ask, catalog, seen)
    return next((provider for provider in ranked if ask.may_ask_for(model_for(provider, capability))), None)


def _by_model(ask: Ask, model: str, catalog: Catalog, seen: Observations) -> Plan:
    """An alias wins over a catalogue entry, that over `provider/model` (model ids contain slashes too)."""
    aliased = catalog.aliases.get(model)
    if aliased is not None:
        name, _, real = aliased.partition("/")
        target = catalog.providers.get(name)
        if target is None or not target.enabled or not ask.may_use(target):
            # The caller named no provider, and is not told of one that it may not use.
            raise _unknown_model()
        return _pinned(ask, _require_provider(ask, catalog, name), real, by_default=False)
    ranked = _ranked(ask, catalog, seen)
    if not ranked:
        raise _no_provider()
    offering = [provider for provider in ranked if model in models_of(provider, seen.get(provider.name))]
    if offering and ask.may_ask_for(model):
        targets = tuple(Target(provider=provider, model=model) for provider in offering)
        return Plan(
            capability=ask.capability, targets=targets, pinned=False, named=True, models_by_default=False
        )
    name, slash, real = model.partition("/")
    if (
        slash
        and real
        and (provider := catalog.providers.get(name))
        and provider.enabled
        and ask.may_use(provider)
    ):
        return _pinned(ask, _require_provider(ask, catalog, name), real, by_default=False)
    raise _unknown_model()


def _pinned(ask: Ask, provider: Provider, model: str, *, by_default: bool) -> Plan:
    if not ask.may_ask_for(model):
        raise _unknown_model()
    target = Target(provider=provider, model=model)
    return Plan(
        capability=ask.capability, targets=(target,), pinned=True, named=True, models_by_default=by_default
    )


def _require_provider(ask: Ask, catalog: Catalog, name: str) -> Provider:
    provider = catalog.providers.get(name)
    if provider is None or not provider.enabled or not ask.may_use(provider):
        raise RoutingError("NOT_FOUND", "UNKNOWN_PROVIDER", "Unknown provider", "provider")
    if provider.kind not in ADAPTERS:
        raise RoutingError("CONFIG", "ADAPTER_UNKNOWN", "Provider configuration error.")
    if ask.capability not in provider.capabilities:
        raise RoutingError(
            "BAD_REQUEST",
            "CAPABILITY_UNSUPPORTED",
            f"Provider does not support {ask.capability}",
            "provider",
        )
    if provider.credential_missing is not None:
        raise RoutingError("CONFIG", "CREDENTIAL_MISSING", "Provider configuration error.")
    return provider


def _no_provider() -> RoutingError:
    return RoutingError("CONFIG", "NO_PROVIDER", "Provider configuration error.")


def _unknown_model() -> RoutingError:
    return RoutingError("NOT_FOUND", "UNKNOWN_MODEL", "Unknown model", "model")
