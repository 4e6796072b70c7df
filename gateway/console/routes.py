"""Where a call of a client goes, and who is passed over, from the choice that calls go through themselves."""

from typing import NamedTuple

from clients.types import Client
from gateway.console.reasons import EXCLUDED, HEALTH
from providers.catalog import Catalog, Observation
from providers.decision import Considered
from providers.decision import explain as choice
from providers.routing import Ask, Observations, Plan, Strategy, shortlist
from providers.types import Capability, ChatRequest, EmbedRequest, Message, Provider, TextPart

SOMETHING = ChatRequest(messages=(Message(role="user", content=(TextPart(text="Hello!"),)),))
"""An ordinary call: what a provider's kind cannot do in special cases is not asked here."""


class Goal(NamedTuple):
    """One that would be asked. `state`: its health as a colour; `because`: why it is not well."""

    provider: str
    model: str
    state: str = "off"
    health: str = HEALTH["unknown"]
    because: str = ""


class Route(NamedTuple):
    """Where a call that names neither provider nor model would go, best first, and who is passed over, and why.

    `strategy`: what the answer would name when the first target answers; None without one.
    """

    capability: Capability
    granted: bool
    targets: list[Goal]
    passed_over: list[tuple[str, str]]
    strategy: Strategy | None = None

    @property
    def obstacle(self) -> str:
        """Why a call would not be answered; "" when it would."""
        if not self.granted:
            return ""
        if not self.targets:
            return f"{self.capability} is granted, but no provider can answer it for this client."
        if all(target.state == "failed" for target in self.targets):
            return f"{self.capability}: every provider that could answer failed its last check."
        return ""


def route(client: Client, capability: Capability, catalog: Catalog, seen: Observations) -> Route:
    ask = Ask(
        capability=capability,
        request=EmbedRequest(inputs=("Hello!",)) if capability == "embed" else SOMETHING,
        allowed_providers=client.allowed_providers,
        allowed_models=client.allowed_models,
    )
    told = choice(ask, catalog, seen, shown=len(catalog.providers))
    targets = [_goal(one, seen.get(one.provider)) for one in told.considered if one.excluded is None]
    passed_over = [
        (one.provider, _why_not(catalog.providers[one.provider], one))
        for one in told.considered
        if one.excluded is not None
    ]
    strategy = _strategy(shortlist(ask, catalog, seen)) if targets else None
    return Route(capability, capability in client.methods, targets, passed_over, strategy)


def _goal(one: Considered, observed: Observation | None) -> Goal:
    if observed is None:
        return Goal(one.provider, one.model)
    because = "" if observed.status == "ok" else observed.detail
    return Goal(one.provider, one.model, observed.status, HEALTH[observed.status], because)


def _strategy(plan: Plan) -> Strategy:
    return plan.strategy(plan.targets[0], ())


def _why_not(provider: Provider, one: Considered) -> str:
    """The record's words, with what this page knows besides."""
    words = EXCLUDED[one.excluded or ""]
    if one.excluded == "CREDENTIAL_MISSING":
        return f"{words}: {provider.credential_missing}"
    return f"{words}: {one.model}" if one.excluded == "MODEL_NOT_ALLOWED" else words
