"""What protecting the record costs: storing, verifying and exporting a million calls.

    .venv/bin/python uat/bench_audit.py [--rows 1000000] [--batch 500]
    ./uat/with_postgresql.sh .venv/bin/python uat/bench_audit.py

The rows go the way of the journal's writer, in its batches; each is signed, so `--batch 1` is a record of calls that
came one by one. The database is a new one of its own: with SQLite a file
in a temporary folder, else the one of `LLM_CALLER_TEST_DATABASE_URL`.
"""

import argparse
import os
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
AT = 1_700_000_000.0
DECISION = (
    b'{"routing":{"rule":"rank","considered":[{"provider":"lmstudio_gpu","model":"deepseek-coder-33b","score":95,'
    b'"bonus":50,"health":"ok"},{"provider":"openai","excluded":"CREDENTIAL_MISSING"}]},'
    b'"rate":{"maxRequests":100,"intervalMs":1000,"remaining":99,"granted":true,"own":false}}'
)
ATTEMPT = b'{"provider":"lmstudio_gpu","model":"deepseek-coder-33b","durationMs":412}'


def configure(folder: Path) -> None:
    os.environ["DATABASE_URL"] = os.environ.get("LLM_CALLER_TEST_DATABASE_URL", "")
    os.environ["LLM_CALLER_STATE_DIR"] = str(folder)
    os.environ["LLM_CALLER_ENV_FILE"] = str(folder / "none.env")
    for name in ("DJANGO_SECRET_KEY", "LLM_CALLER_TOKEN_PEPPERS", "LLM_CALLER_ENCRYPTION_KEYS"):
        os.environ[name] = secrets.token_urlsafe(48)
    os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def records(first: int, count: int) -> list[Any]:
    import uuid

    import msgspec

    from telemetry.types import CallRecord

    return [
        CallRecord(
            call_id=str(uuid.UUID(int=n)), request_id=f"r-{n}", trace_id=f"chatcmpl-{n}", tool_id=f"tool-{n % 50}",
            token_id="iSaxqOIawrCd", claimed_tool="tool", method="chat", peer="127.0.0.1", provider="lmstudio_gpu",
            model="deepseek-coder-33b", strategy="capability-default", attempts=(msgspec.Raw(ATTEMPT),), outcome="ok",
            status=200, started_at=AT + n / 100, duration_ms=430, first_event_ms=90, input_tokens=420,
            output_tokens=115, bytes_in=1800, bytes_out=900, config_version=7, decision=msgspec.Raw(DECISION),
        )
        for n in range(first, first + count)
    ]  # fmt: skip


def measured(of: Iterator[bytes]) -> tuple[int, float]:
    began, size = time.perf_counter(), 0
    for chunk in of:
        size += len(chunk)
    return size, time.perf_counter() - began


def path_cost(folder: Path, calls: int = 20_000) -> float:
    """Microseconds of CPU that the record of one call takes on the request path: intent and outcome, appended."""
    import asyncio

    from telemetry.durability import Durability
    from telemetry.journal import Journal
    from telemetry.types import Intent

    (record,) = records(0, 1)

    async def append() -> float:
        journal = Journal(folder / "path", durability=Durability("interval", on_failure=print))
        facts = {name: getattr(record, name) for name in Intent.__struct_fields__}
        began = time.process_time()
        for _ in range(calls):
            journal.intent(Intent(**facts))
            journal.outcome(
                type(record)(**{name: getattr(record, name) for name in record.__struct_fields__})
            )
        spent = time.process_time() - began
        journal.close()
        return spent / calls * 1e6

    return asyncio.run(append())


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures storing, verifying and exporting the record.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=500, help="rows that are stored and signed at once")
    options = parser.parse_args()
    rows = options.rows
    with tempfile.TemporaryDirectory(prefix="llm-caller-bench-") as name:
        folder = Path(name)
        configure(folder)
        from telemetry.audit.exports import comma_separated, json_lines
        from telemetry.audit.keys import signatures
        from telemetry.audit.pack import EvidencePack
        from telemetry.audit.places import AuditFolder
        from telemetry.audit.selection import Selection
        from telemetry.audit.side_by_side import processors
        from telemetry.audit.verification import verify
        from telemetry.writer import Writer

        print(f"{'on the path of a call, µs of CPU':34}{path_cost(folder):12,.0f}   wanted <= 80")
        place = AuditFolder(folder / "audit")
        writer = Writer(folder / "journal", lambda _: None, place.chain())
        spent = 0.0
        for first in range(0, rows, options.batch):
            batch = records(first, min(options.batch, rows - first))
            began = time.perf_counter()
            writer._store_batch(batch)
            spent += time.perf_counter() - began
        print(f"{'stored, rows/s':34}{rows / spent:12,.0f}   wanted >= 2,000")
        before = peak_mb()
        began = time.perf_counter()
        verified = verify(signatures(place.public_keys()), place.copies, processes=processors())
        took = time.perf_counter() - began
        print(f"{'verified, rows/s':34}{verified.rows / took:12,.0f}   wanted >= 50,000")
        print(f"{'rows verified':34}{verified.rows:12,}")
        print(f"{'false alarms':34}{verified.found:12,}   wanted 0")
        kinds = {
            "JSON Lines": json_lines(Selection()),
            "CSV": comma_separated(Selection()),
            "evidence pack": EvidencePack(Selection(), place.public_keys()).stream(),
            "evidence pack of one client": EvidencePack(
                Selection(tool_id="tool-7"), place.public_keys()
            ).stream(),
        }
        for kind, chunks in kinds.items():
            size, took = measured(chunks)
            print(f"{kind:34}{rows / took:12,.0f}   rows/s, {size / 2**20:,.0f} MiB")
        print(
            f"{'peak memory after exports, MB':34}{peak_mb():12,.0f}   wanted <= 200 ({before:,.0f} before verifying)"
        )


if __name__ == "__main__":
    main()
