"""What `/metrics` tells of real gateways: everything that happened, of all processes, and never less than before."""

import json
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import CHARLIE, RunningGateway, provider_entry, registry, running_gateway
from fake_provider import FakeProvider
from prometheus_client.openmetrics import parser as openmetrics
from scraped import second_process, told_by, wait_until

from telemetry.exchange import ENDED
from telemetry.families import FAMILIES


def started(folder: Path, fake: FakeProvider) -> AbstractContextManager[RunningGateway]:
    providers = {"providers": {"lmstudio_a": provider_entry(fake.url)}}
    limited = {"toolId": "dora", "token": "dora-token", "allowedMethods": ["chat", "getHealth"]}
    limited |= {"rateLimit": {"maxRequests": 1, "intervalMs": 60_000}}
    return running_gateway(folder, providers, registry(limited))


@pytest.fixture
def own(tmp_path: Path, shared_fake: FakeProvider) -> Iterator[RunningGateway]:
    """For tests of all that a gateway has counted, or that leave it unwell."""
    with started(tmp_path, shared_fake) as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, shared_fake: FakeProvider) -> Iterator[RunningGateway]:
    """One for all other tests here: each looks at what it adds."""
    with started(tmp_path_factory.mktemp("gateway"), shared_fake) as running:
        yield running


def test_everything_that_happened_is_told(own: RunningGateway) -> None:
    gateway, provider = own, "lmstudio_a"
    for model in ("echo", "503-then-ok-m", "status-400"):
        gateway.chat(model=model, provider=provider)
    gateway.frames()
    gateway.chat(token="wrong")
    gateway.chat(token=None)
    gateway.chat(token=CHARLIE)
    for _ in range(3):
        gateway.chat(token="dora-token")
    told = told_by(gateway)
    assert told["attempts_total", "none", provider] == 4
    assert told["attempts_total", "TEMPORARY", provider] == 1
    assert told["attempts_total", "PERMANENT", provider] == 1
    assert told["tokens_total", "input", "echo", provider] > 0
    assert told["tokens_total", "output", "echo", provider] > 0
    assert told["tokens_total", "output", "other", provider] > 0, "the provider lists no 503-then-ok-m"
    assert told["limit_refusals_total", "rate"] == 2
    assert told["authentication_failures_total", "unknown_token"] == 1
    assert told["authentication_failures_total", "missing_token"] == 1
    assert told["audit_failures_total", "journal_append"] == 0
    assert told["time_to_first_token_seconds_count", "chatStream", "ok"] == 1
    for outcome_class, calls in (("ok", 3), ("provider_error", 1), ("client_error", 1), ("limited", 2)):
        assert told["call_duration_seconds_count", "chat", outcome_class] == calls
    assert told["calls_in_flight",] == 0
    assert told["config_version",] >= 1
    assert told["provider_up", provider] == 1
    assert told["processes",] == 1
    assert told["start_time_seconds",] == pytest.approx(time.time(), abs=120)
    assert [key for key in told if key[0] == "build_info"]


def test_calls_in_flight_are_told_while_they_are(gateway: RunningGateway) -> None:
    with gateway.stream(model="endless", provider="lmstudio_a") as response:
        # Kept: with its iterator, httpx closes the connection.
        chunks = response.iter_bytes()
        first = next(chunks)
        assert (response.status_code, b'"delta"' in first) == (200, True), first
        wait_until(lambda: told_by(gateway)["calls_in_flight",] == 1)
    wait_until(lambda: told_by(gateway)["calls_in_flight",] == 0)


def test_prometheus_gets_openmetrics_when_it_asks_for_it(gateway: RunningGateway) -> None:
    gateway.chat()
    headers = {
        "X-LLM-Caller-Token": CHARLIE,
        "Accept": "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
    }
    told = gateway.client.get("/metrics", headers=headers)
    assert told.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in openmetrics.text_string_to_metric_families(told.text)}
    assert set(families) == {f.sample.removesuffix("_total").removesuffix("_info") for f in FAMILIES}
    assert all(family.documentation for family in families.values())


def test_a_second_server_on_a_state_folder_says_what_each_counts_for_itself(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    def warnings(asked: RunningGateway) -> list[dict[str, Any]]:
        assert asked.wait_for_lines("Listening"), "what is said at the start comes before it"
        return [
            line for line in asked.log_lines() if line["message"] == "Other servers run on this state folder"
        ]

    with second_process(gateway, tmp_path / "second") as second:
        (warned,) = warnings(second)
        assert (warned["level"], warned["metadata"]) == ("warn", {"others": 1})
        assert "Each counts limits" in second.stderr.read_text()
        second.stop(signal.SIGKILL)
    assert warnings(gateway) == []
    with second_process(gateway, tmp_path / "third") as third:
        assert [line["metadata"] for line in warnings(third)] == [{"others": 1}], "one was killed"


def test_two_processes_give_one_answer_that_no_death_takes_back(
    gateway: RunningGateway, tmp_path: Path
) -> None:
    def ok_of(asked: RunningGateway) -> float:
        return told_by(asked)["calls_total", "chat", "ok"]

    gateway.chat()
    before = ok_of(gateway)
    with second_process(gateway, tmp_path / "second") as second:
        for _ in range(3):
            gateway.chat()
        for _ in range(4):
            answer = second.chat()
            assert answer.status_code == 200, answer.text
        # Each tells of itself as of now, of the others as of at most a second ago.
        wait_until(lambda: [ok_of(asked) for asked in (gateway, second)] == [before + 7] * 2)
        assert [told_by(asked)["processes",] for asked in (gateway, second)] == [2, 2]
        wait_until(lambda: snapshot_of(gateway)["chat"]["requests"]["success"] == before + 7)
        second.chat()
        assert ok_of(second) == before + 8
        second.stop(signal.SIGKILL)
        assert (ok_of(gateway), told_by(gateway)["processes",]) == (before + 8, 1)
        files = gateway.folder / "var" / "metrics"
        wait_until(lambda: len(list(files.glob("[0-9]*.state"))) == 1)
        assert (files / ENDED).exists()
        assert ok_of(gateway) == before + 8
        second.start()
        second.chat()
        assert [ok_of(asked) for asked in (second, gateway)] == [before + 9] * 2, (
            "what was told once, all tell"
        )
    print("two processes, one killed and started again: 3 + 5 + 1 calls, 9 told by each")


def snapshot_of(gateway: RunningGateway) -> Any:
    return json.loads(gateway.manage("metrics").stdout)["methods"]


def test_a_journal_that_waits_for_the_database_is_told(gateway: RunningGateway) -> None:
    if gateway.env["DATABASE_URL"]:
        pytest.skip("locks the file of SQLite")
    gateway.chat()
    wait_until(lambda: told_by(gateway)["journal_backlog_bytes",] < 2_000)
    lock = sqlite3.connect(gateway.folder / "var" / "llm-caller.sqlite3", isolation_level=None)
    with closing(lock):
        lock.execute("BEGIN EXCLUSIVE")
        for _ in range(20):
            assert gateway.chat().status_code == 200
        wait_until(lambda: told_by(gateway)["writer_lag_seconds",] > 2)
        told = told_by(gateway)
        assert told["journal_backlog_bytes",] > 10_000
        assert told["journal_oldest_age_seconds",] > 1
        lock.execute("ROLLBACK")
    wait_until(lambda: told_by(gateway)["writer_lag_seconds",] < 2, 40)
    wait_until(lambda: told_by(gateway)["journal_backlog_bytes",] < 2_000)


def test_a_scrape_is_quick_and_holds_up_no_call(gateway: RunningGateway) -> None:
    gateway.chat()
    took = []
    with httpx.Client(base_url=gateway.url, trust_env=False) as client:
        for _ in range(30):
            began = time.perf_counter()
            client.get("/metrics", headers={"X-LLM-Caller-Token": CHARLIE}).raise_for_status()
            took.append((time.perf_counter() - began) * 1000)
    median = sorted(took)[len(took) // 2]
    print(f"a scrape: {median:.1f} ms in the median")
    assert median < 250


def test_a_journal_that_cannot_be_written_is_an_audit_failure(own: RunningGateway, tmp_path: Path) -> None:
    gateway, journal = own, own.folder / "var" / "journal"
    gateway.chat()
    journal.rename(tmp_path / "away")
    journal.write_text("in the way")
    wait_until(lambda: gateway.chat().json().get("error") == "AUDIT_UNAVAILABLE")
    told = told_by(gateway)
    assert told["audit_failures_total", "journal_append"] >= 1
    assert told["call_duration_seconds_count", "chat", "gateway_error"] >= 1
