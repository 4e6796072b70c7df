"""What may this client do? In sentences and one table, from the functions that calls go through themselves."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from django.contrib import admin
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from clients.expiry import state_of
from clients.loader import known
from clients.types import METHODS, Client, Token
from gateway import live
from gateway.configfile import peppers
from gateway.console.reasons import STRATEGY
from gateway.console.routes import Route, route
from gateway.reload import build_policy, load_runtime
from gateway.runtime import Network, Policy, Runtime
from providers.catalog import Catalog
from providers.routing import Observations
from providers.types import CAPABILITIES

STATES = ("active", "expired", "revoked")
LOST = "of a pepper that LLM_CALLER_TOKEN_PEPPERS no longer has"


Level = Literal["ok", "degraded", "failed", "off"]


class Fact(NamedTuple):
    """A sentence about the client. `failed`: it keeps calls from working; `degraded`: it is hardly meant."""

    level: Level
    about: str
    text: str


def explain(request: HttpRequest, pk: int) -> HttpResponse:
    found = known(pk)
    if found is None:
        raise Http404
    runtime, seen, is_live = _now()
    facts = [
        _enabled(found.client),
        *_networks(found.client, runtime.policy),
        _tokens(found.tokens),
        _methods(found.client),
        *_providers(found.client, runtime.catalog),
        _allowed("Models", "model", found.client.allowed_models),
        *_limits(found.client, runtime.policy),
        _content(found.client),
    ]
    routes = [route(found.client, capability, runtime.catalog, seen) for capability in CAPABILITIES]
    context = admin.site.each_context(request) | {
        "pk": pk,
        "tool_id": found.client.tool_id,
        "title": f"What may {found.client.tool_id} do?",
        "facts": facts,
        "routes": routes,
        "obstacles": obstacles(facts, routes),
        "has_providers": bool(runtime.catalog.providers),
        "is_live": is_live,
        "strategies": STRATEGY.items(),
    }
    return render(request, "admin/console/explain.html", context)


def _now() -> tuple[Runtime, Observations, bool]:
    """What the running gateway of this process routes by; else the tables, with nothing known of health."""
    gateway = live.current()
    if gateway is None:
        return load_runtime(build_policy()).runtime, {}, False
    return gateway.runtime, gateway.observations.providers, True


def obstacles(facts: Iterable[Fact], routes: Iterable[Route]) -> list[str]:
    """Why something does not work, and what to do; empty when every granted method works."""
    found = [fact.text for fact in facts if fact.level == "failed"]
    return found + [row.obstacle for row in routes if row.obstacle]


def _enabled(client: Client) -> Fact:
    if client.enabled:
        return Fact("ok", "Enabled", "It is enabled.")
    return Fact(
        "failed", "Enabled", "It is disabled: all its tokens are refused (403). Enable it on its page."
    )


def _networks(client: Client, policy: Policy) -> list[Fact]:
    gate = ", ".join(str(network) for network in policy.allowed_networks)
    only = " (this machine only)" if policy.loopback_only else ""
    facts = [Fact("ok", "Gateway's networks", f"The gateway answers {gate}{only}.")]
    if not client.networks:
        return [*facts, Fact("ok", "Its networks", "It may call from all of them.")]
    own = ", ".join(str(network) for network in client.networks)
    if not _meet(client.networks, policy.allowed_networks):
        text = (
            f"It may call from {own} only, and the gateway answers none of these: "
            "widen LLM_CALLER_ALLOWED_NETWORKS, or the client's networks."
        )
        return [*facts, Fact("failed", "Its networks", text)]
    return [*facts, Fact("ok", "Its networks", f"Of these it may call from {own} only.")]


def _meet(own: Iterable[Network], gate: Sequence[Network]) -> bool:
    return any(a.version == b.version and a.overlaps(b) for a in own for b in gate)


def _tokens(tokens: Sequence[Token]) -> Fact:
    if not tokens:
        return Fact("failed", "Tokens", "It has no token, so nobody can call as it. Issue one on its page.")
    counts = Counter(_state(token) for token in tokens)
    said = ", ".join(f"{counts[name]} {name}" for name in (*STATES, LOST) if counts[name])
    if counts["active"]:
        return Fact("ok", "Tokens", f"Of its tokens, {said}.")
    return Fact("failed", "Tokens", f"None of its tokens works ({said}). Issue a new one on its page.")


def _state(token: Token) -> str:
    ends = None if token.expires_at is None else datetime.fromtimestamp(token.expires_at, UTC)
    now = timezone.now()
    name = state_of(ends, now if token.revoked else None, now).name
    is_known = token.key_id in {pepper.key_id for pepper in peppers()}
    return LOST if name == "active" and not is_known else name


def _methods(client: Client) -> Fact:
    names = [name for name in METHODS if name in client.methods]
    if not names:
        return Fact("failed", "Methods", "It may call nothing. Tick methods on its page.")
    return Fact("ok", "Methods", f"It may call {', '.join(names)}.")


def _providers(client: Client, catalog: Catalog) -> list[Fact]:
    """What it may use, and the names among them that lead nowhere."""
    facts = [_allowed("Providers", "provider", client.allowed_providers)]
    named = client.allowed_providers or frozenset()
    unknown = sorted(named - catalog.providers.keys())
    if unknown:
        text = (
            f"There is no provider called {', '.join(unknown)}. Was it renamed or deleted, or is it misspelt?"
        )
        level: Level = "failed" if len(unknown) == len(named) else "degraded"
        facts.append(Fact(level, "No such provider", text))
    return facts


def _allowed(about: str, what: str, names: frozenset[str] | None) -> Fact:
    if names is None:
        return Fact("ok", about, f"It may use any {what}.")
    if not names:
        text = f"It may use no {what}: (none) stands among those that it may use. Take it away on its page."
        return Fact("failed", about, text)
    return Fact(
        "ok", about, f"It may use only {', '.join(sorted(names))}; others look as if they did not exist."
    )


def _limits(client: Client, policy: Policy) -> list[Fact]:
    limit, whose = client.rate_limit, "its own limit"
    if limit is None:
        limit, whose = policy.rate_limit, "from the environment's default"
    calls = "As many calls as it likes: neither it nor the environment has a limit."
    if limit is not None:
        plural = "" if limit.max_requests == 1 else "s"
        calls = f"{limit.max_requests:,} call{plural} in any {limit.interval_ms:,} ms, {whose}."
    at_once = "No limit of its own on calls at once."
    if client.max_concurrency is not None:
        at_once = f"At most {client.max_concurrency:,} at once; more are refused (429)."
    return [Fact("ok", "Calls", calls), Fact("ok", "At once", at_once)]


def _content(client: Client) -> Fact:
    if client.capture == "off":
        return Fact("ok", "Content", "Nothing of what it asks, or is answered, is kept; only digests are.")
    which = "all its calls" if client.capture == "all" else "its calls that fail"
    days = "1 day" if client.capture_days == 1 else f"{client.capture_days} days"
    return Fact("ok", "Content", f"What is asked and answered in {which} is kept, encrypted, for {days}.")
