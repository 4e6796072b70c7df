"""The admin's lists: as many queries for fifty rows as for two."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext

from clients.loader import issue
from gateway.attribution import attributed
from gateway.configfile import peppers
from gateway.models import ConfigChange
from providers.models import ModelAlias, Provider
from telemetry import rollups
from telemetry.models import CallRollup, RequestLog
from telemetry.read_only import COUNTED, CappedPaginator

pytestmark = pytest.mark.django_db
NOW = datetime.now(UTC)
ROLLUPS = "/admin/telemetry/callrollup/"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


def calls(count: int) -> None:
    """Each of a client and a provider of its own, a minute apart."""
    rows = [
        RequestLog(
            call_id=os.urandom(16).hex(),
            request_id=f"r-{n}",
            tool_id=f"tool-{n}",
            token_id="t",
            method="chat",
            peer="127.0.0.1",
            provider=f"p-{n}",
            outcome="ok" if n % 2 else "TEMPORARY",
            status=200,
            started_at=NOW - timedelta(minutes=n),
            duration_ms=5,
        )
        for n in range(count)
    ]
    rollups.add(RequestLog.objects.bulk_create(rows))


def everything(first: int, last: int) -> None:
    for n in range(first, last):
        facts = {"kind": "lmstudio", "base_url": "http://localhost:1234/v1", "default_model": "m"}
        provider = Provider.objects.create(name=f"p-{n}", position=n, **facts)
        provider.capability_rows.create(capability="chat")
        provider.model_rows.create(model_id="m")
        ModelAlias.objects.create(name=f"alias-{n}", provider=provider, model_id="m")
        with attributed(f"author-{n}", "a test"):
            issue(f"tool-{n}", ("chat", "embed"), peppers()[0])
        User.objects.create_user(f"user-{n}")
        ConfigChange.objects.create(table="client", row=f"tool-{n}", action="added")
    calls(last - first)


def lists() -> Iterator[str]:
    for model in admin.site._registry:
        yield f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def test_every_list_costs_the_same_number_of_queries_for_two_rows_and_for_fifty(ada: Browser) -> None:
    def queries(path: str) -> int:
        ada.get(path)
        with CaptureQueriesContext(connection) as captured:
            assert ada.get(path).status_code == 200
        return len(captured)

    everything(0, 2)
    few = {path: queries(path) for path in lists()}
    everything(2, 52)
    many = {path: queries(path) for path in lists()}
    assert many == few


def test_a_list_of_sums_counts_no_more_than_it_can_show(ada: Browser) -> None:
    calls(2)
    with CaptureQueriesContext(connection) as captured:
        assert ada.get(ROLLUPS).status_code == 200
    counts = [query["sql"] for query in captured if "COUNT(" in query["sql"]]
    assert counts
    assert all(f"LIMIT {COUNTED}" in sql for sql in counts)
    assert CappedPaginator(RequestLog.objects.order_by("-pk"), 50).count == 2


def test_roll_ups_are_listed_by_what_they_sum_up(ada: Browser) -> None:
    calls(2)
    for sums, number in (("day-all", 1), ("minute-client", 2), ("hour-provider", 2)):
        listed = ada.get(ROLLUPS, {"sums": sums}).context["cl"].result_list
        assert len({row.name for row in listed}) == number, sums
    assert len(ada.get(ROLLUPS).context["cl"].result_list) == CallRollup.objects.count()
    assert ada.get(ROLLUPS, {"sums": "<b>"}).status_code in (200, 302)
