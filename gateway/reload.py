"""From the tables to the `Runtime`, again whenever the configuration changes.

A thread of its own polls one row; a change is loaded whole, off the event loop, and swapped in as one
reference. The thread's database connection also tells how the database is.
"""

import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from clients.loader import load_directory
from clients.permissions import parse_networks as parse_client_networks
from clients.types import RateLimit
from gateway.configfile import peppers
from gateway.environment import LOOPBACK_NETWORKS, SettingsError
from gateway.runtime import Network, Policy, Runtime
from gateway.versions import newest
from providers.loader import load_catalog
from providers.secrets import KeyRing
from providers.types import Timeouts
from telemetry.digests import DigestKey
from telemetry.logs import describe, log

POLL_S = 0.4


def build_policy() -> Policy:
    """The settings that the request path needs. Raises `SettingsError`."""
    env = settings.ENVIRONMENT
    limit = env["LLM_CALLER_RATE_LIMIT_MAX"]
    interval = env["LLM_CALLER_RATE_LIMIT_INTERVAL_MS"]
    networks = env["LLM_CALLER_ALLOWED_NETWORKS"]
    return Policy(
        retry_attempts=env["LLM_CALLER_RETRY_ATTEMPTS"],
        total_timeout_ms=env["LLM_CALLER_TOTAL_TIMEOUT_MS"],
        rate_limit=RateLimit(max_requests=limit, interval_ms=interval) if limit else None,
        stream_chunk_chars=env["LLM_CALLER_STREAM_CHUNK_CHARS"],
        stream_commit_ms=env["LLM_CALLER_STREAM_COMMIT_MS"],
        max_body_bytes=env["LLM_CALLER_MAX_BODY_BYTES"],
        allowed_hosts=frozenset(host.lower() for host in settings.ALLOWED_HOSTS),
        allowed_networks=_networks("LLM_CALLER_ALLOWED_NETWORKS", networks),
        trusted_proxies=_networks("LLM_CALLER_TRUSTED_PROXIES", env["LLM_CALLER_TRUSTED_PROXIES"]),
        loopback_only=",".join(networks) == LOOPBACK_NETWORKS,
        digest_key=DigestKey(settings.ENCRYPTION_KEYS[0]),
        capture_keys=KeyRing(settings.ENCRYPTION_KEYS),
        capture_max_bytes=env["LLM_CALLER_CAPTURE_MAX_BYTES"],
    )


def _networks(name: str, texts: list[str]) -> tuple[Network, ...]:
    try:
        return parse_client_networks(texts)
    except ValueError:
        raise SettingsError(f"{name} holds something that is not a network such as 10.1.0.0/16") from None


def default_timeouts() -> Timeouts:
    env = settings.ENVIRONMENT
    return Timeouts(
        connect_ms=env["LLM_CALLER_CONNECT_TIMEOUT_MS"],
        first_event_ms=env["LLM_CALLER_FIRST_EVENT_TIMEOUT_MS"],
        idle_ms=env["LLM_CALLER_IDLE_TIMEOUT_MS"],
        total_ms=env["LLM_CALLER_TOTAL_TIMEOUT_MS"],
    )


def load_runtime(policy: Policy) -> Runtime:
    """Reads the version first: what changes meanwhile is then loaded once too often, never missed."""
    version = newest()
    return Runtime(
        version=version,
        catalog=load_catalog(default_timeouts(), KeyRing(settings.ENCRYPTION_KEYS)),
        directory=load_directory(peppers()),
        policy=policy,
    )


class Watcher:
    """`on_change` is called, in the watcher's thread, with each new Runtime."""

    def __init__(self, current: Runtime, on_change: Callable[[Runtime], None]) -> None:
        self._current, self._on_change = current, on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="config-watcher", daemon=True)
        self._tasks: list[Callable[[], None]] = []
        self.database_ok = True
        self.database_detail = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def soon(self, task: Callable[[], None]) -> None:
        """Runs `task` in this thread, where the database may be used."""
        self._tasks.append(task)

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self._poll()
                self.database_ok, self.database_detail = True, ""
            except (OperationalError, InterfaceError) as error:
                self.database_ok = False
                self.database_detail = f"The database does not answer ({type(error).__name__})"
                connection.close()
            except Exception as error:  # the outermost edge of this thread
                log.error("Configuration could not be loaded", metadata=describe(error))
        connection.close()

    def _poll(self) -> None:
        if newest() != self._current.version:
            began = time.monotonic()
            self._current = load_runtime(self._current.policy)
            self._on_change(self._current)
            log.info(
                "Configuration loaded",
                metadata={
                    "version": self._current.version,
                    "durationMs": round((time.monotonic() - began) * 1000, 1),
                },
            )
        while self._tasks:
            task = self._tasks.pop(0)
            try:
                task()
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:  # one task's trouble is not the configuration's
                log.error("A background task failed", metadata=describe(error))
