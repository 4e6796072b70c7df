"""Metrics as the contract has them (§6): the snapshot, its file, and Prometheus' text."""

import json
from pathlib import Path
from typing import Any

import pytest
from disk import full_at
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from telemetry.metrics import BUCKETS_MS, METRICS, SAMPLES, Metrics, get_metrics_snapshot, write_snapshot
from telemetry.prometheus import exposition

CODES = ["ok", "TEMPORARY", "RATE_LIMIT", "CLIENT_CLOSED"]


def counted(*calls: tuple[str, float, int, str], method: str = "chat") -> Metrics:
    """`(outcome, duration in ms, attempts, provider)`"""
    metrics = Metrics()
    for outcome, duration_ms, attempts, provider in calls:
        metrics.observe_call(
            method, outcome=outcome, duration_ms=duration_ms, attempts=attempts, provider=provider
        )
    return metrics


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus' own parser reads: `(name, labels) → value`."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition(metrics).decode())
        for sample in family.samples
    }


def test_nothing_counted_is_an_empty_snapshot() -> None:
    assert Metrics().snapshot() == {"methods": {}, "providers": {}, "counters": {}}


def test_the_snapshot_has_the_contract_s_shape() -> None:
    metrics = counted(
        ("ok", 10, 1, "a"), ("ok", 20, 3, "a"), ("TEMPORARY", 30, 2, "b"), ("RATE_LIMIT", 40, 0, ""),
    )  # fmt: skip
    metrics.count("token_failures")
    metrics.count("token_failures", 2)
    assert metrics.snapshot() == {
        "methods": {
            "chat": {
                "requests": {"total": 4, "success": 2, "error": 2},
                "latencyMs": {"average": 25.0, "samples": 4, "p50": 20, "p95": 40, "p99": 40},
                "retries": {"total": 3, "average": 0.75},
                "classifications": {"RATE_LIMIT": 1, "TEMPORARY": 1},
            }
        },
        "providers": {
            "a": {"total": 2, "success": 2, "error": 0},
            "b": {"total": 1, "success": 0, "error": 1},
        },
        "counters": {"token_failures": 3},
    }


@pytest.mark.parametrize(
    ("count", "p50", "p95", "p99"),
    [
        (1, 1, 1, 1),
        (2, 1, 2, 2),
        (20, 10, 19, 20),
        (100, 50, 95, 99),
        (101, 51, 96, 100),
        (1000, 500, 950, 990),
    ],
)
def test_percentiles_are_by_nearest_rank(count: int, p50: int, p95: int, p99: int) -> None:
    metrics = counted(*(("ok", float(n), 1, "a") for n in range(count, 0, -1)))
    told = metrics.snapshot()["methods"]["chat"]["latencyMs"]
    assert (told["p50"], told["p95"], told["p99"]) == (p50, p95, p99)


def test_percentiles_are_of_the_last_calls_and_all_else_of_all() -> None:
    metrics = counted(*[("ok", 1000.0, 1, "a")] * SAMPLES, *[("ok", 1.0, 1, "a")] * SAMPLES)
    told = metrics.snapshot()["methods"]["chat"]
    assert told["latencyMs"] == {"average": 500.5, "samples": SAMPLES, "p50": 1, "p95": 1, "p99": 1}
    assert told["requests"]["total"] == 2 * SAMPLES


CALLS = st.lists(
    st.tuples(
        st.sampled_from(CODES),
        st.floats(0, 400_000),
        st.integers(0, 4),
        st.sampled_from(["", "a", 'b"\\\n{}']),
    )
)


@given(CALLS)
def test_prometheus_tells_the_same_as_the_snapshot(calls: list[tuple[str, float, int, str]]) -> None:
    metrics = counted(*calls)
    snapshot, told = metrics.snapshot(), samples(metrics)
    chat = snapshot["methods"].get("chat")
    by_outcome = {
        dict(labels)["outcome"]: v for (name, labels), v in told.items() if name == "llm_caller_calls_total"
    }
    assert by_outcome == ({"ok": chat["requests"]["success"]} | chat["classifications"] if chat else {})
    if chat:
        method = (("method", "chat"),)
        assert told["llm_caller_retries_total", method] == chat["retries"]["total"]
        assert told["llm_caller_call_duration_seconds_count", method] == len(calls)
        assert told["llm_caller_call_duration_seconds_sum", method] == pytest.approx(
            sum(c[1] for c in calls) / 1000
        )
        for bound in BUCKETS_MS:
            bucket = (("le", str(bound / 1000)), ("method", "chat"))
            assert told["llm_caller_call_duration_seconds_bucket", bucket] == sum(
                c[1] <= bound for c in calls
            )
    for provider, counts in snapshot["providers"].items():
        for result in ("success", "error"):
            labels = (("provider", provider), ("result", result))
            assert told["llm_caller_provider_calls_total", labels] == counts[result]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_is_a_label(name: str) -> None:
    """Names of providers are free text."""
    metrics = Metrics()
    metrics.count(name)
    assert samples(metrics) == {("llm_caller_events_total", (("event", name),)): 1}


def test_each_line_of_the_text_is_a_comment_or_a_sample() -> None:
    text = exposition(counted(("ok", 5, 1, 'a"\n# HELP forged'))).decode()
    assert not [
        line
        for line in text.splitlines()
        if not line.startswith(("# HELP llm_", "# TYPE llm_", "llm_caller_"))
    ]


def test_the_snapshot_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    write_snapshot(tmp_path)
    METRICS.count("tests_counted")
    write_snapshot(tmp_path)
    (path,) = tmp_path.iterdir()
    told: dict[str, Any] = json.loads(path.read_bytes())
    assert told == get_metrics_snapshot()
    assert told["counters"]["tests_counted"] == 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_the_snapshot_that_was(tmp_path: Path) -> None:
    write_snapshot(tmp_path)
    before = (tmp_path / "metrics.json").read_bytes()
    METRICS.count("tests_counted")
    with full_at(10), pytest.raises(OSError):
        write_snapshot(tmp_path)
    assert (tmp_path / "metrics.json").read_bytes() == before
