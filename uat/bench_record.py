"""How quickly the record's pages answer over a full database, whatever is looked for; and what its writer keeps up with.

    nice .venv/bin/python uat/bench_record.py           # SQLite, in a folder of its own
    nice uat/with_postgresql.sh .venv/bin/python uat/bench_record.py

First the writer: calls from a journal into an empty database, as in service. Then 1,000,000 calls of 30 days, made so
that filters hurt: refusals that never meet a provider, embeddings that never meet the chat models, clients that never
meet each other's tokens. Each page is asked for five times after a warm-up; its median is printed, and how often one
has to go on looking until the search is over. A page above 300 ms fails. `--rows N` for fewer.
"""

import argparse
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from bench_admin import LIMIT_MS, drop, insert, measure, prepare

DAYS, CLIENTS, PROVIDERS = 30, 1_000, 100
WRITTEN = 20_000
RECORD = "/admin/telemetry/requestlog/"
DECISION = {
    "routing": {
        "rule": "rank",
        "considered": [
            {"provider": f"provider-{n:03}", "model": "chat-model", "score": 50, "health": "ok"}
            for n in range(6)
        ],
    }
}


def shape(chance: random.Random) -> dict[str, Any]:
    """What hangs together: half of all calls are embeddings by two models of their own, a fifth is refused."""
    client = int(CLIENTS * chance.random() ** 2)
    method = chance.choice(("embed", "embed", "chat", "chatStream"))
    found = {"tool_id": f"tool-{client:04}", "token_id": f"tok-{client}", "method": method}
    if chance.random() < 0.2:
        outcome = chance.choice(("RATE_LIMIT", "RATE_LIMIT", "BAD_REQUEST"))
        return found | {"outcome": outcome, "status": 429, "provider": "", "model": "", "attempts": []}
    provider = f"provider-{int(PROVIDERS * chance.random() ** 4):03}"
    kind = "embed-model" if method == "embed" else "chat-model"
    outcome = chance.choice(("ok",) * 60 + ("TEMPORARY", "AUTH", "CLIENT_CLOSED"))
    model = f"{kind}-{int(2 * chance.random())}"
    attempt = {"provider": provider, "model": model, "durationMs": 5}
    return found | {
        "outcome": outcome,
        "status": 200,
        "provider": provider,
        "model": model,
        "attempts": [attempt],
    }


def calls(rows: int, now: datetime, seed: int = 4037) -> Iterator[Any]:
    from telemetry.models import RequestLog

    chance = random.Random(seed)
    for n in range(rows):
        at = now - timedelta(days=DAYS) * (rows - n) / rows
        yield RequestLog(
            call_id=uuid.UUID(int=(n << 64) | chance.getrandbits(64)),
            request_id=f"request-{chance.getrandbits(60):x}" if n % 3 else "always-the-same",
            trace_id=f"chatcmpl-{chance.getrandbits(60):x}",
            peer=f"10.0.{n % 7}.{int(200 * chance.random() ** 3)}",
            strategy="capability-default",
            started_at=at,
            first_event_ms=20,
            duration_ms=40,
            input_tokens=chance.randrange(4_000),
            config_version=1 + n * 100 // rows,
            decision=DECISION,
            **shape(chance),
        )


def fill(rows: int, now: datetime) -> None:
    """The indexes are made behind the rows, which is quicker, and statistics are gathered as a server does by itself."""
    from django.db import connection

    from telemetry.models import RequestLog

    began, batch = time.perf_counter(), []
    with connection.schema_editor() as editor:
        for index in RequestLog._meta.indexes:
            editor.remove_index(RequestLog, index)
    for n, row in enumerate(calls(rows, now), 1):
        batch.append(row)
        if len(batch) == 20_000 or n == rows:
            insert(batch)
            batch.clear()
    with connection.schema_editor() as editor:
        for index in RequestLog._meta.indexes:
            editor.add_index(RequestLog, index)
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE telemetry_requestlog")
    print(f"{rows:,} calls stored in {time.perf_counter() - began:.0f} s", flush=True)


def write(folder: Path, rows: int) -> None:
    """Through the journal and the writer, as in service: how many calls a second it stores."""
    import msgspec

    from telemetry.audit.places import AuditFolder
    from telemetry.journal import Journal
    from telemetry.types import CallRecord
    from telemetry.writer import Writer

    journal = Journal(folder)
    decision = msgspec.Raw(msgspec.json.encode(DECISION))
    now = time.time()
    for n, row in enumerate(calls(rows, datetime.now(UTC), seed=1)):
        journal.outcome(
            CallRecord(
                **{name: getattr(row, name) for name in ("tool_id", "token_id", "method", "peer", "outcome")},
                **{
                    name: getattr(row, name)
                    for name in ("status", "request_id", "trace_id", "provider", "model")
                },
                call_id=str(row.call_id),
                # As they come: one after the other, 2,000 a second.
                started_at=now + n / 2000,
                config_version=row.config_version,
                duration_ms=row.duration_ms,
                attempts=tuple(msgspec.Raw(msgspec.json.encode(one)) for one in row.attempts),
                decision=decision,
            )
        )
    writer = Writer(folder, lambda used: None, AuditFolder(folder.with_name(folder.name + "-audit")).chain())
    began, busy = time.perf_counter(), time.process_time()
    stored = writer.run_once()
    took, worked = time.perf_counter() - began, time.process_time() - busy
    journal.close()
    print(
        f"writer: {stored:,} calls in {took:.1f} s: {stored / took:,.0f} a second ({worked / stored * 1e6:.0f} µs of CPU each)"
    )


def pages(now: datetime) -> dict[str, dict[str, Any]]:
    """By what makes each of them hard."""
    wide, hour = {"period": "30d"}, {"period": "1h"}
    return {
        "everything": {},
        "one day": {
            "since": f"{now - timedelta(days=20):%Y-%m-%d}",
            "until": f"{now - timedelta(days=19):%Y-%m-%d}",
        },
        "far behind": {"older": f"{int((now - timedelta(days=29)).timestamp() * 1e6)}-{'0' * 32}"},
        "frequent": {"outcome": "ok"} | wide,
        "rare": {"client": "tool-0999"} | wide,
        "none": {"client": "nobody"} | wide,
        "none, by model": {"model": "no-such-model"},
        "a word": {"outcome": "refused"} | wide,
        "a word with no calls": {"outcome": "broken-off", "since": "2020-01-01", "until": "2020-02-01"},
        "one call": {"trace": str(uuid.UUID(int=77))},
        "one trace": {"trace": "chatcmpl-none"},
        "request id of a third": {"request": "always-the-same", "client": "tool-0999"} | wide,
        "frequent and rare": {"outcome": "ok", "provider": "provider-099"} | wide,
        "frequent and none": {"outcome": "ok", "method": "chat", "provider": "no-such-provider"},
        "two that never meet, a tenth each": {"outcome": "RATE_LIMIT", "provider": "provider-001"},
        "two that never meet, a quarter each": {"outcome": "refused", "provider": "provider-000"},
        "two that never meet, half and a quarter": {"method": "embed", "model": "chat-model-0"},
        "clients that never meet": {"client": "tool-0000", "token": "tok-1"},
        "versions that never meet": {"config": "50", "since": f"{now - timedelta(days=2):%Y-%m-%d}"},
        "asked at all, nobody": {"asked": "nobody"} | wide,
        "asked at all, rare": {"asked": "provider-099"} | wide,
        "asked at all, of a client": {"asked": "nobody", "client": "tool-0000"},
        "a strategy that none has": {"strategy": "fallback"},
        "a reason that none has": {"reason": "BUSY", "outcome": "refused"},
        "calls of models": {"method": "of-models"} | wide,
        "a place in a chain": {"spot": "c #77"},
        "an hour of all": {"outcome": "failed", "method": "embed", "client": "tool-0000"} | hour,
        "ten at once": {
            "client": "tool-0000",
            "token": "tok-0",
            "provider": "provider-000",
            "model": "embed-model-1",
            "method": "embed",
            "outcome": "served",
            "peer": "10.0.1.1",
            "config": "7",
            "period": "30d",
            "request": "always-the-same",
            "trace": "chatcmpl-none",
        },
        "nine at once, none": {
            "client": "tool-0000",
            "token": "tok-0",
            "provider": "provider-000",
            "model": "chat-model-1",
            "method": "embed",
            "outcome": "refused",
            "peer": "10.0.1.1",
            "request": "always-the-same",
        },
    }


def rounds(query: dict[str, Any]) -> tuple[int, int]:
    """How many pages until the first rows or the end of the search, and the rows that were on the last."""
    from telemetry.filter_form import read_query
    from telemetry.search import find

    form = read_query(urlencode(query))
    assert form.is_valid(), form.errors
    criteria, place = form.criteria(datetime.now(UTC)), form.place
    for n in range(1, 1_000):
        found = find(criteria, place)
        if found.rows or found.looked_to is None:
            return n, len(found.rows)
        place = found.looked_to
    raise AssertionError("a search without an end")


def report(now: datetime) -> bool:
    from django.contrib.auth.models import User
    from django.test import Client as Browser

    browser = Browser(headers={"host": "localhost"})
    browser.force_login(User.objects.create_superuser("olga", "", "olga's password 1"))
    print(f"\n{'page':<44}{'queries':>8}{'ms':>8}{'CPU ms':>8}{'rows':>6}{'pages':>7}")
    well = True
    for name, query in pages(now).items():
        counts, ms, cpu = measure(browser, f"{RECORD}?{urlencode(query)}")
        again, rows = rounds(query)
        well = well and ms <= LIMIT_MS
        sign = "" if ms <= LIMIT_MS else "  <- not well"
        print(f"{name:<44}{max(counts):>8}{ms:>8.0f}{cpu:>8.0f}{rows:>6}{again:>7}{sign}", flush=True)
    return well


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--written", type=int, default=WRITTEN, help="calls through the writer first; 0 for none"
    )
    asked = parser.parse_args()
    server = os.environ.get("DATABASE_URL") or os.environ.get("LLM_CALLER_TEST_DATABASE_URL", "")
    os.environ.pop("LLM_CALLER_TEST_DATABASE_URL", None)
    os.environ["DATABASE_URL"] = ""
    import environment  # noqa: F401 - secrets and a state folder of this run's own

    name = prepare(server)
    try:
        if asked.written:
            write(Path(os.environ["LLM_CALLER_STATE_DIR"]) / "journal", asked.written)
        now = datetime.now(UTC)
        fill(asked.rows, now)
        return 0 if report(now) else 1
    finally:
        drop(server, name)


if __name__ == "__main__":
    sys.exit(main())
