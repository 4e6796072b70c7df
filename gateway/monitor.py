"""The background rounds of one process: probes of all providers in parallel, and the health of its parts.

Probes list models, so they cost no tokens. `/health` and routing read the last results, whatever is going on.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from gateway.runtime import Gateway, Observations
from gateway.writer_process import WriterProcess
from providers import observed
from providers.adapters import ADAPTERS
from providers.attempt import discover
from providers.catalog import Observation
from providers.diagnosis import FAILED, NO_MODELS, PROBE_TIMEOUT_MS, unwell
from providers.errors import UpstreamError
from providers.types import CAPABILITIES, Provider
from telemetry.health import Component, Coverage, Status, timestamp
from telemetry.logs import describe, log

NO_PROVIDER = "No provider is enabled"
UNSYNCED = "The journal does not reach the disk: a power cut would lose calls that were answered"
FIRST_PAUSE_S = 1.0
"""After a start or a change, what is not well is looked at sooner: it may be starting too. Then twice that, and so on."""


class Monitor:
    """`on_models`: told of each provider's discovered models when they changed."""

    def __init__(
        self,
        gateway: Gateway,
        *,
        interval_s: float,
        writer: WriterProcess,
        database: Callable[[], tuple[bool, str]],
        on_models: Callable[[str, tuple[str, ...]], None],
    ) -> None:
        self._gateway, self._interval_s = gateway, interval_s
        self._writer, self._database, self._on_models = writer, database, on_models
        self._seen: dict[str, Observation] = {}
        self._wake = asyncio.Event()
        self._lag = 0.0

    def wake(self) -> None:
        """The configuration changed: look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        impatience = FIRST_PAUSE_S
        while True:
            self._wake.clear()
            try:
                await self._round()
            except (
                Exception
            ) as error:  # the outermost edge of the background: the next round comes all the same
                log.error("A round of probes failed", metadata=describe(error))
            well = all(seen.status == "ok" for seen in self._seen.values())
            pause = self._interval_s if well else min(impatience, self._interval_s)
            impatience *= 2
            due = loop.time() + pause
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
                    impatience = FIRST_PAUSE_S
            except TimeoutError:
                self._lag = max(loop.time() - due, 0.0)

    async def _round(self) -> None:
        providers = self._gateway.runtime.catalog.enabled()
        results = await asyncio.gather(*(self._probe(provider) for provider in providers))
        before = self._seen
        self._seen = {
            p.name: _with_models(seen, before.get(p.name)) for p, seen in zip(providers, results, strict=True)
        }
        for name, seen in self._seen.items():
            if seen.models and (name not in before or before[name].models != seen.models):
                self._on_models(name, seen.models)
            self._log_change(name, before.get(name), seen)
        self.publish()

    def publish(self, *, complete: bool = True) -> None:
        """Makes what was seen last what everybody reads."""
        self._gateway.observations = Observations(
            providers=self._seen, components=self._components(), complete=complete
        )
        observed.note(self._seen)

    def _log_change(self, name: str, before: Observation | None, seen: Observation) -> None:
        if before is None or before.status != seen.status:
            level = "info" if seen.status == "ok" else "warn"
            self._gateway.log.write(
                level,  # type: ignore[arg-type]
                "Provider health changed",
                metadata={"provider": name, "status": seen.status, "details": seen.detail or None},
            )

    async def _probe(self, provider: Provider) -> Observation:
        now = time.time()
        if provider.kind not in ADAPTERS:
            return Observation(status="failed", at=now, detail=f"Unknown kind {provider.kind}")
        if provider.credential_missing is not None:
            detail = provider.credential_missing
            return Observation(status="degraded", at=now, detail=detail[:1].upper() + detail[1:])
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_MS / 1000):
                models = await discover(
                    self._gateway.providers.transport, provider, timeout_ms=PROBE_TIMEOUT_MS
                )
        except UpstreamError as error:
            return unwell(error)
        except TimeoutError:
            return Observation(status="failed", at=now, detail=FAILED["TOTAL_TIMEOUT"])
        except Exception as error:  # one provider's odd configuration is no reason not to look at the others
            log.error(
                "A provider could not be probed", metadata={"provider": provider.name} | describe(error)
            )
            return Observation(status="failed", at=now, detail="The provider cannot be asked")
        if not models:
            return Observation(status="degraded", at=now, detail=NO_MODELS)
        return Observation(status="ok", at=now, models=models)

    def _components(self) -> tuple[Component, ...]:
        now = timestamp()
        database_ok, database_detail = self._database()
        audit_status, audit_detail = self._audit()
        own = (
            Component(name="transport", status=self._transport(), timestamp=now),
            self._orchestrator(now),
            Component(name="audit", status=audit_status, timestamp=now, details=audit_detail),
            Component(
                name="database",
                status="ok" if database_ok else "failed",
                timestamp=now,
                details=database_detail or None,
            ),
        )
        providers = self._gateway.runtime.catalog.enabled()
        unseen = Observation(status="degraded", at=time.time(), detail="Not looked at yet")
        return own + tuple(_provider(p, self._seen.get(p.name, unseen)) for p in providers)

    def _audit(self) -> tuple[Status, str | None]:
        if self._gateway.journal.failing:
            return "failed", "The journal cannot be written; calls are refused until it can"
        status, told = self._writer.health()
        if self._gateway.journal.is_unsynced and status != "failed":
            return "degraded", "; ".join(filter(None, (UNSYNCED, told)))
        return status, told

    def _transport(self) -> Status:
        """Whether the event loop keeps time: it serves every call."""
        return "ok" if self._lag < 1 else "degraded"

    def _orchestrator(self, now: str) -> Component:
        """Whether each capability that somebody declares has somebody well to answer it."""
        providers = self._gateway.runtime.catalog.enabled()
        if not providers:
            return Component(name="orchestrator", status="degraded", timestamp=now, details=NO_PROVIDER)
        uncovered = [
            capability
            for capability in CAPABILITIES
            if (able := [p for p in providers if capability in p.capabilities])
            and all(p.name in self._seen and self._seen[p.name].status == "failed" for p in able)
        ]
        details = f"No provider is reachable for {', '.join(uncovered)}" if uncovered else None
        return Component(
            name="orchestrator", status="degraded" if uncovered else "ok", timestamp=now, details=details
        )


def _with_models(seen: Observation, before: Observation | None) -> Observation:
    """What a provider listed last stays known while it is unwell: calls may name its models all the same."""
    if seen.models or before is None:
        return seen
    return msgspec.structs.replace(seen, models=before.models)


def _provider(provider: Provider, seen: Observation) -> Component:
    return Component(
        name=f"provider:{provider.name}",
        status=seen.status,
        timestamp=timestamp(seen.at),
        details=seen.detail or None,
        capability_coverage=tuple(
            Coverage(capability, seen.status)
            for capability in CAPABILITIES
            if capability in provider.capabilities
        ),
    )
