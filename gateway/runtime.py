"""What the request path knows: a frozen `Runtime` of configuration, and the `Gateway` that holds the live parts."""

import asyncio
import os
import time
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Protocol

import msgspec

from clients.directory import Directory
from clients.limits import Concurrency, FailureGuard, Limiter
from clients.types import RateLimit
from providers.attempt import Caller as ProviderCaller
from providers.catalog import Catalog, Observation, has_model
from providers.decision import Choices
from providers.secrets import KeyRing
from telemetry.digests import DigestKey
from telemetry.failures import FailureTally
from telemetry.health import Component
from telemetry.journal import Journal
from telemetry.logs import JsonLog
from telemetry.metrics import Metrics
from telemetry.spans import EndedCall

Network = IPv4Network | IPv6Network


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The settings that the request path needs, read once at start. Times in ms, sizes in bytes."""

    retry_attempts: int
    total_timeout_ms: int
    rate_limit: RateLimit | None
    stream_chunk_chars: int
    stream_commit_ms: int
    max_body_bytes: int
    allowed_hosts: frozenset[str]
    allowed_networks: tuple[Network, ...]
    trusted_proxies: tuple[Network, ...]
    loopback_only: bool
    digest_key: DigestKey
    capture_keys: KeyRing
    capture_max_bytes: int
    keepalive_ms: int = 15_000


class Runtime(msgspec.Struct, frozen=True, kw_only=True):
    """One version of the configuration. A call keeps the Runtime that it began with."""

    version: int
    catalog: Catalog
    directory: Directory
    policy: Policy


class Observations(msgspec.Struct, frozen=True, kw_only=True):
    """What the background has seen last. `complete`: the first round of probes is over."""

    providers: Mapping[str, Observation] = {}
    components: tuple[Component, ...] = ()
    complete: bool = False


class Spans(Protocol):
    """Where ended calls go that are exported as spans."""

    def offer(self, call: EndedCall) -> None: ...

    def stop(self) -> None: ...


class Gateway:
    """The live parts of one process. Threads beside the event loop replace `runtime` and `observations`, which are
    single references to what was built whole, and write to `log` and `metrics`; the rest is the loop's alone."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        providers: ProviderCaller,
        journal: Journal,
        metrics: Metrics,
        log: JsonLog,
    ) -> None:
        self.runtime = runtime
        self.observations = Observations()
        self.providers = providers
        self.journal = journal
        self.metrics = metrics
        self.log = log
        self.limiter = Limiter()
        self.concurrency = Concurrency()
        self.choices = Choices()
        self.failures = FailureGuard()
        self.failed_authentication = FailureTally()
        self.spans: Spans | None = None
        self.running: set[asyncio.Task[object]] = set()
        self.draining = False
        self.drain_over = False

    def offers(self, provider: str, model: str) -> bool:
        """Whether the provider's catalogue has the model, configured or found there."""
        known = self.runtime.catalog.providers.get(provider)
        return known is not None and has_model(known, self.observations.providers.get(provider), model)

    def cut(self) -> None:
        """The drain's time is over: what still runs ends with outcome DRAINED. Once: what ends already is let do so."""
        if self.drain_over:
            return
        self.drain_over = True
        for task in self.running:
            task.cancel()


def new_call_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7): sortable by time, unique without coordination."""
    stamp = time.time_ns() // 1_000_000
    noise = int.from_bytes(os.urandom(10))
    value = stamp << 80 | 0x7 << 76 | (noise >> 68) << 64 | 0b10 << 62 | noise & ((1 << 62) - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
