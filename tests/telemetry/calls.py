"""Calls as they stand in the record, a second apart, the newest first."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from telemetry.models import RequestLog

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def call(n: int = 0, **columns: Any) -> RequestLog:
    """The `n`th before `NOW`. Not stored yet."""
    facts: dict[str, Any] = {
        "call_id": uuid.UUID(int=10**9 - n), "request_id": f"r-{n}", "trace_id": f"t-{n}", "tool_id": "bob",
        "token_id": "tok-bob", "method": "chat", "peer": "127.0.0.1", "provider": "gpu", "model": "m",
        "outcome": "ok", "status": 200, "started_at": NOW - timedelta(seconds=n), "duration_ms": 5, "config_version": 3,
    }  # fmt: skip
    return RequestLog(**(facts | columns))


def store(*rows: RequestLog) -> None:
    RequestLog.objects.bulk_create(sorted(rows, key=lambda row: row.started_at))
