"""What Bob's calls leave in the journal, and its way into the database."""

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection

from telemetry.audit.places import AuditFolder
from telemetry.audit.standing import NAME as STANDING
from telemetry.journal import Journal
from telemetry.models import RequestLog
from telemetry.progress import PROGRESS_FILE
from telemetry.types import CallRecord, Intent
from telemetry.writer import OnRows, Writer

AT = 1_700_000_000.25


def intent(call_id: str = "c-1", **more: Any) -> Intent:
    facts: dict[str, Any] = {"request_id": "r-1", "tool_id": "bob", "token_id": "t", "method": "chat"}
    facts |= {"peer": "127.0.0.1", "started_at": AT, "config_version": 3}
    return Intent(call_id=call_id, **(facts | more))


def outcome(call_id: str = "c-1", **more: Any) -> CallRecord:
    facts: dict[str, Any] = {"tool_id": "bob", "token_id": "t", "method": "chat", "peer": "127.0.0.1"}
    facts |= {
        "started_at": AT,
        "config_version": 3,
        "outcome": "ok",
        "status": 200,
        "duration_ms": 7,
    }
    return CallRecord(call_id=call_id, **(facts | more))


def call(n: int) -> str:
    return str(uuid.UUID(int=n))


def ignore(_: Mapping[str, datetime]) -> None:
    """For tests that do not look at the last use of tokens."""


def audit(folder: Path) -> AuditFolder:
    """Beside the journal's folder, so that tests can look at that one alone."""
    return AuditFolder(folder.with_name(folder.name + "-audit"))


def writer(folder: Path, on_rows: OnRows = ignore, **more: Any) -> Writer:
    return Writer(folder, on_rows, audit(folder).chain(), **more)


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spool"))


def left(folder: Path) -> list[str]:
    """What lies there besides what the writer tells of itself."""
    return [path.name for path in folder.iterdir() if path.name not in (PROGRESS_FILE, STANDING)]


def outcomes() -> dict[str, str]:
    return {str(row.call_id): row.outcome for row in RequestLog.objects.all()}


def serve(journal: Journal, *numbers: int) -> None:
    for n in numbers:
        journal.intent(intent(call(n)))
        journal.outcome(outcome(call(n)))


@contextmanager
def no_table() -> Iterator[None]:
    """The table is really away, so that every statement on it fails."""
    table = RequestLog._meta.db_table
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO {table}_away")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {table}_away RENAME TO {table}")


def spoil_decision(sequence: int) -> None:
    """What no row of ours can hold: with SQLite no JSON at all, past its constraint."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        value = "not json" if connection.vendor == "sqlite" else '"not json"'
        cursor.execute("UPDATE telemetry_requestlog SET decision = %s WHERE sequence = %s", [value, sequence])
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = OFF")
