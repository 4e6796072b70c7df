"""The admin over Django's test client: what is registered, who may open what, and that no page shows a secret."""

from collections.abc import Iterator
from typing import Any

import pytest
from columns import too_large
from django.apps import apps
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client as Browser
from django.test import RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from django_ratelimit.core import get_usage

from clients.loader import issue
from gateway.configfile import peppers
from providers.loader import load_catalog
from providers.models import Provider
from providers.secrets import KeyRing
from providers.types import Timeouts

pytestmark = pytest.mark.django_db
KEY = "sk-canary-7f3a9b"
OWN_APPS = ("gateway", "providers", "clients", "telemetry")
TIMEOUTS = Timeouts(connect_ms=1, first_event_ms=1, idle_ms=1, total_ms=1)


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def _fresh_login_counts() -> Iterator[None]:
    yield
    cache.clear()


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


def provider_form(**more: Any) -> dict[str, Any]:
    rows = {
        "capability_rows-TOTAL_FORMS": 1,
        "capability_rows-INITIAL_FORMS": 0,
        "capability_rows-0-capability": "chat",
        "capability_rows-0-declared": "on",
        "capability_rows-0-score": "90",
    }
    provider = {
        "name": "lmstudio_new",
        "kind": "lmstudio",
        "base_url": "http://localhost:1234/v1",
        "default_model": "m",
        "enabled": "on",
        "credential_source": "default",
    }
    return provider | rows | more


def errors(response: Any) -> str:
    return str(response.context["errors"]) if response.context and "errors" in response.context else ""


OWN_LISTS = frozenset({"telemetry.requestlog"})
"""Tables whose list is not the stock one, with a filter of its own: the record is read by keyset."""


def test_every_table_is_in_the_admin_with_search_and_columns() -> None:
    for model in (m for app in OWN_APPS for m in apps.get_app_config(app).get_models()):
        registered = admin.site._registry.get(model)
        assert registered is not None, model
        if model._meta.label_lower in OWN_LISTS:
            continue
        assert registered.search_fields, model
        assert len(registered.list_display) > 1, model


def test_a_provider_is_added_with_a_key_that_is_never_shown(ada: Browser) -> None:
    form = provider_form(
        credential_source="stored", new_key=KEY, configured_models="one\ntwo\n\none\n", notes="<b>x</b>"
    )
    added = ada.post("/admin/providers/provider/add/", form)
    assert added.status_code == 302, errors(added)
    provider = Provider.objects.get(name="lmstudio_new")
    catalog = load_catalog(TIMEOUTS, KeyRing(("k" * 40,)))
    assert catalog.providers["lmstudio_new"].models == ("one", "two")
    assert KEY.encode() not in bytes(provider.stored_credential or b"")
    shown = [
        ada.get(f"/admin/providers/provider/{provider.pk}/{page}").content for page in ("change/", "history/")
    ]
    shown.append(ada.get("/admin/providers/provider/").content)
    assert all(KEY.encode() not in page for page in shown)
    assert b"<b>x</b>" not in shown[0]


def test_saving_again_keeps_the_stored_key_and_what_discovery_found(ada: Browser) -> None:
    ada.post("/admin/providers/provider/add/", provider_form(credential_source="stored", new_key=KEY))
    provider = Provider.objects.get()
    provider.model_rows.create(model_id="found", configured=False, discovered_at="2026-01-01T00:00Z")
    sealed = bytes(provider.stored_credential or b"")
    row = provider.capability_rows.get()
    form = provider_form(credential_source="stored", default_model="other", configured_models="mine")
    form |= {"capability_rows-INITIAL_FORMS": 1, "capability_rows-0-id": row.pk}
    saved = ada.post(f"/admin/providers/provider/{provider.pk}/change/", form)
    assert saved.status_code == 302, errors(saved)
    provider.refresh_from_db()
    assert (provider.default_model, bytes(provider.stored_credential or b"")) == ("other", sealed)
    assert list(provider.model_rows.values_list("model_id", "configured")) == [
        ("found", False),
        ("mine", True),
    ]


def test_a_provider_with_thousands_of_models_can_still_be_saved(ada: Browser) -> None:
    ada.post("/admin/providers/provider/add/", provider_form())
    provider = Provider.objects.get()
    rows = provider.model_rows
    rows.bulk_create(
        rows.model(provider=provider, model_id=f"m-{n}", configured=False, discovered_at="2026-01-01T00:00Z")
        for n in range(3000)
    )
    page = ada.get(f"/admin/providers/provider/{provider.pk}/change/").content.decode()
    assert "and 2950 more" in page
    assert len(page) < 100_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_url": "ftp://x"}, "http:// or https://"),
        ({"base_url": "http://user:pw@localhost/v1"}, "Credentials do not belong"),
        ({"base_url": "http://169.254.169.254/"}, "neither public nor loopback"),
        ({"base_url": "http://10.1.2.3/v1"}, "LLM_CALLER_EGRESS_ALLOW"),
        ({"name": "two words"}, "Letters, digits"),
        ({"kind": "anthropic", "capability_rows-0-capability": "embed"}, "have no embed"),
        ({"capability_rows-0-declared": ""}, "Enable at least one capability"),
        ({"credential_source": "env"}, "Name the environment variable"),
        ({"credential_source": "env", "credential_name": KEY}, "never a key"),
        ({"credential_source": "env", "credential_name": "not a name"}, "never a key"),
        ({"connect_ms": 999_999_999_999}, too_large()),
        ({"credential_source": "stored"}, "Enter the key to keep"),
        ({"new_key": KEY}, "Kept in the database"),
        ({"credential_source": "stored", "new_key": KEY + "é"}, "English keyboard"),
        ({"max_concurrency": 0}, "At least 1, or empty."),
    ],
)
def test_a_mistake_is_said_and_nothing_is_saved(ada: Browser, change: dict[str, Any], said: str) -> None:
    response = ada.post("/admin/providers/provider/add/", provider_form(**change))
    assert response.status_code == 200
    page = response.content.decode()
    assert said in page
    assert KEY not in page
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"credential_source": "env", "credential_name": "DJANGO_SECRET_KEY"}, "product&#x27;s own"),
        ({"credential_source": "env", "credential_name": "llm_caller_encryption_keys"}, "product&#x27;s own"),
        ({"credential_source": "file", "credential_name": "/proc/self/environ"}, "secrets of its own"),
        ({"credential_source": "file", "credential_name": "STATE/admin-password.txt"}, "secrets of its own"),
        ({"credential_source": "file", "credential_name": "STATE/../var/x"}, "secrets of its own"),
    ],
)
def test_the_product_s_own_secrets_are_not_to_be_had_as_a_provider_s_key(
    ada: Browser, change: dict[str, Any], said: str
) -> None:
    change["credential_name"] = change["credential_name"].replace("STATE", str(settings.STATE_DIR))
    if "/../" in change["credential_name"]:
        change["credential_name"] = str(settings.STATE_DIR / ".." / settings.STATE_DIR.name / "x")
    page = ada.post("/admin/providers/provider/add/", provider_form(**change)).content.decode()
    assert said in page
    assert not Provider.objects.exists()


def test_a_stored_key_is_asked_for_again_when_the_address_changes(ada: Browser) -> None:
    ada.post("/admin/providers/provider/add/", provider_form(credential_source="stored", new_key=KEY))
    provider = Provider.objects.get()
    row = provider.capability_rows.get()
    form = provider_form(credential_source="stored", base_url="http://localhost:9999/v1")
    form |= {"capability_rows-INITIAL_FORMS": 1, "capability_rows-0-id": row.pk}
    refused = ada.post(f"/admin/providers/provider/{provider.pk}/change/", form)
    assert "names another address" in refused.content.decode()
    same = form | {"base_url": "http://localhost:1234/v2"}
    assert ada.post(f"/admin/providers/provider/{provider.pk}/change/", same).status_code == 302
    again = form | {"new_key": "sk-another"}
    assert ada.post(f"/admin/providers/provider/{provider.pk}/change/", again).status_code == 302


def test_no_filter_in_the_address_tells_a_secret_letter_by_letter(ada: Browser) -> None:
    issue("bob", ("chat",), peppers()[0])
    for table, query in (
        ("clients/clienttoken", "digest__startswith=a"),
        ("clients/clienttoken", "key_id__startswith=a"),
        ("clients/client", "tokens__digest__startswith=a"),
        ("providers/provider", "stored_credential__isnull=False"),
    ):
        assert ada.get(f"/admin/{table}/?{query}").status_code in (302, 400), query


def test_a_number_beyond_all_columns_is_no_failure(ada: Browser) -> None:
    """PostgreSQL compares it and finds nothing; SQLite's driver cannot say it."""
    assert ada.get("/admin/providers/provider/?id__in=" + "9" * 25).status_code in (200, 400)
    assert ada.get(f"/admin/clients/client/{'9' * 4400}/issue/").status_code == 404


def test_deleting_a_provider_takes_its_aliases_along(ada: Browser) -> None:
    ada.post("/admin/providers/provider/add/", provider_form())
    provider = Provider.objects.get()
    alias = {"name": "fast", "provider": provider.pk, "model_id": "m", "position": 0}
    assert ada.post("/admin/providers/modelalias/add/", alias).status_code == 302
    assert load_catalog(TIMEOUTS, KeyRing(("k" * 40,))).aliases == {"fast": "lmstudio_new/m"}
    ada.post(f"/admin/providers/provider/{provider.pk}/delete/", {"post": "yes"})
    assert load_catalog(TIMEOUTS, KeyRing(("k" * 40,))).aliases == {}


def address_with_time(seconds: int = 40) -> str:
    """An address whose minute is far from over: each has its own, in which the library counts."""

    def left(address: str) -> int:
        usage = get_usage(RequestFactory().get("/"), group="left", key=lambda *_: address, rate="1/m")
        return int(usage["time_left"])

    return next(a for n in range(1, 255) if left(a := f"198.51.100.{n}") >= seconds)


def test_the_sixth_bad_login_is_a_429_and_a_good_one_is_not_counted() -> None:
    User.objects.create_superuser("ada", "", "ada's password 1")
    there = Browser(REMOTE_ADDR=address_with_time())
    statuses = [
        there.post("/admin/login/", {"username": "ada", "password": f"guess {n}"}).status_code
        for n in range(7)
    ]
    assert statuses == [200] * 5 + [429] * 2
    refused = there.post("/admin/login/", {"username": "ada", "password": "ada's password 1"})
    assert refused.json()["error"] == "RATE_LIMIT"
    assert refused.headers["retry-after"] == "60"


def test_good_logins_are_never_held_up() -> None:
    User.objects.create_superuser("ada", "", "ada's password 1")
    login = {"username": "ada", "password": "ada's password 1"}
    assert [Browser().post("/admin/login/", login).status_code for _ in range(8)] == [302] * 8


def admin_paths() -> list[str]:
    """Every admin route that takes no argument, and each argument's place filled with 1."""
    found: list[str] = []

    def walk(patterns: Any, prefix: str) -> None:
        for pattern in patterns:
            path = prefix + str(pattern.pattern)
            if isinstance(pattern, URLResolver):
                walk(pattern.url_patterns, path)
            elif isinstance(pattern, URLPattern) and "(?P" not in path:
                found.append("/" + path.replace("<path:object_id>", "1").replace("<id>", "1"))

    walk(get_resolver().url_patterns, "")
    return [path for path in found if path.startswith("/admin/") and "<" not in path]


ANY_STAFF = {
    "/admin/": 200,
    "/admin/login/": 302,
    "/admin/logout/": 405,
    "/admin/password_change/": 200,
    "/admin/password_change/done/": 200,
    "/admin/jsi18n/": 200,
    "/admin/tables/": 200,
    "/admin/second-factor/": 302,
    "/admin/second-factor/account/": 200,
}
"""What staff without a single right may open: the empty index and list of tables, and their own password."""


def refused_to_staff(path: str, status: int) -> bool:
    """Django sends who asks for an object that does not exist back to the index, rights or not."""
    return status == 403 or (status in (302, 404) and "/1/" in path)


def test_no_admin_page_opens_for_strangers_or_staff_without_rights() -> None:
    issue("bob", ("chat",), peppers()[0])
    olga = Browser()
    olga.force_login(User.objects.create_user("olga", "", "olga's password 1", is_staff=True))
    paths = admin_paths()
    wrong = []
    for path in paths:
        stranger = Browser().get(path, headers={"X-LLM-Caller-Token": "bob-token"}).status_code
        if stranger != (200 if path == "/admin/login/" else 302):
            wrong.append(("stranger", path, stranger))
        staff = olga.get(path).status_code
        if not (staff == ANY_STAFF[path] if path in ANY_STAFF else refused_to_staff(path, staff)):
            wrong.append(("staff without rights", path, staff))
    print(f"promise 7: {len(paths)} admin routes, {len(wrong)} wrong answers")
    assert len(paths) > 40
    assert wrong == []


def test_every_list_and_form_opens_for_the_superuser(ada: Browser) -> None:
    ada.post("/admin/providers/provider/add/", provider_form())
    issue("bob", ("chat",), peppers()[0])
    for model, registered in admin.site._registry.items():
        base = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
        assert ada.get(base).status_code == 200, base
        assert ada.get(base, {"q": "x"}).status_code == 200, base
        may_add = registered.has_add_permission(ada.get(base).wsgi_request)
        assert ada.get(base + "add/").status_code == (200 if may_add else 403), base
        for row in model._default_manager.all()[:1]:
            assert ada.get(f"{base}{row.pk}/change/").status_code == 200, base


def test_pages_carry_a_policy_without_exceptions(ada: Browser) -> None:
    policy = ada.get("/admin/").headers["content-security-policy"]
    assert {part.strip() for part in policy.split(";")} == {
        "default-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    }
