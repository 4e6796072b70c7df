"""A new operator's first morning, in a real browser, from an empty installation to a roll back.

With TEST_SCREENSHOTS naming a folder, each stage is saved there as a picture.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningGateway, chat_body, running_gateway
from fake_provider import FakeProvider
from playwright.sync_api import Page
from test_browser import PASSWORD, complaints, page, picture

__all__ = ("page",)
pytestmark = pytest.mark.browser
EMPTY: dict[str, Any] = {"providers": {}}


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with running_gateway(tmp_path, EMPTY, {"clients": []}, env) as running:
        yield running


class Morning:
    """Ada at her browser. `token`: what she copied when it was shown."""

    def __init__(self, page: Page, gateway: RunningGateway) -> None:
        self.page, self.gateway, self.token = page, gateway, ""
        self.config = gateway.folder / "config" / "providers.json"

    def open(self, path: str) -> None:
        self.page.goto(self.gateway.url + path)

    def log_in(self) -> None:
        self.open("/admin/")
        self.page.fill("#id_username", "ada")
        self.page.fill("#id_password", PASSWORD)
        self.page.click("input[type=submit]")
        self.page.wait_for_selector("text=Needs attention")

    def section(self, label: str) -> None:
        self.page.click(f"nav[aria-label=Sections] >> text={label}")

    def add_provider(self, name: str, url: str) -> None:
        self.section("Providers")
        self.page.click("text=Add provider >> nth=0")
        self.page.click("text=LM Studio >> nth=0")
        self.page.fill("#id_name", name)
        self.page.fill("#id_base_url", url)
        self.page.fill("#id_default_model", "echo")
        self.page.click("input[name=_continue]")
        self.page.wait_for_selector("text=was added successfully")

    def discover_and_check(self) -> None:
        self.page.click("text=Discover models >> nth=0")
        self.page.wait_for_selector("text=embed-3 >> nth=0", state="attached")
        self.page.click("text=Check now >> nth=0")
        self.page.wait_for_selector("text=It lists 2 models")

    def add_client(self, tool_id: str) -> None:
        self.section("Clients")
        self.page.click("text=Add client >> nth=0")
        self.page.fill("#id_tool_id", tool_id)
        for method in ("chat", "chatStream"):
            self.page.check(f"input[name=methods][value={method}]")
        self.page.click("input[name=_save]")
        self.page.wait_for_selector("text=was added successfully")

    def issue_token(self) -> None:
        self.page.click("text=Issue token >> nth=0")
        self.page.click("input[value='Issue token']")
        self.token = (self.page.text_content("#token") or "").strip()

    def call(self) -> httpx.Response:
        return self.gateway.post("/mcp/chat", chat_body("good morning"), token=self.token)

    def until(self, condition: Any, seconds: float = 5) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.05)

    def answered_by(self) -> str | None:
        answer = self.call()
        return answer.json()["providerInfo"]["name"] if answer.status_code == 200 else None

    def set_score(self, name: str, score: str) -> None:
        self.section("Providers")
        self.page.click(f"#result_list a >> text={name}")
        row = self.page.locator(".capability-grid tr", has_text="chat").first
        row.locator("input[inputmode=decimal]").fill(score)
        self.page.click("input[name=_save]")
        self.page.wait_for_selector("text=was changed successfully")

    def export(self) -> None:
        self.section("Configuration")
        self.page.click("text=Export to the folder >> nth=0")
        self.page.wait_for_selector(".messagelist")

    def plan_from_folder(self) -> None:
        self.section("Configuration")
        self.page.click("text=Plan an import of the file in the folder >> nth=0")
        self.page.wait_for_load_state()


def test_a_new_operator_s_first_morning(page: Page, gateway: RunningGateway, fake: FakeProvider) -> None:
    found = complaints(page)
    ada = Morning(page, gateway)
    ada.log_in()
    picture(page, "journey-1-empty-home")
    ada.add_provider("lmstudio_first", fake.url)
    ada.discover_and_check()
    picture(page, "journey-2-checked")
    ada.add_client("editor")
    ada.issue_token()
    assert ada.token.startswith("llmc_")
    picture(page, "journey-3-token")

    ada.until(lambda: ada.answered_by() == "lmstudio_first")
    call_id = ada.call().headers["x-llm-caller-call-id"]
    gateway.wait_for_records(1, call_id=call_id)
    ada.section("Home")
    clients = page.locator("section", has=page.locator("h2", has_text="Clients")).last
    assert "editor" in clients.inner_text()
    picture(page, "journey-4-called")

    ada.add_provider("lmstudio_second", fake.url)
    assert ada.answered_by() == "lmstudio_first"
    ada.set_score("lmstudio_second", "90")
    ada.until(lambda: ada.answered_by() == "lmstudio_second", seconds=1)

    ada.export()
    good = ada.config.read_text()
    assert json.loads(good)["providers"]["lmstudio_second"]["scores"] == {"chat": 90}
    ada.config.write_text(good.replace('"chat"', '"chatter"'))
    ada.plan_from_folder()
    told = page.inner_text("#content")
    assert "/providers/lmstudio_first/capabilities/0" in told
    assert "/providers/lmstudio_second/scores/chatter" in told
    assert "Unknown value 'chatter'" in told
    picture(page, "journey-5-broken")
    assert ada.answered_by() == "lmstudio_second", "a file that cannot be imported changes nothing"

    better = json.loads(good)
    better["providers"]["lmstudio_first"]["scores"] = {"chat": 99}
    ada.config.write_text(json.dumps(better))
    ada.plan_from_folder()
    assert "scores.chat" in page.inner_text("#content")
    picture(page, "journey-6-plan")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_selector(".messagelist")
    ada.until(lambda: ada.answered_by() == "lmstudio_first")

    ada.section("Configuration")
    page.click("text=Versions and roll back")
    page.click("#result_list tbody tr >> nth=1 >> th a")
    page.click("text=Roll back to here")
    page.wait_for_load_state()
    picture(page, "journey-7-roll-back")
    page.get_by_role("button", name="Apply").click()
    page.wait_for_selector(".messagelist")
    ada.until(lambda: ada.answered_by() == "lmstudio_second")
    assert found == []
    assert ada.token not in gateway.stdout.read_text()
