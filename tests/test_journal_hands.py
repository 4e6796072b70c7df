"""Somebody's hands in the journal's folder while the gateway serves: no call is lost, and health tells."""

import os
import uuid
from pathlib import Path

import httpx
from conftest import provider_entry, running_gateway
from fake_provider import FakeProvider
from scraped import wait_until

from telemetry.journal import is_alive
from telemetry.progress import Progress, ProgressFile


def progress(journal: Path) -> Progress:
    """Of the journal's writer, which begins after the server."""
    return ProgressFile(journal).read() or Progress(at=0)


def call_id(answer: httpx.Response) -> str:
    return str(uuid.UUID(answer.headers["X-LLM-Caller-Call-Id"]))


def test_calls_are_on_record_though_the_journal_was_emptied_and_its_lock_removed(
    tmp_path: Path, fake: FakeProvider
) -> None:
    journal = tmp_path / "var" / "journal"
    with running_gateway(tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}) as gateway:
        calls = [call_id(gateway.chat()) for _ in range(5)]
        (segment,) = journal.glob("*.spool")
        lock = segment.with_name(f"{segment.name.rsplit('-', 1)[0]}.lock")
        wait_until(lambda: progress(journal).offsets.get(segment.name) == segment.stat().st_size)
        os.truncate(segment, 0)
        calls += [call_id(gateway.chat()) for _ in range(3)]
        with gateway.stream(model="endless", provider="lmstudio_a") as response:
            chunks = response.iter_bytes()
            assert next(chunks)
            lock.unlink()
            wait_until(lambda: lock.exists() and is_alive(lock))
            seen = progress(journal).at
            wait_until(lambda: progress(journal).at > seen)
            under_way = call_id(response)

        def audit() -> str:
            parts = gateway.get("/health").json()["components"]
            return str(next(part for part in parts if part["name"] == "audit").get("details"))

        wait_until(lambda: segment.name in audit())
        gateway.stop()
        found = {row["call_id"]: row["outcome"] for row in gateway.records(method__startswith="chat")}
    assert found == dict.fromkeys(calls, "ok") | {under_way: "CLIENT_CLOSED"}
