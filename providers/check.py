"""Looks at providers from the admin: over the product's own transport and adapters, guarded like every call.

Everything runs in an event loop of its own, in the thread of the page that asks: the loop that serves calls
has no part in it.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec
from django.conf import settings

from providers.adapters import ADAPTERS
from providers.attempt import discover
from providers.catalog import Status
from providers.diagnosis import (
    FAILED,
    NO_CREDENTIAL_REMEDY,
    NO_MODELS,
    NO_MODELS_REMEDY,
    PROBE_TIMEOUT_MS,
    REMEDIES,
    remedy,
    unwell,
)
from providers.egress import EgressPolicy, parse_networks, way_in
from providers.errors import UpstreamError
from providers.transport import Transport, open_transport
from providers.types import Provider, Timeouts

AT_ONCE = 50
RESOLVE_S = 2
PROBE_TIMEOUTS = Timeouts(
    connect_ms=PROBE_TIMEOUT_MS,
    first_event_ms=PROBE_TIMEOUT_MS,
    idle_ms=PROBE_TIMEOUT_MS,
    total_ms=PROBE_TIMEOUT_MS,
)
T = TypeVar("T")


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at a provider found.

    `detail`: what is wrong, `advice`: what to do, both empty when all is well. `latency_ms`: until the list of
    models was there, or the failure. `unlisted`: default models that are not in the list.
    """

    name: str
    status: Status
    detail: str = ""
    advice: str = ""
    latency_ms: int | None = None
    models: tuple[str, ...] = ()
    unlisted: tuple[str, ...] = ()

    @property
    def sentences(self) -> str:
        """What is wrong and what to do; empty when all is well."""
        stop = "" if self.detail.endswith(("?", ".")) else "."
        return f"{self.detail}{stop} {self.advice}".strip() if self.detail else ""


def egress_policy() -> EgressPolicy:
    return EgressPolicy(parse_networks(settings.ENVIRONMENT["LLM_CALLER_EGRESS_ALLOW"]))


def check(providers: Sequence[Provider], egress: EgressPolicy) -> list[Checked]:
    """In the order given, many at once; at most `PROBE_TIMEOUT_MS` each. Costs no tokens."""
    return _in_own_loop(_check_all(providers, egress))


def address_warning(url: str, egress: EgressPolicy) -> str | None:
    """What speaks against the addresses that the URL's host name has now; takes 2 s at most."""
    host = urlsplit(url).hostname or ""
    try:
        addresses = _in_own_loop(_addresses(host))
    except TimeoutError:
        return f"{host} could not be resolved within {RESOLVE_S} s; calls will fail until it can be."
    except (OSError, UnicodeError):
        return f"{host} cannot be resolved; calls will fail until it can be. Is it spelt right?"
    if any(egress.permits(address) for address in addresses):
        return None
    found = ", ".join(addresses)
    refused = f"{host} stands for {found}, which is not allowed; see LLM_CALLER_EGRESS_ALLOW. Calls will be refused."
    return f"{refused} {way_in(addresses[0])}"


async def _addresses(host: str) -> list[str]:
    async with asyncio.timeout(RESOLVE_S):
        found = await asyncio.get_running_loop().getaddrinfo(host, None)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


async def _check_all(providers: Sequence[Provider], egress: EgressPolicy) -> list[Checked]:
    transport = open_transport(egress)
    places = asyncio.Semaphore(AT_ONCE)

    async def one(provider: Provider) -> Checked:
        async with places:
            return await _check(provider, transport)

    try:
        return await asyncio.gather(*map(one, providers))
    finally:
        await transport.close()


async def _check(provider: Provider, transport: Transport) -> Checked:
    name = provider.name
    if provider.kind not in ADAPTERS:
        return Checked(name=name, status="failed", detail=f"Unknown kind {provider.kind}")
    if (missing := provider.credential_missing) is not None:
        detail = missing[:1].upper() + missing[1:]
        return Checked(name=name, status="degraded", detail=detail, advice=NO_CREDENTIAL_REMEDY)
    began = time.monotonic()
    try:
        async with asyncio.timeout(PROBE_TIMEOUT_MS / 1000):
            models = await discover(transport, provider, timeout_ms=PROBE_TIMEOUT_MS)
    except httpx.InvalidURL:
        return _failed(name, UpstreamError("CONFIG", reason="BASE_URL_INVALID"), _since(began))
    except (UpstreamError, TimeoutError) as error:
        return _failed(name, error, _since(began))
    return _answered(provider, models, _since(began))


def _failed(name: str, error: UpstreamError | TimeoutError, latency_ms: int) -> Checked:
    if isinstance(error, TimeoutError):
        detail, advice = FAILED["TOTAL_TIMEOUT"], REMEDIES["TOTAL_TIMEOUT"]
        return Checked(name=name, status="failed", detail=detail, advice=advice, latency_ms=latency_ms)
    seen = unwell(error)
    return Checked(
        name=name, status=seen.status, detail=seen.detail, advice=remedy(error), latency_ms=latency_ms
    )


def _answered(provider: Provider, models: tuple[str, ...], latency_ms: int) -> Checked:
    if not models:
        return Checked(
            name=provider.name,
            status="degraded",
            detail=NO_MODELS,
            advice=NO_MODELS_REMEDY,
            latency_ms=latency_ms,
        )
    wanted = dict.fromkeys(filter(None, (provider.default_model, *provider.defaults.values())))
    return Checked(
        name=provider.name,
        status="ok",
        latency_ms=latency_ms,
        models=models,
        unlisted=tuple(model for model in wanted if model not in models),
    )


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _in_own_loop(work: Coroutine[Any, Any, T]) -> T:
    """Not `asyncio.run`: that waits for the threads of name look-ups that nobody waits for any more."""
    loop = asyncio.SelectorEventLoop()
    try:
        return loop.run_until_complete(work)
    finally:
        if left := asyncio.all_tasks(loop):
            for task in left:
                task.cancel()
            loop.run_until_complete(asyncio.wait(left))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
