"""The sections above every page: which one a page belongs to, and that no table is left out."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser
from django.urls import reverse

from clients.loader import issue
from clients.models import Client, ClientToken
from gateway.configfile import peppers

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


def current(browser: Browser, path: str) -> list[str]:
    answer = browser.get(path)
    assert answer.status_code == 200, path
    return re.findall(r'aria-current="page">([^<]+)</a>', answer.content.decode())


@pytest.mark.parametrize(
    ("path", "section"),
    [
        ("", "Home"),
        ("providers/provider/", "Providers"),
        ("providers/modelalias/", "Providers"),
        ("providers/modelalias/add/", "Providers"),
        ("clients/client/permissions/", "Clients"),
        ("clients/clienttoken/", "Clients"),
        ("telemetry/requestlog/", "Record"),
        ("telemetry/legalhold/add/", "Record"),
        ("record/export/", "Record"),
        ("configuration/", "Configuration"),
        ("gateway/configversion/", "Configuration"),
        ("gateway/configchange/", "Configuration"),
        ("auth/user/", "All tables"),
        ("gateway/staffsecondfactor/", "All tables"),
        ("tables/", "All tables"),
    ],
)
def test_a_page_tells_its_section(ada: Browser, path: str, section: str) -> None:
    assert current(ada, f"/admin/{path}") == [section]


def test_a_token_s_pages_are_the_clients_(ada: Browser) -> None:
    issue("bob", ("chat",), peppers()[0])
    token, bob = ClientToken.objects.get().pk, Client.objects.get().pk
    for page in ("change", "rotate", "expiry", "revoke"):
        assert current(ada, f"/admin/clients/clienttoken/{token}/{page}/") == ["Clients"]
    assert current(ada, f"/admin/clients/client/{bob}/explain/") == ["Clients"]


def test_every_table_has_one_section(ada: Browser) -> None:
    lost = {}
    for model in admin.site._registry:
        path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        if len(found := current(ada, path)) != 1:
            lost[path] = found
    assert lost == {}


def test_aliases_are_reached_from_the_providers(ada: Browser) -> None:
    assert (
        'href="/admin/providers/modelalias/">Model aliases</a>'
        in ada.get("/admin/providers/provider/").content.decode()
    )
