"""The alert rules and the dashboard in `docs/monitoring/`: right for their tools, and about metrics that there are."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
import yaml
from conftest import CHARLIE, RunningGateway, provider_entry, registry, running_gateway
from fake_provider import FakeProvider
from prometheus_client.parser import text_string_to_metric_families

from clients.types import METHODS as GRANTED
from providers.attempt import CANCELLED, DEFECT
from providers.errors import Classification
from telemetry.families import ATTEMPTS, FAMILIES, METHODS, MODEL_METHODS
from telemetry.spans import OPERATIONS

ROOT = Path(__file__).resolve().parent.parent
RULES = ROOT / "docs" / "monitoring" / "alerts.yml"
TESTED = ROOT / "tests" / "monitoring" / "alerts.test.yml"
DASHBOARD = json.loads((ROOT / "docs" / "monitoring" / "dashboard.json").read_text())
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
LABELS = {
    f"llm_caller_{family.name}": {*family.labels, *(["le"] if family.kind == "histogram" else [])}
    for family in FAMILIES
}


class Scraped(NamedTuple):
    """What `/metrics` answers right after the start, and after calls that ended in many ways."""

    fresh: str
    later: str


@pytest.fixture(scope="module")
def scrapes(tmp_path_factory: pytest.TempPathFactory, shared_fake: FakeProvider) -> Iterator[Scraped]:
    """Of a gateway with a log file."""
    folder = tmp_path_factory.mktemp("gateway")
    env = {"LLM_CALLER_LOG_FILE": str(folder / "gateway.log")}
    limited = {"toolId": "dora", "token": "dora-token", "allowedMethods": ["chat"]}
    limited |= {"rateLimit": {"maxRequests": 1, "intervalMs": 60_000}}
    providers = {"providers": {"lmstudio_a": provider_entry(shared_fake.url)}}
    with running_gateway(folder, providers, registry(limited), env=env) as gateway:
        fresh = gateway.get("/metrics", token=CHARLIE).text
        yield Scraped(fresh, text_after_calls(gateway))


@pytest.fixture
def scraped(scrapes: Scraped) -> str:
    return scrapes.later


def text_after_calls(gateway: RunningGateway) -> str:
    assert gateway.chat().status_code == 200
    gateway.frames()
    gateway.post("/mcp/embed", {"requestId": "e", "callerTool": "bob", "inputs": ["a"]})
    for model in ("503-then-ok-b", "status-500", "status-400", "error-in-stream"):
        gateway.chat(model=model, provider="lmstudio_a")
        with gateway.stream(model=model, provider="lmstudio_a") as response:
            response.read()
    gateway.chat(colour="red")
    gateway.chat(token="wrong")
    for _ in range(2):
        gateway.chat(token="dora-token")
    return gateway.get("/metrics", token=CHARLIE).text


def series_in(text: str) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    """Each sample's name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items()))
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def names_in(text: str) -> set[str]:
    """Every sample that a query could name, also of what has not happened yet."""
    endings = {"histogram": ("_bucket", "_sum", "_count")}
    return {
        name + ending
        for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
        for ending in endings.get(kind, ("",))
    }


def promtool(*arguments: str, stdin: str = "") -> str:
    if shutil.which("promtool") is None:
        if os.environ.get("TEST_REQUIRE_PROMTOOL"):
            pytest.fail("promtool is not installed")
        pytest.skip("promtool is not installed")
    done = subprocess.run(
        ["promtool", *arguments], input=stdin, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_metric_that_is_asked_for_is_there(scraped: str) -> None:
    there = names_in(scraped)
    asked = set()
    for query in [*QUERIES, *(rule["expr"] for rule in ALERTS)]:
        asked |= set(re.findall(r"\bllm_caller_\w+", query)) - {"llm_caller_build_info"}
    assert asked - there == set()
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    (named,) = re.findall(r"llm_caller_\w+", variables["job"]["definition"])
    assert named in there
    print(f"{len(asked)} metrics asked for by {len(ALERTS)} rules and {len(PANELS)} panels, all there")


def test_every_label_that_is_selected_by_is_one_of_its_metric() -> None:
    for query in [*QUERIES, *(rule["expr"] for rule in ALERTS)]:
        for name, selector in re.findall(
            r"\b(llm_caller_\w+?)(?:_total|_bucket|_count|_sum)?\{([^}]*)\}", query
        ):
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector))
            assert labels <= LABELS[name] | {"job"}, (name, labels)


def test_every_alert_says_what_happened_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in ALERTS}) == len(ALERTS)
    for rule in ALERTS:
        assert rule["alert"].startswith("LLMCaller")
        assert rule["labels"]["severity"] in ("info", "warning", "critical")
        assert rule["annotations"]["summary"]
        assert len(rule["annotations"]["description"]) > 40


def test_the_page_lists_every_alert() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    assert [rule["alert"] for rule in ALERTS if f"`{rule['alert']}`" not in page] == []


def test_prometheus_takes_the_rules_and_they_fire_when_they_should() -> None:
    assert f"{len(ALERTS)} rules found" in promtool("check", "rules", str(RULES))
    assert "SUCCESS" in promtool("test", "rules", str(TESTED))


def test_every_alert_is_shown_to_fire_and_not_to_fire() -> None:
    fires, rests = set(), set()
    for scene in yaml.safe_load(TESTED.read_text())["tests"]:
        for test in scene["alert_rule_test"]:
            (fires if test["exp_alerts"] else rests).add(test["alertname"])
    names = {rule["alert"] for rule in ALERTS}
    assert (names - fires, names - rests) == (set(), set())
    assert fires | rests <= names


def test_a_first_defect_of_any_method_is_an_increase(scraped: str) -> None:
    """A series that is born at 1 has not increased, for Prometheus."""
    assert set(METHODS) == set(GRANTED)
    assert set(MODEL_METHODS) == set(OPERATIONS)
    for method in METHODS:
        assert f'llm_caller_calls_total{{method="{method}",outcome="INTERNAL_ERROR"}} 0.0\n' in scraped


def test_what_a_rule_takes_the_rate_of_is_there_from_the_start(scrapes: Scraped) -> None:
    """Each series, at 0: one that first is told as 3 has not increased, for Prometheus."""
    asked = {
        (name, tuple(re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', selector)))
        for rule in ALERTS
        for name, selector in re.findall(
            r"\b(?:rate|increase)\((llm_caller_\w+)(?:\{([^}]*)\})?\[", rule["expr"]
        )
    }
    names = {name for name, _ in asked}
    assert len(names) >= 9
    fresh, later = series_in(scrapes.fresh), series_in(scrapes.later)
    for name, conditions in asked:
        for label, operator, text in conditions:
            wanted = text.split("|") if operator in ("=", "=~") else []
            there = {dict(labels).get(label) for found, labels in fresh if found == name}
            assert set(wanted) <= there, (name, label)
        assert any(found == name for found, _ in fresh), name
    own = {("method", method) for method in ("models", "getHealth")}
    came = {(name, labels) for name, labels in later - fresh if name in names and not labels & own}
    # Of calls by outcome, the rules ask for defects alone.
    assert {(name, labels) for name, labels in came if name != "llm_caller_calls_total"} == set()
    print(f"{len(names)} counters and histograms whose rates rules ask for, all there from the start")


def test_each_way_that_an_attempt_can_end_is_told_from_the_start() -> None:
    assert set(ATTEMPTS.born_by_provider) == {"none", *get_args(Classification), CANCELLED, DEFECT}


def test_shares_of_calls_are_of_those_of_models() -> None:
    """Scrapes and programs that poll /health are calls too, and would make any share small."""
    selected = f'method=~"{"|".join(MODEL_METHODS)}"'
    page = (ROOT / "docs" / "monitoring.md").read_text().replace("\\|", "|")
    asked = [*QUERIES, *(rule["expr"] for rule in ALERTS), *re.findall(r"`([^`\n]+)`", page)]
    shares = [query for query in asked if "call_duration_seconds_count" in query and "/" in query]
    assert len(shares) == 4
    for query in shares:
        counted = re.findall(r"call_duration_seconds_count(\S*?)\[", query)
        assert counted
        assert [selector for selector in counted if selected not in selector] == []


def test_prometheus_finds_nothing_wrong_with_the_metrics(scraped: str) -> None:
    assert promtool("check", "metrics", stdin=scraped) == ""


def test_grafana_finds_what_it_needs() -> None:
    assert DASHBOARD["uid"]
    assert DASHBOARD["title"]
    assert DASHBOARD["id"] is None, "else an import would overwrite another"
    assert DASHBOARD["schemaVersion"] >= 36
    assert {"from", "to"} <= set(DASHBOARD["time"])
    source, job = DASHBOARD["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert job["datasource"]["uid"] == "${datasource}"
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(identities)) == len(identities)
    for panel in PANELS:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])


def test_the_dashboard_shows_whether_the_record_verifies() -> None:
    """Red where the alerts of the same metrics fire."""
    rules = {rule["alert"]: rule["expr"] for rule in ALERTS}
    for metric, alert in (
        ("llm_caller_audit_findings", "LLMCallerRecordNotAsSigned"),
        ("llm_caller_audit_verified_timestamp_seconds", "LLMCallerRecordNotVerified"),
    ):
        (panel,) = [p for p in PANELS if any(metric in target["expr"] for target in p["targets"])]
        assert panel["type"] == "stat"
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        assert (steps[0]["color"], steps[-1]["color"]) == ("green", "red")
        above = float(rules[alert].split(">")[-1])
        assert steps[-1]["value"] in (above, above + 1), "findings are whole numbers"


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
