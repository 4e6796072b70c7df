"""The database that `DATABASE_URL` names, else SQLite in the state folder: how it is reached, and why it is not."""

from pathlib import Path
from typing import Any

import environ
from django.conf import settings
from django.db import DataError, IntegrityError, ProgrammingError

from gateway.environment import SettingsError

SCHEMES = ("postgres", "postgresql", "psql", "pgsql", "sqlite")
FILE = "llm-caller.sqlite3"
OURS = (ProgrammingError, IntegrityError, DataError)
"""Errors of a database that answers: their cause is in the program, not in a setting."""


def configured(url: str, state: Path) -> dict[str, Any]:
    """As Django wants it. Raises `SettingsError`, which shows nothing of the URL: there is a password in it."""
    if not url:
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(state / FILE)}
    scheme, found, _ = url.partition("://")
    if not found or scheme not in SCHEMES:
        raise SettingsError("DATABASE_URL is not a postgres:// or sqlite:/// URL")
    try:
        config: dict[str, Any] = environ.Env.db_url_config(url)
    except ValueError:
        # Its own message would show the part of a password that looks like a port.
        raise SettingsError(
            "DATABASE_URL cannot be read; characters such as / in a password are written %2F"
        ) from None
    if not config["NAME"]:
        raise SettingsError("DATABASE_URL does not name a database: postgres://user:password@host/name")
    return config


def pragmas(version: tuple[int, int, int]) -> str:
    """How this version of SQLite keeps what is committed: the journal lets go of calls once they are stored, so that
    a power cut must not take a commit back. A write-ahead log is synced at each commit only when `FULL`: 7 ms on the
    disk that this was measured on, a few times a second at most."""
    if version >= (3, 51, 3):
        return "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    # Before that a write-ahead log can be lost on reset; the rollback journal is synced when `NORMAL`, too.
    return "PRAGMA journal_mode=DELETE; PRAGMA synchronous=NORMAL;"


def why_not(error: Exception) -> str:
    """One line for operators: where the database was to be, and what its driver says, without the password."""
    config = settings.DATABASES["default"]
    place = "DATABASE_URL" if settings.ENVIRONMENT["DATABASE_URL"] else config["NAME"]
    said = (str(error).splitlines() or [""])[0].strip()
    password = config.get("PASSWORD")
    if not said or (password and password in said):
        said = type(error).__name__
    return f"{place}: the database cannot be used ({said})"
