"""A person at the admin, in a real browser: what is saved there reaches calls, and the policy is never broken.

With TEST_SCREENSHOTS naming a folder, the pages on the way are saved there as pictures.
"""

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import RunningGateway, provider_entry, registry, running_gateway
from fake_provider import FakeProvider
from playwright.sync_api import Page, sync_playwright

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PASSWORD = "ada's password 1"
REQUIRED = bool(os.environ.get("TEST_REQUIRE_BROWSER"))


@pytest.fixture
def page() -> Iterator[Page]:
    if CHROMIUM is None and not REQUIRED:
        pytest.skip("needs Chromium on the PATH (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1280, "height": 800})
        opened.set_default_timeout(10_000)
        yield opened
        browser.close()


@pytest.fixture
def gateway(tmp_path: Path, fake: FakeProvider) -> Iterator[RunningGateway]:
    slow = provider_entry(fake.url, scores={"chat": 90}, notes="<script>document.title='XSS'</script>")
    providers = {"providers": {"lmstudio_gpu": slow}}
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with running_gateway(tmp_path, providers, registry(), env) as running:
        yield running


def log_in(page: Page, gateway: RunningGateway) -> None:
    page.goto(f"{gateway.url}/admin/")
    page.fill("#id_username", "ada")
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    page.wait_for_selector("text=Needs attention")


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("TEST_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def complaints(page: Page) -> list[str]:
    """What the browser says of broken policies, missing files and failing scripts, from now on."""
    found: list[str] = []
    page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def routed_to(gateway: RunningGateway) -> Any:
    return gateway.chat().json()["providerInfo"]["name"]


def test_a_provider_saved_in_the_admin_takes_calls_within_a_second(
    page: Page, gateway: RunningGateway, fake: FakeProvider
) -> None:
    found = complaints(page)
    log_in(page, gateway)
    assert routed_to(gateway) == "lmstudio_gpu"
    page.goto(f"{gateway.url}/admin/providers/provider/add/")
    page.fill("#id_name", "lmstudio_new")
    page.select_option("#id_kind", "lmstudio")
    page.fill("#id_base_url", fake.url)
    page.fill("#id_default_model", "echo")
    page.fill("#id_capability_rows-0-default_model", "echo")
    page.fill("#id_capability_rows-0-score", "99")
    picture(page, "admin-add-provider")
    page.click("input[name=_save]")
    page.wait_for_selector("text=was added successfully")
    saved = time.monotonic()
    while routed_to(gateway) != "lmstudio_new":
        assert time.monotonic() - saved < 1
    print(f"a provider saved in the admin took calls {(time.monotonic() - saved) * 1000:.0f} ms later")
    picture(page, "admin-providers")
    assert found == []


def test_the_provider_form_follows_the_kind_and_checks_run_from_the_list(
    page: Page, gateway: RunningGateway
) -> None:
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/providers/provider/add/")
    page.select_option("#id_kind", "anthropic")
    assert page.input_value("#id_base_url") == "https://api.anthropic.com"
    assert page.inner_text("[data-fact=key]") == "ANTHROPIC_API_KEY"
    assert not page.is_visible("tr[data-capability=embed]")
    assert page.is_disabled("#id_capability_rows-2-declared")
    page.select_option("#id_kind", "lmstudio")
    assert page.input_value("#id_base_url") == "http://localhost:1234/v1"
    assert page.is_visible("tr[data-capability=embed]")
    page.fill("#id_base_url", "http://localhost:9/v1")
    page.select_option("#id_kind", "openai")
    assert page.input_value("#id_base_url") == "http://localhost:9/v1", "what somebody typed stays"
    page.goto(f"{gateway.url}/admin/providers/provider/")
    page.check("#action-toggle")
    page.select_option("select[name=action]", "check_now")
    page.click("button[name=index]")
    page.wait_for_selector("text=It lists 2 models")
    picture(page, "admin-provider-check")
    assert found == []


def test_no_page_breaks_the_policy_or_runs_what_was_stored(page: Page, gateway: RunningGateway) -> None:
    call = gateway.chat().headers["x-llm-caller-call-id"]
    gateway.wait_for_records(1, call_id=call)
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/")
    picture(page, "admin-home")
    page.goto(f"{gateway.url}/admin/tables/")
    links = page.eval_on_selector_all("#content-main a", "links => links.map(link => link.href)")
    assert len(links) > 20
    first_rows: list[str] = []
    for link in dict.fromkeys(links):
        page.goto(link)
        rows = page.eval_on_selector_all("#result_list th a", "links => links.map(link => link.href)")
        first_rows += rows[:1]
    for link in first_rows:
        page.goto(link)
        assert page.title() != "XSS"
        picture(page, "admin-" + link.removeprefix(f"{gateway.url}/admin/").split("/")[1])
    page.goto(f"{gateway.url}/docs/")
    picture(page, "docs")
    for link in page.eval_on_selector_all("nav[aria-label=Guides] a", "links => links.map(a => a.href)"):
        assert page.goto(link).ok, link  # type: ignore[union-attr]
    assert len(first_rows) >= 6
    assert found == []
