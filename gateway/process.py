"""One running process: everything that is opened at start and closed on drain, in order."""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

from django.conf import settings

from gateway import live
from gateway.configfile import egress
from gateway.edge.front import Front
from gateway.gauges import version
from gateway.monitor import Monitor
from gateway.places import audit_folder, journal_folder
from gateway.reload import Loaded, Watcher, build_policy, load_runtime
from gateway.runtime import Gateway, Runtime
from gateway.scrape import Scrape
from gateway.writer_process import WriterProcess
from providers.attempt import Caller
from providers.loader import remember_discovered
from providers.transport import open_transport
from telemetry.durability import Durability
from telemetry.journal import Journal, JournalError
from telemetry.logs import describe, log
from telemetry.metrics import METRICS
from telemetry.orphans import tidy
from telemetry.otlp import Exporter


class Process:
    """`start` sets `front.gateway`; from then on calls are served."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._background: list[asyncio.Task[None]] = []
        self._writer = WriterProcess(journal_folder(), audit_folder().folder)
        self._watcher: Watcher | None = None
        self._gateway: Gateway | None = None
        self._monitor: Monitor | None = None
        self._scrape: Scrape | None = None

    async def start(self) -> None:
        """Raises `SettingsError`, `JournalError` or a database error; then the process has to end."""
        loop = asyncio.get_running_loop()
        loaded = await loop.run_in_executor(None, _load)
        await loop.run_in_executor(None, tidy, journal_folder())
        gateway = Gateway(
            runtime=loaded.runtime,
            providers=Caller(open_transport(egress())),
            journal=Journal(journal_folder(), durability=_durability()),
            metrics=METRICS,
            log=log,
        )
        self._gateway = gateway
        if gateway.journal.failing:
            log.error("The journal has no room; calls are refused until it has")
        if endpoint := settings.ENVIRONMENT["LLM_CALLER_OTEL_ENDPOINT"]:
            gateway.spans = Exporter(endpoint, version=version())
        watcher = self._watcher = Watcher(loaded, lambda new: loop.call_soon_threadsafe(self._swap, new))
        self._monitor = Monitor(
            gateway,
            interval_s=settings.ENVIRONMENT["LLM_CALLER_HEALTH_INTERVAL_S"],
            writer=self._writer,
            database=lambda: (watcher.database_ok, watcher.database_detail),
            on_models=lambda name, models: watcher.soon(lambda: remember_discovered(name, models)),
        )
        scrape = self._scrape = Scrape(
            gateway, Path(settings.STATE_DIR), journal_folder(), audit_folder().folder
        )
        await loop.run_in_executor(None, _written, lambda: warn_of_others(scrape.start()))
        self._writer.start()
        self._monitor.publish(complete=False)
        watcher.start()
        self._background = [
            asyncio.ensure_future(self._monitor.run()),
            asyncio.ensure_future(self._housekeeping(self._monitor, scrape)),
        ]
        self._front.gateway = gateway
        live.set_current(gateway, scrape)

    def _swap(self, runtime: Runtime) -> None:
        assert self._gateway is not None, "set before the watcher starts"
        assert self._monitor is not None, "set before the watcher starts"
        self._gateway.runtime = runtime
        self._monitor.wake()

    async def _housekeeping(self, monitor: Monitor, scrape: Scrape) -> None:
        """Every second: supervise the writer, tend the journal, tell how the parts are, write the metrics' snapshot."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._writer.supervise()
                self._tell_failures()
                self._tend_journal()
                await loop.run_in_executor(None, self._writer.look)
                if self._gateway is not None and self._gateway.observations.complete:
                    monitor.publish()
                await loop.run_in_executor(None, _written, scrape.publish)
            except Exception as error:  # what is kept in order every second must outlive any fault
                log.error("Housekeeping failed", metadata=describe(error))
            await asyncio.sleep(1)

    def _tell_failures(self) -> None:
        """Off the request path, to the journal. What it does not take now is told the next time."""
        if self._gateway is None:
            return
        try:
            self._gateway.failed_authentication.flush(self._gateway.journal.failed_authentication)
        except JournalError:
            self._gateway.metrics.count("journal_failures")

    def _tend_journal(self) -> None:
        if self._gateway is None:
            return
        try:
            self._gateway.journal.tend()
        except JournalError:
            self._gateway.metrics.count("journal_failures")

    async def stop(self) -> None:
        """After the drain: background work, connections to providers, the journal and its writer."""
        live.set_current(None)
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        loop = asyncio.get_running_loop()
        if self._watcher is not None:
            await loop.run_in_executor(None, self._watcher.stop)
        if self._gateway is not None:
            await self._gateway.providers.transport.close()
            self._tell_failures()
            _close_journal(self._gateway.journal)
            if self._gateway.spans is not None:
                await loop.run_in_executor(None, self._gateway.spans.stop)
        if self._scrape is not None:
            await loop.run_in_executor(None, _written, self._scrape.stop)
        await loop.run_in_executor(None, self._writer.stop)


def warn_of_others(others: int) -> None:
    """The limits of clients and providers are each process's own."""
    if not others:
        return
    log.warn("Other servers run on this state folder", metadata={"others": others})
    sys.stderr.write(
        f"llm-caller: {others} other server(s) run on the state folder {settings.STATE_DIR}. Each counts limits, calls at "
        "once and failed logins for itself, so clients get their limits several times; one server should serve a folder.\n"
    )


def _close_journal(journal: Journal) -> None:
    journal.close()
    if journal.unwritten:
        told = {"calls": len(journal.unwritten)}
        log.error("The ends of calls found no room in the journal; their rows say UNKNOWN", metadata=told)


def _durability() -> Durability:
    def failed(error: OSError) -> None:
        METRICS.count("journal_sync_failures")
        if not durability.failing:  # said once, until it went well again
            log.error("The journal cannot be brought to the disk", metadata={"error": error.strerror})

    durability = Durability(settings.ENVIRONMENT["LLM_CALLER_AUDIT_SYNC"], on_failure=failed)
    return durability


def _load() -> Loaded:
    from django.db import connection

    os.makedirs(settings.STATE_DIR, mode=0o700, exist_ok=True)
    try:
        return load_runtime(build_policy())
    finally:
        connection.close()


def _written(write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        log.warn("The metrics' snapshot cannot be written", metadata={"error": error.strerror})
