"""*Find models* on the provider's form: an operator who knows no model's name adds a provider all the same."""

from typing import Any

import pytest
from conftest import RunningGateway
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client as Browser
from fake_provider import FakeProvider
from playwright.sync_api import Page
from test_browser import complaints, gateway, log_in, page  # noqa: F401 - fixtures

from gateway.configfile import PROVIDERS, render
from gateway.models import ConfigVersion
from providers.models import Provider
from providers.secrets import KeyRing

FIND = "/admin/providers/provider/find-models/"
KEY = "sk-canary-f1nd"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def ada(**more: Any) -> Browser:
    browser = Browser(**more)
    known = User.objects.filter(username="ada").first()
    browser.force_login(known or User.objects.create_superuser("ada"))
    return browser


def typed(url: str, **more: Any) -> dict[str, Any]:
    """The form of a person who has typed nothing but kind and address."""
    return {"kind": "lmstudio", "base_url": url, "credential_source": "default"} | more


def find(browser: Browser, url: str, **more: Any) -> dict[str, Any]:
    answer = browser.post(FIND, typed(url, **more))
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    found: dict[str, Any] = answer.json()
    return found


def stored(url: str) -> Provider:
    row = Provider(
        name="keyed", kind="lmstudio", base_url=url, default_model="echo", credential_source="stored"
    )
    row.stored_credential = KeyRing(settings.ENCRYPTION_KEYS).seal(KEY, bound_to=str(row.uid))
    row.save()
    row.capability_rows.create(capability="chat")
    return row


@pytest.mark.django_db(transaction=True)
def test_models_are_found_before_anything_else_is_typed_and_nothing_is_kept(fake: FakeProvider) -> None:
    before = render(PROVIDERS)
    found = find(ada(), fake.url)
    assert found == {
        "level": "ok",
        "said": "2 models found. Choose the default model, here or in the field.",
        "models": ["echo", "embed-3"],
    }
    assert [hit.path for hit in fake.hits] == ["/v1/models"], "costs no tokens"
    assert render(PROVIDERS) == before
    assert not ConfigVersion.objects.exists()


@pytest.mark.django_db
def test_a_typed_key_is_sent_and_comes_back_in_no_answer(fake: FakeProvider) -> None:
    found = find(ada(), fake.url, credential_source="stored", new_key=KEY)
    assert fake.hits[0].headers["authorization"] == f"Bearer {KEY}"
    fake.models_status = 401
    refused = find(ada(), fake.url, credential_source="stored", new_key=KEY)
    assert "The provider refused the credential (status 401). Replace the key" in refused["said"]
    assert KEY not in str(found) + str(refused)


@pytest.mark.django_db
def test_a_stored_key_is_sent_only_to_the_address_that_it_was_stored_for(fake: FakeProvider) -> None:
    row = stored(fake.url)
    again = find(ada(), fake.url, provider=row.pk, credential_source="stored")
    assert again["level"] == "ok"
    assert fake.hits[0].headers["authorization"] == f"Bearer {KEY}"
    with FakeProvider() as other:
        moved = find(ada(), other.url, provider=row.pk, credential_source="stored")
        assert "enter the key again" in moved["said"]
        assert other.hits == []
    alone = find(ada(), fake.url, credential_source="stored")
    assert "Enter the key to keep" in alone["said"]
    assert len(fake.hits) == 1


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"base_url": ""}, "Base URL: This field is required."),
        ({"base_url": "ftp://x"}, "An http:// or https:// URL is needed"),
        ({"kind": ""}, "Kind: This field is required."),
        (
            {"base_url": "http://192.168.1.20:1234/v1"},
            "add 192.168.1.20/32 to LLM_CALLER_EGRESS_ALLOW in .env and restart the gateway.",
        ),
        ({"base_url": "http://169.254.169.254/v1"}, "No setting opens it."),
        ({"credential_source": "env", "credential_name": "DJANGO_SECRET_KEY"}, "product's own"),
        ({"credential_source": "file", "credential_name": "/proc/self/environ"}, "secrets of its own"),
        ({"credential_source": "env", "credential_name": "NO_SUCH_KEY"}, "NO_SUCH_KEY is not set. Set it"),
        ({"base_url": "http://127.0.0.1:9/v1"}, "cannot be reached; is it running"),
        ({"base_url": "http://no-such-host.invalid/v1"}, "cannot be resolved"),
    ],
)
@pytest.mark.django_db
def test_what_is_wrong_is_said_in_plain_words_and_what_to_do(more: dict[str, Any], said: str) -> None:
    found = find(ada(), "http://127.0.0.1:9/v1", **more)
    assert found["level"] != "ok"
    assert said in found["said"]
    assert found["models"] == []


@pytest.mark.django_db
def test_no_models_and_a_default_that_is_not_among_them_are_told(fake: FakeProvider) -> None:
    assert "“gone” is not among them" in find(ada(), fake.url, default_model="gone")["said"]
    fake.models = []
    assert find(ada(), fake.url)["said"] == (
        "The provider lists no models. Load or download a model at the provider, then check again."
    )


@pytest.mark.django_db
def test_only_operators_ask_and_only_from_the_form(fake: FakeProvider) -> None:
    row = stored(fake.url)
    olga = User.objects.create_user("olga", is_staff=True)
    olga.user_permissions.set(Permission.objects.filter(codename__in=("view_provider", "add_provider")))
    browser = Browser()
    browser.force_login(olga)
    assert browser.post(FIND, typed(fake.url, provider=row.pk)).status_code == 403
    assert "find-models" not in browser.get(f"/admin/providers/provider/{row.pk}/change/").content.decode()
    olga.user_permissions.clear()
    assert browser.post(FIND, typed(fake.url)).status_code == 403
    assert Browser().post(FIND, typed(fake.url)).status_code == 302
    assert ada(enforce_csrf_checks=True).post(FIND, typed(fake.url)).status_code == 403
    assert ada().get(FIND).status_code == 405
    assert ada().post(FIND, typed(fake.url, provider="999")).status_code == 404
    assert fake.hits == []


@pytest.mark.browser
def test_ada_adds_a_provider_without_knowing_a_model(
    page: Page,
    gateway: RunningGateway,
    fake: FakeProvider,
) -> None:
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/providers/provider/add/?kind=lmstudio")
    page.fill("#id_name", "lmstudio_found")
    page.fill("#id_base_url", "http://192.168.1.20:1234/v1")
    page.focus("#find-models button")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=add 192.168.1.20/32 to LLM_CALLER_EGRESS_ALLOW in .env")
    page.fill("#id_base_url", fake.url)
    page.click("#find-models button")
    page.wait_for_selector("text=2 models found.")
    assert page.url.endswith("/add/?kind=lmstudio")
    page.select_option("#find-models select", "echo")
    assert page.input_value("#id_default_model") == "echo"
    assert page.locator("#known-models option").count() == 2
    page.click("input[name=_save]")
    page.wait_for_selector("text=was added successfully")
    exported = gateway.manage("export_config", "--dir", str(gateway.folder / "out"))
    assert "wrote" in exported.stdout
    assert '"defaultModel": "echo"' in (gateway.folder / "out" / "providers.json").read_text()
    assert found == []
