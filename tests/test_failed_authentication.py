"""Who showed no good token is on record, summed up, with the reason that the client is not told."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import BOB, RunningGateway, chat_body, provider_entry, registry, running_gateway
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client as Browser
from django.utils import timezone
from fake_provider import FakeProvider

from telemetry.models import FailedAuthentication

PAGE = "/admin/telemetry/failedauthentication/"
PAST, FUTURE = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


def failures(gateway: RunningGateway) -> list[dict[str, Any]]:
    code = (
        "import json; from telemetry.models import FailedAuthentication as F; "
        "print(json.dumps(list(F.objects.order_by('kind').values()), default=str))"
    )
    told: list[dict[str, Any]] = json.loads(gateway.manage("shell", "-v", "0", "-c", code).stdout)
    return told


def test_failed_logins_of_staff_are_on_record_without_what_was_typed(
    tmp_path: Path, fake: FakeProvider
) -> None:
    providers = {"providers": {"lmstudio_fake": provider_entry(fake.url)}}
    with running_gateway(tmp_path, providers) as gateway:
        gateway.client.get("/admin/login/")
        form = {"csrfmiddlewaretoken": gateway.client.cookies["csrftoken"], "username": "my password, oh no"}
        answers: list[int] = []
        while 429 not in answers and len(answers) <= 10:  # another minute may begin once
            answers.append(gateway.client.post("/admin/login/", data=form | {"password": "x"}).status_code)
        assert answers in ([200] * wrong + [429] for wrong in range(5, 11))
        metrics = gateway.get("/metrics").text
        gateway.stop()
        told = failures(gateway)
    whom = {(row["kind"], row["route"], row["address"]) for row in told}
    assert whom == {("password", "/admin/login/", "127.0.0.1")}
    assert sum(row["count"] for row in told) == len(answers)
    assert "my password" not in str(told)
    assert "failed_authentication_password" in metrics


def test_the_record_tells_why_each_failed_and_the_client_is_not_told(
    tmp_path: Path, fake: FakeProvider
) -> None:
    others = [
        {"toolId": "off", "token": "off-token", "enabled": False, "allowedMethods": ["chat"]},
        {"toolId": "old", "token": "old-token", "allowedMethods": ["chat"]},
        {"toolId": "gone", "token": "gone-token", "allowedMethods": ["chat"]},
    ]
    providers = {"providers": {"lmstudio_fake": provider_entry(fake.url)}}
    with running_gateway(tmp_path, providers, registry(*others), start=False) as gateway:
        gateway.manage(
            "shell", "-c",
            "from clients.models import ClientToken as T; from django.utils import timezone; "
            "T.objects.filter(client__tool_id='old').update(expires_at=timezone.now()); "
            "T.objects.filter(client__tool_id='gone').update(revoked_at=timezone.now())",
        )  # fmt: skip
        gateway.start()
        shown = ("off-token", "old-token", "gone-token", "no-such-token")
        answers = [gateway.chat(token=token) for token in shown for _ in range(2)]
        assert {(a.status_code, a.json()["message"]) for a in answers} == {(403, "Unknown client token")}
        assert gateway.get("/health", token=None).status_code == 401
        assert gateway.get("/metrics", token=None).status_code == 401
        both = gateway.post("/mcp/embed", chat_body(), Authorization="Bearer other-token")
        assert both.json()["reason"] == "AMBIGUOUS_TOKEN"
        with gateway.stream(token="no-such-token") as response:
            assert response.status_code == 403
        assert gateway.chat().status_code == 200
        metrics = gateway.get("/metrics").text
        gateway.stop()
        told = failures(gateway)
    counted = {
        kind: sum(row["count"] for row in told if row["kind"] == kind) for kind in {r["kind"] for r in told}
    }
    assert counted == {
        "disabled": 2, "expired": 2, "revoked": 2, "unknown": 3, "missing": 2, "ambiguous": 1,
    }  # fmt: skip
    assert {row["address"] for row in told} == {"127.0.0.1"}
    assert {row["route"] for row in told if row["kind"] == "ambiguous"} == {"/mcp/embed"}
    assert "token" not in json.dumps([row | {"route": ""} for row in told]).lower()
    assert 'llm_caller_events_total{event="failed_authentication_revoked"} 2.0' in metrics


@pytest.fixture
def olga(db: None) -> Browser:
    call_command("collectstatic", interactive=False, verbosity=0)
    user = User.objects.create_user("olga", "", "a long password 1", is_staff=True)
    user.groups.add(Group.objects.get(name="auditors"))
    browser = Browser()
    browser.force_login(user)
    return browser


def failed(address: str, ago: timedelta, kind: str = "unknown") -> None:
    at = timezone.now() - ago
    FailedAuthentication.objects.create(
        started_at=at, address=address, kind=kind, route="/mcp/chat", count=3, first_seen=at, last_seen=at
    )


def shown(browser: Browser, **query: str) -> list[str]:
    answer = browser.get(PAGE, query)
    assert answer.status_code == 200
    return [row.address for row in answer.context["cl"].result_list]


def test_olga_filters_by_address_time_and_kind_and_changes_nothing(olga: Browser) -> None:
    assert "Every call so far showed a good token." in olga.get(PAGE).content.decode()
    failed("10.0.0.1", timedelta(minutes=5))
    failed("10.0.0.2", timedelta(hours=5), "revoked")
    failed("10.0.0.1", timedelta(days=5))
    assert shown(olga) == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]
    assert shown(olga, q="10.0.0.2") == ["10.0.0.2"]
    assert shown(olga, past="1h") == ["10.0.0.1"]
    assert shown(olga, past="7d", q="10.0.0.1") == ["10.0.0.1", "10.0.0.1"]
    assert shown(olga, kind__exact="revoked") == ["10.0.0.2"]
    assert "No failed authentication is like that." in olga.get(PAGE, {"q": "10.0.0.9"}).content.decode()
    page = olga.get(PAGE).content.decode()
    assert "token of a disabled client" in page
    assert BOB not in page
    row = FailedAuthentication.objects.all()[0]
    assert olga.post(f"{PAGE}{row.pk}/change/", {"count": 0}).status_code == 403
    assert olga.post(f"{PAGE}{row.pk}/delete/", {"post": "yes"}).status_code == 403
    assert PAGE in olga.get("/admin/telemetry/requestlog/").content.decode()
