"""Metrics as the contract has them (§6): the snapshot, its file, and Prometheus' text."""

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from disk import full_at
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from telemetry.families import BUCKETS_MS, FAMILIES, TOKENS, outcome_class, render_docs
from telemetry.metrics import (
    MAX_MODELS,
    METRICS,
    SAMPLES,
    Metrics,
    get_metrics_snapshot,
    write_snapshot,
)
from telemetry.prometheus import exposition

CODES = ["ok", "TEMPORARY", "RATE_LIMIT", "CLIENT_CLOSED"]


class Attempt(NamedTuple):
    provider: str
    model: str
    classification: str | None


def counted(*calls: tuple[str, float, int, str], method: str = "chat") -> Metrics:
    """`(outcome, duration in ms, attempts, provider)`"""
    metrics = Metrics()
    for outcome, duration_ms, attempts, provider in calls:
        failed = [Attempt(provider, "m", "TEMPORARY")] * (attempts - 1)
        last = [Attempt(provider, "m", None if outcome == "ok" else outcome)][:attempts]
        metrics.observe_call(method, outcome=outcome, duration_ms=duration_ms, attempts=failed + last)
    return metrics


def text_of(metrics: Metrics, accept: str = "") -> str:
    state = metrics.state()
    return exposition(state, [state], {}, accept)[0].decode()


def samples(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """What Prometheus' own parser reads: `(name, labels) → value`."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text_of(metrics))
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


def test_a_client_that_left_is_no_error_of_the_provider() -> None:
    metrics = counted(("CLIENT_CLOSED", 10, 1, "a"), ("ok", 10, 1, "a"), ("TEMPORARY", 10, 1, "a"))
    metrics.observe_call("chat", outcome="DRAINED", duration_ms=1, attempts=[Attempt("a", "m", "CANCELLED")])
    assert metrics.snapshot()["providers"] == {"a": {"total": 4, "success": 1, "error": 1}}
    results = {
        dict(labels)["result"]: value
        for (name, labels), value in samples(metrics).items()
        if name == "llm_caller_provider_calls_total"
    }
    assert results == {"success": 1, "error": 1, "cancelled": 2}


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


def all_classes(told: Any, ending: str, **labels: str) -> float:
    """Of the calls' durations, over all outcome classes."""
    return sum(
        value
        for (name, found), value in told.items()
        if name == f"llm_caller_call_duration_seconds_{ending}" and labels.items() <= dict(found).items()
    )


CALLS = st.lists(
    st.tuples(
        st.sampled_from(CODES),
        st.floats(0, 700_000),
        st.integers(0, 4),
        st.sampled_from(["a", 'b"\\\n{}']),
    )
)


@settings(deadline=None)
@given(CALLS)
def test_prometheus_tells_the_same_as_the_snapshot(calls: list[tuple[str, float, int, str]]) -> None:
    metrics = counted(*calls)
    snapshot, told = metrics.snapshot(), samples(metrics)
    chat = snapshot["methods"].get("chat")
    by_outcome = {
        dict(labels)["outcome"]: v
        for (name, labels), v in told.items()
        if name == "llm_caller_calls_total" and dict(labels)["outcome"] != "INTERNAL_ERROR"
    }
    assert by_outcome == ({"ok": chat["requests"]["success"]} | chat["classifications"] if chat else {})
    if chat:
        method = (("method", "chat"),)
        assert told["llm_caller_retries_total", method] == chat["retries"]["total"]
        assert all_classes(told, "count") == len(calls)
        assert all_classes(told, "sum") == pytest.approx(sum(c[1] for c in calls) / 1000)
        for bound in BUCKETS_MS:
            below = all_classes(told, "bucket", le=str(bound / 1000))
            assert below == sum(c[1] <= bound for c in calls)
    for provider, counts in snapshot["providers"].items():
        for result in ("success", "error"):
            labels = (("provider", provider), ("result", result))
            assert told["llm_caller_provider_calls_total", labels] == counts[result]


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_name_is_a_label(name: str) -> None:
    """Names of providers are free text."""
    metrics = Metrics()
    metrics.count(name)
    assert samples(metrics)["llm_caller_events_total", (("event", name),)] == 1


def test_each_line_of_the_text_is_a_comment_or_a_sample() -> None:
    text = text_of(counted(("ok", 5, 1, 'a"\n# HELP forged')))
    assert not [
        line
        for line in text.splitlines()
        if not line.startswith(("# HELP llm_", "# TYPE llm_", "llm_caller_"))
    ]


def test_the_snapshot_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    write_snapshot(tmp_path)
    before = get_metrics_snapshot()["counters"].get("tests_counted", 0)
    METRICS.count("tests_counted")
    write_snapshot(tmp_path)
    (path,) = tmp_path.iterdir()
    told: dict[str, Any] = json.loads(path.read_bytes())
    assert told == get_metrics_snapshot()
    assert told["counters"]["tests_counted"] == before + 1
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_full_disk_leaves_the_snapshot_that_was(tmp_path: Path) -> None:
    write_snapshot(tmp_path)
    before = (tmp_path / "metrics.json").read_bytes()
    METRICS.count("tests_counted")
    with full_at(10), pytest.raises(OSError):
        write_snapshot(tmp_path)
    assert (tmp_path / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("outcome", "asked", "told"),
    [
        ("ok", True, "ok"),
        ("BAD_REQUEST", False, "client_error"),
        ("RATE_LIMIT", False, "limited"),
        ("RATE_LIMIT", True, "provider_error"),
        ("TEMPORARY", True, "provider_error"),
        ("CLIENT_CLOSED", True, "client_closed"),
        ("DRAINED", True, "gateway_error"),
        ("AUDIT_UNAVAILABLE", False, "gateway_error"),
        ("something new", False, "gateway_error"),
    ],
)
def test_an_outcome_s_class_says_whom_to_look_at(outcome: str, asked: bool, told: str) -> None:
    assert outcome_class(outcome, asked=asked) == told


def test_attempts_tokens_first_tokens_and_limits_are_told() -> None:
    metrics = Metrics()
    attempts = [Attempt("a", "m", "TEMPORARY"), Attempt("b", "n", None)]
    metrics.observe_call(
        "chatStream", outcome="ok", duration_ms=900, attempts=attempts, first_event_ms=40, tokens=(7, 3)
    )
    for limit in ("rate", "rate", "too_many_at_once"):
        metrics.observe_call("chat", outcome="RATE_LIMIT", duration_ms=1, limit=limit)
    metrics.observe_call(
        "chat", outcome="RATE_LIMIT", duration_ms=1, attempts=[Attempt("a", "m", "RATE_LIMIT")]
    )
    told = samples(metrics)

    def value(name: str, **labels: str) -> float:
        return told[f"llm_caller_{name}", tuple(sorted(labels.items()))]

    assert value("attempts_total", provider="a", error_class="TEMPORARY") == 1
    assert value("attempts_total", provider="b", error_class="none") == 1
    assert value("tokens_total", provider="b", model="n", direction="input") == 7
    assert value("tokens_total", provider="b", model="n", direction="output") == 3
    first = {"method": "chatStream", "outcome_class": "ok"}
    assert value("time_to_first_token_seconds_bucket", le="0.025", **first) == 0
    assert value("time_to_first_token_seconds_bucket", le="0.05", **first) == 1
    assert value("limit_refusals_total", limit="rate") == 2
    assert value("limit_refusals_total", limit="too_many_at_once") == 1


def test_models_past_the_cap_are_other_and_no_token_is_lost() -> None:
    metrics = Metrics()
    for n in range(MAX_MODELS + 5):
        attempts = [Attempt("a", f"model-{n}", None)]
        metrics.observe_call("chat", outcome="ok", duration_ms=1, attempts=attempts, tokens=(1, 2))
    sent = {
        dict(labels)["model"]: value
        for (name, labels), value in samples(metrics).items()
        if name == "llm_caller_tokens_total" and dict(labels)["direction"] == "input"
    }
    assert len(sent) == MAX_MODELS + 1
    assert (sent["model-0"], sent["other"], sum(sent.values())) == (1, 5, MAX_MODELS + 5)


def test_names_that_a_client_made_up_take_no_label_from_models_that_there_are() -> None:
    metrics = Metrics()
    for model in (*(f"junk-{n}" for n in range(MAX_MODELS + 5)), "real"):
        attempts = [Attempt("a", model, None)]
        metrics.observe_call(
            "chat", outcome="ok", duration_ms=1, attempts=attempts, tokens=(1, 2),
            offers=lambda provider, model: (provider, model) == ("a", "real"),
        )  # fmt: skip
    told = metrics.state().counters[TOKENS.name]
    assert told == {
        ("a", "other", "input"): MAX_MODELS + 5,
        ("a", "other", "output"): 2 * (MAX_MODELS + 5),
        ("a", "real", "input"): 1,
        ("a", "real", "output"): 2,
    }


def test_what_can_happen_is_told_as_zero_before_it_has() -> None:
    told = samples(Metrics())
    for name, labels in (
        ("authentication_failures", {"reason": "unknown_token"}),
        ("audit_failures", {"kind": "journal_append"}),
        ("audit_failures", {"kind": "journal_sync"}),
        ("limit_refusals", {"limit": "rate"}),
        ("log_lines_dropped", {}),
    ):
        assert told[f"llm_caller_{name}_total", tuple(labels.items())] == 0


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
def test_every_family_has_its_help_and_type(accept: str) -> None:
    metrics = counted(("ok", 5, 2, "a"))
    metrics.count("token_failures")
    text = text_of(metrics, accept)
    for family in FAMILIES:
        name = family.sample if not accept else family.sample.removesuffix("_total").removesuffix("_info")
        assert f"# HELP {name} " in text
        assert f"# TYPE {name} " in text
    assert text.endswith("# EOF\n") == bool(accept)
    if accept:
        assert list(openmetrics.text_string_to_metric_families(text))


def test_a_call_costs_a_few_microseconds_to_count() -> None:
    metrics, attempts = Metrics(), [Attempt("a", "m", "TEMPORARY"), Attempt("b", "n", None)]
    calls, best = 5_000, float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(calls):
            metrics.observe_call(
                "chatStream",
                outcome="ok",
                duration_ms=900,
                attempts=attempts,
                first_event_ms=40,
                tokens=(7, 3),
            )
        best = min(best, (time.process_time() - began) / calls * 1e6)
    print(f"a stream with two attempts: {best:.2f} µs to count")
    assert best < 50


def test_the_page_of_metrics_lists_them_all() -> None:
    page = render_docs()
    assert all(f"| `{family.sample}` | {family.kind} |" in page for family in FAMILIES)
