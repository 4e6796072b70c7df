"""From the tables to the `Runtime`, again whenever the configuration changes.

A thread of its own polls the newest versions' numbers; a change is loaded whole, off the event loop, and swapped in
as one reference. The thread's database connection also tells how the database is.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from clients.loader import load_directory
from clients.permissions import parse_networks as parse_client_networks
from clients.types import RateLimit
from gateway.configfile import peppers
from gateway.environment import LOOPBACK_NETWORKS, SettingsError
from gateway.runtime import Network, Policy, Runtime
from gateway.versions import latest
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


class Loaded(NamedTuple):
    """`versions`: the newest numbers that were there before the tables were read."""

    runtime: Runtime
    versions: tuple[int, ...]


def load_runtime(policy: Policy) -> Loaded:
    """Reads the versions first: what changes meanwhile is then loaded once too often, never missed."""
    versions = latest()
    runtime = Runtime(
        version=versions[0] if versions else 0,
        catalog=load_catalog(default_timeouts(), KeyRing(settings.ENCRYPTION_KEYS)),
        directory=load_directory(peppers()),
        policy=policy,
    )
    return Loaded(runtime, versions)


class Watcher:
    """`on_change` is called, in the watcher's thread, with each new Runtime."""

    def __init__(self, loaded: Loaded, on_change: Callable[[Runtime], None]) -> None:
        self._loaded, self._on_change = loaded, on_change
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="config-watcher", daemon=True)
        self._tasks: deque[Callable[[], None]] = deque()
        self._trouble = ""
        self.database_ok = True
        self.database_detail = ""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=5)

    def soon(self, task: Callable[[], None]) -> None:
        """Runs `task` in this thread, where the database may be used; again, when the database was not there for it."""
        self._tasks.append(task)

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            try:
                self._poll()
                self._well()
            except (DatabaseError, InterfaceError) as error:
                self._unwell(error)
            except Exception as error:  # the outermost edge of this thread
                self._tell("Configuration could not be loaded", error)
        connection.close()

    def _well(self) -> None:
        self.database_ok, self.database_detail = True, ""
        if self._trouble:
            self._trouble = ""
            log.info("The database answers, and the configuration is loaded, again")

    def _unwell(self, error: DatabaseError | InterfaceError) -> None:
        """Where it is there and cannot be read, its file is damaged or not what this version expects."""
        away = isinstance(error, OperationalError | InterfaceError)
        what = "The database does not answer" if away else "The database cannot be read"
        self.database_ok, self.database_detail = False, f"{what} ({type(error).__name__})"
        connection.close()
        self._tell(what, error)

    def _tell(self, what: str, error: Exception) -> None:
        """Once, not at each look: until it is well again, or something else is the matter."""
        trouble = f"{what} ({type(error).__name__})"
        if trouble != self._trouble:
            self._trouble = trouble
            log.error(what, metadata=describe(error))

    def _poll(self) -> None:
        if latest() != self._loaded.versions:
            began = time.monotonic()
            self._loaded = load_runtime(self._loaded.runtime.policy)
            self._on_change(self._loaded.runtime)
            log.info(
                "Configuration loaded",
                metadata={
                    "version": self._loaded.runtime.version,
                    "durationMs": round((time.monotonic() - began) * 1000, 1),
                },
            )
        while self._tasks:
            try:
                self._tasks[0]()
            except (OperationalError, InterfaceError):
                raise
            except Exception as error:  # one task's trouble is not the configuration's
                log.error("A background task failed", metadata=describe(error))
            self._tasks.popleft()
