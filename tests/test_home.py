"""The admin's home page: what it tells, to whom, and at what price."""

import html
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from clients.grants import change_methods
from clients.loader import issue
from clients.models import Client, ClientToken
from gateway import live
from gateway.configfile import CLIENTS, PROVIDERS, export_file, peppers
from gateway.models import ConfigChange
from gateway.runtime import Gateway, Observations
from providers.catalog import Observation
from providers.models import Provider
from telemetry import rollups, uses
from telemetry.criteria import CLASSES
from telemetry.figures import RANGES
from telemetry.health import Component, timestamp
from telemetry.log_file import LARGE_BYTES, RotatingFile
from telemetry.logs import log
from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
RECORD = "/admin/telemetry/requestlog/"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def config_dir(tmp_path: Path) -> Iterator[Path]:
    """Both files as exported, so that nothing has drifted before a test makes it."""
    before, settings.CONFIG_DIR = settings.CONFIG_DIR, tmp_path
    yield tmp_path
    settings.CONFIG_DIR = before


@pytest.fixture
def ada() -> Browser:
    return browser_of(User.objects.create_superuser("ada", "", "ada's password 1"))


def browser_of(user: User) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


def staff(name: str, *codenames: str) -> Browser:
    user = User.objects.create_user(name, "", f"{name}'s password 1", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return browser_of(user)


def record(count: int = 1, **more: Any) -> None:
    """Calls and their roll-ups, each of a client and a provider of its own."""
    rows = []
    for n in range(count):
        facts = {
            "tool_id": f"tool-{n}",
            "provider": f"p-{n}",
            "outcome": "ok",
            "status": 200,
            "started_at": NOW,
        }
        facts |= {"call_id": os.urandom(16).hex(), "token_id": "t", "method": "chat", "peer": "127.0.0.1"}
        facts |= {"duration_ms": 250, "first_event_ms": 40, "input_tokens": 1200, "output_tokens": 7}
        rows.append(RequestLog(**(facts | more)))
    stored = RequestLog.objects.bulk_create(rows)
    rollups.add(stored)
    uses.add(stored)


def provider(name: str, **more: Any) -> Provider:
    facts = {"kind": "lmstudio", "base_url": "http://localhost:1234/v1", "default_model": "m"}
    return Provider.objects.create(name=name, **(facts | more))


def words(browser: Browser, query: str = "") -> str:
    response = browser.get(f"/admin/{query}")
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def lines(browser: Browser) -> list[str]:
    """What needs attention, as words and the link's address; files of the configuration apart."""
    found = browser.get("/admin/").context["attention"]
    return [f"{line.words} -> {line.url}" for line in found if ".json" not in line.words]


class Running:
    """A gateway of this process whose probes have seen these providers and parts."""

    def __init__(self, providers: dict[str, Observation], *components: Component) -> None:
        self.gateway = Gateway.__new__(Gateway)
        self.gateway.observations = Observations(providers=providers, components=components, complete=True)

    def __enter__(self) -> None:
        live.set_current(self.gateway)

    def __exit__(self, *_: object) -> None:
        live.set_current(None)


def seen(status: Any, detail: str = "") -> Observation:
    return Observation(status=status, at=NOW.timestamp(), detail=detail, models=("m",))


def test_before_the_first_call_the_page_says_what_to_do_next(ada: Browser) -> None:
    page = words(ada)
    assert "No call has been recorded yet." in page
    assert 'href="/admin/clients/client/"' in page
    assert "No provider is enabled." in page
    assert lines(ada) == [
        "Nothing has been recorded yet: no client has called with a good token. -> /admin/clients/client/"
    ]


@pytest.mark.parametrize("name", RANGES)
def test_a_call_is_in_every_range_by_provider_by_client_and_by_error(ada: Browser, name: str) -> None:
    record()
    record(outcome="TEMPORARY", status=503)
    page = words(ada, f"?range={name}")
    assert f'<a href="?range={name}" aria-current="true">' in page
    assert f"Figures of the last {RANGES[name].label}" in page
    for link in ("outcome=TEMPORARY", "provider=p-0", "client=tool-0"):
        assert f'href="/admin/telemetry/requestlog/?{link}&amp;since=' in page
    cards = {
        card.title: (card.figure, card.note) for card in ada.get(f"/admin/?range={name}").context["cards"]
    }
    assert cards["Calls"][0] == "2"
    assert cards["Failed"] == ("1", "50 % of the calls")
    assert cards["Refused"] == cards["Broken off"] == ("0", "0 % of the calls")
    assert cards["Tokens in"][0] == "2,400"
    assert cards["Latency (p50)"] == ("225 ms", "p95 250 ms · p99 250 ms")


@pytest.mark.parametrize("name", RANGES)
def test_a_figure_leads_to_the_calls_that_it_counts(ada: Browser, name: str) -> None:
    limited = {"tool_id": "bob", "provider": "lmstudio_gpu", "outcome": "RATE_LIMIT", "status": 429}
    record(2, **limited)
    record(**limited, started_at=NOW - timedelta(days=40))
    page = ada.get(f"/admin/?range={name}").content.decode()
    links = re.findall(r'href="(/admin/telemetry/requestlog/\?[^"]+)"', page)
    assert len(links) == 7, "all, refused, by outcome; of provider and client by name, and by outcome"
    assert {listed(ada, link) for link in links} == {2}


def listed(browser: Browser, link: str) -> int:
    """How many calls the record lists there."""
    page = browser.get(html.unescape(link)).content.decode()
    return len(re.findall(r'href="/admin/telemetry/requestlog/[^/"]+/change/', page))


def test_every_number_of_calls_is_what_the_record_lists_in_the_same_word(ada: Browser) -> None:
    """Each outcome once without a provider, and one to four times of one that was asked."""
    for place, code in enumerate(sum(CLASSES.values(), ())):
        record(place % 4 + 1, tool_id="bob", provider="lmstudio_gpu", outcome=code, status=429)
        record(tool_id="bob", provider="", outcome=code, status=429)
    response = ada.get("/admin/")
    assert {one.key for one in response.context["endings"]} == set(CLASSES) - {"served"}
    cards = {card.title: card for card in response.context["cards"]}
    since = html.unescape(response.context["counted_since"])
    for title, name in (("Failed", "failed"), ("Refused", "refused"), ("Broken off", "broken-off")):
        link = f"{RECORD}?outcome={name}&{since}"
        assert html.escape(link) in response.content.decode()
        assert cards[title].figure == str(listed(ada, link)) != "0"
        (ending,) = [one for one in response.context["endings"] if one.key == name]
        assert {count.code for count in ending.counts} == set(CLASSES[name])
        for count in ending.counts:
            assert count.calls == str(listed(ada, f"{RECORD}?outcome={count.code}&{since}"))
        for field, who in (("provider", "lmstudio_gpu"), ("client", "bob")):
            (cell,) = [cell for cell in cells_of(response, field) if cell.key == name]
            assert cell.text == str(listed(ada, f"{RECORD}?{field}={who}&outcome={name}&{since}"))


def cells_of(response: Any, field: str) -> Any:
    (rows,) = [one.rows for one in response.context["breakdowns"] if one.field == field]
    return rows[0].cells


def test_each_provider_and_each_client_has_all_figures_of_its_own(ada: Browser) -> None:
    record(2, tool_id="bob", provider="lmstudio_gpu")
    record(tool_id="bob", provider="lmstudio_gpu", outcome="TEMPORARY", status=503, first_event_ms=None)
    record(tool_id="bob", provider="", outcome="BAD_REQUEST", status=400, first_event_ms=None)
    response = ada.get("/admin/?range=1h")
    providers, clients = response.context["breakdowns"]
    (of_provider,), (of_client,) = providers.rows, clients.rows
    shown = {cell.label: (cell.text, cell.share) for cell in of_client.cells}
    assert shown["Calls"] == ("4", "")
    assert shown["Rate"] == ("4 an hour", "")
    assert shown["Failed"] == shown["Refused"] == ("1", "25 %")
    assert shown["Broken off"] == ("0", "0 %")
    assert shown["Latency p99"] == ("250 ms", "")
    assert [shown[f"First token {name}"][0] for name in ("p50", "p95", "p99")] == ["35 ms", "40 ms", "40 ms"]
    assert (shown["Tokens in"][0], shown["Tokens out"][0]) == ("4,800", "28")
    assert [cell.text for cell in of_provider.cells][:4] == ["3", "3 an hour", "1", "0"]
    page = " ".join(response.content.decode().split())
    for link in ("provider=lmstudio_gpu", "client=bob"):
        assert f'href="/admin/telemetry/requestlog/?{link}&amp;outcome=TEMPORARY&amp;since=' in page


def test_refused_calls_and_those_that_clients_left_did_not_fail(ada: Browser) -> None:
    record(8)
    record(tool_id="bob", provider="", outcome="BAD_REQUEST", status=400)
    record(tool_id="bob", provider="", outcome="RATE_LIMIT", status=429)
    record(tool_id="bob", outcome="RATE_LIMIT", status=429)
    record(tool_id="bob", outcome="CLIENT_CLOSED", status=499)
    context = ada.get("/admin/?range=1h").context
    cards = {card.title: card.figure for card in context["cards"]}
    assert [cards[title] for title in ("Calls", "Failed", "Refused", "Broken off")] == ["12", "0", "3", "1"]
    failed, refused, broken_off = context["endings"]
    assert failed.counts == ()
    assert [(count.code, count.calls) for count in refused.counts] == [
        ("RATE_LIMIT", "2"),
        ("BAD_REQUEST", "1"),
    ]
    assert [(count.code, count.part) for count in broken_off.counts] == [("CLIENT_CLOSED", "100 %")]
    calls = context["charts"][0]
    assert [(series.label, sum(series.values)) for series in calls.series] == [
        ("served", pytest.approx(8)),
        ("failed", pytest.approx(0)),
        ("refused", pytest.approx(3)),
        ("broken off", pytest.approx(1)),
    ]


def test_a_rate_is_told_in_a_unit_that_one_can_picture(ada: Browser) -> None:
    record(4, started_at=NOW - timedelta(minutes=90))
    context = ada.get("/admin/?range=7d").context
    assert context["cards"][0].note.endswith(" a day")
    assert context["charts"][0].title == "Calls per hour"


def test_no_latency_is_above_the_longest_call(ada: Browser) -> None:
    record(duration_ms=240_000, first_event_ms=61_000)
    cards = {card.title: (card.figure, card.note) for card in ada.get("/admin/").context["cards"]}
    assert cards["Latency (p50)"] == ("4 min", "p95 4 min · p99 4 min")
    assert cards["First token (p50)"] == ("61 s", "p95 61 s · p99 61 s")


def test_every_chart_has_its_numbers_as_a_table_and_as_data(ada: Browser) -> None:
    record()
    response = ada.get("/admin/?range=1h")
    page = response.content.decode()
    assert page.count("Numbers<span") == page.count('class="chart"') == 4
    assert '<script id="chart-data" type="application/json">' in page
    for chart in response.context["charts"]:
        assert len(chart.rows) == len(chart.times) == 60
        assert all(len(series.values) == 60 for series in chart.series)
    calls = response.context["charts"][0]
    assert sum(calls.series[0].values) == pytest.approx(1)


def test_an_unknown_range_is_the_usual_one(ada: Browser) -> None:
    record()
    assert "Figures of the last 24 hours" in words(ada, "?range=<b>")


def test_a_range_without_calls_says_so(ada: Browser) -> None:
    record(started_at=NOW - timedelta(days=3))
    assert "No call in this time." in words(ada, "?range=1h")
    assert "No call in this time." not in words(ada, "?range=7d")


def test_clients_that_nothing_answers_are_named_until_they_are_answered(ada: Browser) -> None:
    def restricted(tool_id: str, names: list[str], methods: tuple[str, ...] = ("chat",), **more: Any) -> int:
        client = Client.objects.create(tool_id=tool_id, allowed_providers=names, **more)
        change_methods(client, add=methods, remove=())
        return client.pk

    provider("up")
    provider("off", enabled=False)
    bob = restricted("bob", ["nosuch", "gone"])
    charlie = restricted("charlie", ["off", "nosuch"])
    restricted("none-meant", [])
    restricted("disabled", ["nosuch"], enabled=False)
    restricted("looks-only", ["nosuch"], methods=("getHealth", "models"))
    restricted("answered", ["nosuch", "up"])
    found = [line for line in lines(ada) if line.startswith("Nothing answers")]
    assert found == [
        "Nothing answers client bob: there is no provider called nosuch, gone. -> "
        f"/admin/clients/client/{bob}/explain/",
        "Nothing answers client charlie: there is no provider called nosuch and off is disabled. -> "
        f"/admin/clients/client/{charlie}/explain/",
    ]
    for n in range(8):
        restricted(f"tool-{n}", ["nosuch"])
    (more,) = [line for line in lines(ada) if "more clients" in line]
    assert more == "5 more clients are answered by nothing. -> /admin/clients/client/"
    provider("nosuch")
    assert not [line for line in lines(ada) if "answer" in line and "client" in line]


def test_it_is_the_same_number_of_queries_with_one_and_with_fifty_of_everything(ada: Browser) -> None:
    counts = []
    for many in (1, 50):
        record(many)
        for n in range(many):
            provider(f"p-{many}-{n}")
            Client.objects.create(tool_id=f"stranded-{many}-{n}", allowed_providers=["nosuch"])
            change_methods(Client.objects.get(tool_id=f"stranded-{many}-{n}"), add=["chat"], remove=())
            issue(f"tool-{many}-{n}", ("chat",), peppers()[0], NOW + timedelta(days=1))
        for query in [f"?range={name}" for name in RANGES]:
            ada.get(f"/admin/{query}")
            with CaptureQueriesContext(connection) as captured:
                ada.get(f"/admin/{query}")
            counts.append(len(captured))
    assert len(set(counts)) == 1, counts


def test_staff_without_rights_are_told_that_there_is_nothing_for_them() -> None:
    record()
    provider("lmstudio_gpu", kind="openai")
    page = words(staff("olga"))
    assert "Your account may see neither figures nor providers nor clients." in page
    for hidden in ("tool-0", "p-0", "lmstudio_gpu", "Needs attention", "chart-data"):
        assert hidden not in page


def test_who_may_not_see_the_record_sees_no_figures() -> None:
    record()
    provider("lmstudio_gpu", kind="openai")
    page = words(staff("olga", "view_provider"))
    assert "Figures are for those who may see the record of calls" in page
    assert "lmstudio_gpu" in page
    assert "tool-0" not in page
    assert "chart-data" not in page


def test_who_may_see_only_the_record_sees_neither_providers_nor_tokens() -> None:
    record()
    provider("keyless", kind="openai")
    issue("bob", ("chat",), peppers()[0], NOW + timedelta(days=1))
    page = words(staff("olga", "view_requestlog"))
    assert "tool-0" in page
    assert "Providers now" not in page
    assert "keyless" not in page
    assert "bob" not in page


def test_tokens_that_end_within_two_weeks_or_have_ended_are_named(ada: Browser) -> None:
    record()
    for name, days in (("soon", 13), ("later", 15), ("ended", -1)):
        issue(name, ("chat",), peppers()[0], NOW + timedelta(days=days))
    ids = dict(ClientToken.objects.values_list("client__tool_id", "token_id"))
    pages = {c.tool_id: f"/admin/clients/client/{c.pk}/change/" for c in Client.objects.all()}
    day = {name: f"{NOW + timedelta(days=days):%Y-%m-%d}" for name, days in (("soon", 13), ("ended", -1))}
    assert lines(ada) == [
        f"Token {ids['soon']} of soon expires on {day['soon']}. -> {pages['soon']}",
        f"Token {ids['ended']} of ended expired on {day['ended']} and is still listed. -> {pages['ended']}",
    ]
    Client.objects.filter(tool_id="soon").update(enabled=False)
    ClientToken.objects.filter(client__tool_id="ended").update(revoked_at=NOW)
    assert lines(ada) == []


def test_many_lines_of_one_sort_are_counted(ada: Browser) -> None:
    record()
    for n in range(8):
        issue(f"tool-{n}", ("chat",), peppers()[0], NOW + timedelta(days=1, hours=n))
    assert len(lines(ada)) == 6
    assert lines(ada)[-1] == "3 more tokens expire within 14 days. -> /admin/clients/clienttoken/"


def granted(name: str, *methods: str, days_ago: int = 31) -> Client:
    """A client with a token, and grants as old."""
    issue(name, methods, peppers()[0])
    then = NOW - timedelta(days=days_ago)
    ClientToken.objects.filter(client__tool_id=name).update(created_at=then)
    ConfigChange.objects.filter(row__startswith=f"{name} ").update(created_at=then)
    return Client.objects.get(tool_id=name)


def test_clients_that_used_no_grant_for_a_month_are_named(ada: Browser) -> None:
    record()
    for name in ("idle", "never", "busy", "disabled", "revoked"):
        granted(name, "chat")
    granted("new", "chat", days_ago=29)
    granted("ungranted")
    record(tool_id="idle", started_at=NOW - timedelta(days=31))
    record(tool_id="busy", started_at=NOW - timedelta(days=29))
    record(tool_id="never", outcome="FORBIDDEN", status=403)
    ClientToken.objects.filter(client__tool_id="revoked").update(revoked_at=NOW)
    Client.objects.filter(tool_id="disabled").update(enabled=False)
    assert [line.split(" has used")[0] for line in lines(ada)] == ["Client idle", "Client never"]


def test_single_grants_that_were_not_used_for_a_month_are_named(ada: Browser) -> None:
    bob = granted("bob", "chat", "embed", "models")
    record(tool_id="bob")
    record(tool_id="bob", method="embed", started_at=NOW - timedelta(days=31))
    record(tool_id="charlie", method="models")
    assert lines(ada) == [
        f"Client bob has not used its methods embed, models for 30 days. -> /admin/clients/client/{bob.pk}/change/"
    ]
    record(tool_id="bob", method="embed")
    assert lines(ada) == [
        f"Client bob has not used its method models for 30 days. -> /admin/clients/client/{bob.pk}/change/"
    ]


def test_a_grant_that_is_not_yet_a_month_old_may_be_unused(ada: Browser) -> None:
    bob = granted("bob", "chat")
    record(tool_id="bob")
    change_methods(bob, add=["embed"], remove=[])
    assert lines(ada) == []
    ConfigChange.objects.filter(row="bob may embed").update(created_at=NOW - timedelta(days=31))
    assert len(lines(ada)) == 1


def test_a_provider_that_is_not_well_is_named_with_its_cause(ada: Browser) -> None:
    record()
    sick, well = provider("sick"), provider("well", position=1)
    off = provider("off", position=2, enabled=False)
    health = {"sick": seen("failed", "No connection in time"), "well": seen("ok"), "off": seen("failed")}
    with Running(health):
        assert lines(ada) == [
            f"Provider sick failed its last check: No connection in time. -> /admin/providers/provider/{sick.pk}/change/"
        ]
        context = ada.get("/admin/").context["health"]
    assert [(one.name, one.state, one.words) for one in context["shown"]] == [
        ("sick", "failed", "No connection in time"),
        ("well", "ok", "Answers; lists 1 model"),
    ]
    assert (context["enabled"], context["disabled"]) == (2, 1)
    assert {well.name, off.name} == {"well", "off"}


def test_without_a_gateway_in_this_process_the_page_says_so(ada: Browser) -> None:
    provider("lmstudio_gpu")
    assert "No gateway runs in this process" in words(ada)


def test_a_missing_credential_is_named_once_and_only_where_it_matters(
    ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    record()
    facts = {"credential_source": "env", "credential_name": "NO_SUCH_KEY"}
    keyless = provider("keyless", **facts)
    provider("off", enabled=False, **facts)
    with Running({"keyless": seen("degraded", "The environment variable NO_SUCH_KEY is not set")}):
        assert lines(ada) == [
            "Provider keyless gets no calls: the environment variable NO_SUCH_KEY is not set. "
            f"-> /admin/providers/provider/{keyless.pk}/change/"
        ]


def test_a_backlog_of_the_journal_is_told(ada: Browser) -> None:
    record()
    audit = Component(name="audit", status="degraded", timestamp=timestamp(), details="65 MiB wait")
    other = Component(name="provider:x", status="failed", timestamp=timestamp())
    with Running({}, audit, other, Component(name="database", status="ok", timestamp=timestamp())):
        assert lines(ada) == ["Keeping the record is impaired: 65 MiB wait. -> /docs/runbook"]


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("orchestrator", "degraded", "Sending calls on to providers is impaired: All are down."),
        ("transport", "degraded", "Answering in time is impaired: All are down."),
        ("database", "failed", "The database does not work: All are down."),
    ],
)
def test_a_part_that_is_not_well_is_told_by_what_it_does(
    ada: Browser, name: str, status: Any, said: str
) -> None:
    record()
    with Running({}, Component(name=name, status=status, timestamp=timestamp(), details="All are down")):
        assert lines(ada) == [f"{said} -> /docs/runbook"]


@pytest.mark.django_db(transaction=True)
def test_files_that_differ_from_the_database_are_told(ada: Browser, config_dir: Path) -> None:
    def drifted() -> list[str]:
        return [line.words for line in ada.get("/admin/").context["attention"] if ".json" in line.words]

    record()
    assert drifted() == []
    for name in (PROVIDERS, CLIENTS):
        export_file(name, config_dir)
    assert drifted() == []
    first = provider("new")
    assert drifted() == ["providers.json is older than the database: export it to bring it up to date."]
    (config_dir / CLIENTS).write_text('{"clients": []}')
    assert "client-registry.json has been edited, but not imported" in drifted()[1]
    (config_dir / PROVIDERS).write_text('{"providers": {}}')
    assert "have both changed" in drifted()[0]
    export_file(PROVIDERS, config_dir)
    assert len(drifted()) == 1
    first.delete()
    assert len(drifted()) == 2


def test_a_file_that_cannot_be_read_is_told(ada: Browser, config_dir: Path) -> None:
    (config_dir / PROVIDERS).mkdir()
    assert "providers.json cannot be read: Is a directory." in words(ada)


def test_a_log_file_that_the_runbook_warns_of_needs_attention(ada: Browser, tmp_path: Path) -> None:
    path = tmp_path / "gateway.log"
    log._file = RotatingFile(path, max_bytes=LARGE_BYTES * 10, max_files=2)
    try:
        path.touch()
        assert not [words for words in lines(ada) if "log" in words]
        with path.open("wb") as file:
            file.truncate(LARGE_BYTES + 1024 * 1024)
        for number in (1, 2):
            (tmp_path / f"gateway.log.{number}").touch()
        assert [words for words in lines(ada) if "log" in words] == [
            "The log file has grown to 6.0 MiB. -> /docs/runbook",
            "All 2 rotated log files are in use: the oldest lines are being deleted. -> /docs/runbook",
        ]
    finally:
        log._file = None
