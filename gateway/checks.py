"""System checks: what must hold before anything is served. Errors name settings, never values."""

from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, DatabaseError

from gateway import odd_settings
from gateway.configfile import drifted, egress
from gateway.environment import SettingsError
from gateway.reload import build_policy
from telemetry.otlp import is_installed


@register(Tags.security)
def safe_start(app_configs: Any, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if settings.DEBUG:
        found.append(Error("DEBUG must not be on", id="llm_caller.E001"))
    if "*" in settings.ALLOWED_HOSTS and not is_loopback(settings.HOST):
        found.append(
            Error(
                "LLM_CALLER_ALLOWED_HOSTS must not be * while LLM_CALLER_HOST is not loopback",
                id="llm_caller.E002",
            )
        )
    for build in (build_policy, egress):
        try:
            build()
        except SettingsError as error:
            found.append(Error(str(error), id="llm_caller.E003"))
    if problem := otel_problem(settings.ENVIRONMENT["LLM_CALLER_OTEL_ENDPOINT"]):
        found.append(Error(f"LLM_CALLER_OTEL_ENDPOINT {problem}", id="llm_caller.E004"))
    if not is_loopback(settings.HOST) and not settings.PUBLIC_URL:
        found.append(
            Warning(
                "LLM_CALLER_HOST is open to a network without LLM_CALLER_PUBLIC_URL: tokens and passwords "
                "travel in the clear",
                id="llm_caller.W001",
            )
        )
    return found


@register(Tags.security)
def odd_names(app_configs: Any, **_: Any) -> list[CheckMessage]:
    return [
        Warning(said, hint="All settings: docs/settings.md.", id="llm_caller.W003")
        for said in odd_settings.warnings()
    ]


@register(Tags.database)
def files_and_database(databases: Any = None, **_: Any) -> list[CheckMessage]:
    """Only where a database is named: `manage.py check --database default`."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    try:
        found = drifted()
    except DatabaseError:
        return []  # no tables yet: there is nothing to compare
    return [
        Warning(f"{name}: {words}", hint="See Configuration in the admin.", id="llm_caller.W002")
        for name, words in found.items()
    ]


def otel_problem(endpoint: str) -> str:
    """Why spans cannot be sent there; "" when they can, or are not to be."""
    if not endpoint:
        return ""
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.query and parts.port != 0
    except ValueError:
        good = False
    if not good:
        return "is not an http:// or https:// URL"
    if parts.username is not None:
        return "must not carry a password; OTEL_EXPORTER_OTLP_HEADERS can"
    return "" if is_installed() else "needs the extra otel: ./uat/start_server.sh --install-only otel"


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def unsafe_settings() -> list[str]:
    """What of the settings stops a start. Those that cannot be read have done so before."""
    return [message.msg for message in safe_start(None) if isinstance(message, Error)]


def startup_problems() -> list[str]:
    """What stops a start, the database's part included: its secrets must fit the settings."""
    from clients.loader import orphaned_tokens
    from gateway.configfile import peppers
    from gateway.second_factor import is_sealed_wrongly
    from providers.loader import sealed_wrongly
    from providers.secrets import KeyRing

    found = unsafe_settings()
    if wrong := sealed_wrongly(KeyRing(settings.ENCRYPTION_KEYS)):
        found.append(
            f"LLM_CALLER_ENCRYPTION_KEYS opens none of the credentials stored for {', '.join(wrong)}"
        )
    if is_sealed_wrongly(KeyRing(settings.ENCRYPTION_KEYS)):
        found.append("LLM_CALLER_ENCRYPTION_KEYS does not open the second factor of a member of staff")
    orphaned, total = orphaned_tokens(peppers())
    if total and orphaned == total:
        found.append(
            "LLM_CALLER_TOKEN_PEPPERS knows none of the registered tokens. Put back the key that they were made "
            "under; it stood in the environment file. Only if it is lost for good: manage.py issue_token CLIENT"
        )
    return found


def lost_tokens() -> str:
    """A sentence on tokens that are refused though they neither ended nor were revoked; "" without any."""
    from clients.loader import orphaned_tokens
    from gateway.configfile import peppers

    orphaned, total = orphaned_tokens(peppers())
    if not orphaned:
        return ""
    return (
        f"{orphaned} of {total} tokens are refused: they were made under a key that LLM_CALLER_TOKEN_PEPPERS "
        "no longer has. Whose they are: What may this client do?, in the admin"
    )
