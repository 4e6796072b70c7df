"""`manage.py serve`: the hardened Daphne in the foreground, JSON lines on stdout."""

import gc
import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connection

from gateway import odd_settings
from gateway.checks import startup_problems
from gateway.configfile import drifted
from gateway.database import why_not
from gateway.places import log_file
from telemetry.logs import LEVELS, Redactor, log


class Command(BaseCommand):
    help = "Runs the gateway in the foreground until SIGTERM or Ctrl+C, then drains and stops."
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        self._refuse_unsafe()
        start_log()
        # Imported here: the reactor is installed on import, and only a server wants one.
        from gateway.asgi import application
        from gateway.server import GatewayServer

        server = GatewayServer(
            application,
            application.front,
            host=settings.HOST,
            port=settings.PORT,
            max_body_bytes=settings.ENVIRONMENT["LLM_CALLER_MAX_BODY_BYTES"],
            drain_s=settings.ENVIRONMENT["LLM_CALLER_DRAIN_S"],
        )
        warn_of_endless_redirects()
        warn_of_drift()
        warn_of_odd_settings()
        spare_the_collector()
        code = server.run()
        log.stop()
        sys.exit(code)

    def _refuse_unsafe(self) -> None:
        try:
            connection.ensure_connection()
        except DatabaseError as error:
            raise CommandError(why_not(error), returncode=2) from None
        try:
            problems = startup_problems()
        except DatabaseError as error:
            message = "The database is not ready; run `manage.py migrate` or ./uat/start_server.sh"
            raise CommandError(f"{message} ({type(error).__name__})", returncode=2) from None
        if problems:
            raise CommandError("\n".join(problems), returncode=2)


def warn_of_endless_redirects() -> None:
    if settings.PUBLIC_URL.startswith("https://") and not settings.ENVIRONMENT["LLM_CALLER_TRUSTED_PROXIES"]:
        log.warn(
            "LLM_CALLER_PUBLIC_URL is https but LLM_CALLER_TRUSTED_PROXIES names no proxy whose "
            "X-Forwarded-Proto is believed: the admin will redirect to itself"
        )


def warn_of_drift() -> None:
    for name, words in drifted().items():
        log.warn("Configuration and file differ", metadata={"file": name, "difference": words})


def warn_of_odd_settings() -> None:
    for said in odd_settings.warnings():
        log.warn("Setting is not read as it stands", metadata={"problem": said})


def spare_the_collector() -> None:
    """What is loaded by now lives as long as the process: it is taken out of every later collection, and
    calls, which free almost all they make by reference counts, cause fewer of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def start_log() -> None:
    env = settings.ENVIRONMENT
    lifted = env["LLM_CALLER_LOG_DEBUG_PAYLOADS"]
    level = env["LLM_CALLER_LOG_LEVEL"]
    log.start(level=level, redactor=Redactor(payloads=not lifted), file=log_file())
    if lifted and LEVELS[level] >= LEVELS["warn"]:
        log.warn("LLM_CALLER_LOG_DEBUG_PAYLOADS is on: prompts and answers are not redacted in logs")
