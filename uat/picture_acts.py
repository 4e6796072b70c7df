"""What a person does on a page before there is something to see."""

import json
import time
from base64 import b32decode
from collections.abc import Callable
from typing import Any

from conftest import RunningGateway
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from picture_stage import PASSWORD
from playwright.sync_api import Page

Act = Callable[[Page, RunningGateway], None]
CLOSED = "http://localhost:9/v1"
"""Where nothing listens."""


def clicked(*names: str) -> Act:
    """Links or buttons, one after the other."""

    def act(page: Page, gateway: RunningGateway) -> None:
        for name in names:
            link = page.get_by_role("link", name=name, exact=True)
            link.or_(page.get_by_role("button", name=name, exact=True)).first.click()
            page.wait_for_load_state()

    return act


def then(*acts: Act) -> Act:
    def act(page: Page, gateway: RunningGateway) -> None:
        for one in acts:
            one(page, gateway)

    return act


def opened(page: Page, gateway: RunningGateway) -> None:
    """The first row of a list."""
    page.click("#result_list tbody th a >> nth=0")
    page.wait_for_load_state()


def opened_of(name: str) -> Act:
    """The row of a list with this name in it."""

    def act(page: Page, gateway: RunningGateway) -> None:
        page.locator("#result_list tbody tr", has_text=name).first.locator("th a").click()
        page.wait_for_load_state()

    return act


def headed(page: Page, gateway: RunningGateway) -> None:
    """A file's header, which there is one of at most: made where it is missing."""
    if page.locator("#result_list").count():
        return
    listed = page.url
    page.goto(f"{listed}add/")
    page.fill("#id_description", "Kept in the repository of the machine; ask Ada before changing it.")
    page.click("[name=_save]")
    page.wait_for_load_state()


def headed_and_opened(page: Page, gateway: RunningGateway) -> None:
    headed(page, gateway)
    opened(page, gateway)


def found_models(page: Page, gateway: RunningGateway) -> None:
    page.click("#find-models button")
    page.wait_for_selector("#find-models [role=status].notice")


def found_on(url: Callable[[RunningGateway], str]) -> Act:
    def act(page: Page, gateway: RunningGateway) -> None:
        page.fill("#id_name", "lmstudio_lab")
        page.fill("#id_base_url", url(gateway))
        found_models(page, gateway)

    return act


def issued(page: Page, gateway: RunningGateway) -> None:
    page.click("#content [type=submit]")
    page.wait_for_selector(".secret")


def played(page: Page, gateway: RunningGateway) -> None:
    _conversation(page)
    page.click("[name=send]")
    page.wait_for_selector("text=Answered.")


def asked_why(page: Page, gateway: RunningGateway) -> None:
    page.select_option("[name=toolId]", "nightly-summary")
    page.select_option("[name=method]", "chat")
    page.click("[name=why]")
    page.wait_for_selector("text=This call would be made.")


def _conversation(page: Page) -> None:
    page.select_option("[name=toolId]", "editor")
    page.fill("[name=system]", "You are brief.")
    texts = (
        "Name a river in France.",
        "The Loire.",
        "And how long is it?",
    )
    for n, text in enumerate(texts):
        if n:
            page.click("[name=add]")
        page.locator("[name=text]").nth(n).fill(text)


def uploaded(number: int, document: Any) -> Act:
    """To the card of the first file, or of the second."""

    def act(page: Page, gateway: RunningGateway) -> None:
        content = json.dumps(document).encode()
        file = {"name": "upload.json", "mimeType": "application/json", "buffer": content}
        page.set_input_files(f"input[type=file] >> nth={number}", file)  # type: ignore[arg-type]
        page.click(f"text=Plan an import of the uploaded file >> nth={number}")
        page.wait_for_load_state()

    return act


FEWER_CLIENTS = {
    "clients": [
        {"toolId": "editor", "allowedMethods": ["chat", "chatStream"], "token": "another-token"},
        {"toolId": "reviewer", "allowedMethods": ["chat"], "allowedProviders": ["lmstudio_gpu"]},
    ]
}
"""Tokens in use that would stop are what a plan warns of."""
BROKEN = {
    "providers": {
        "lmstudio_gpu": {"baseUrl": "http://localhost:1234/v1", "capabilities": ["chat", "chats"]},
        "anthropic": {"defaultModel": "claude", "capabilities": ["chat"], "apiKey": 7},
    }
}


def exported(page: Page, gateway: RunningGateway) -> None:
    page.click("text=Export to the folder >> nth=0")
    page.wait_for_selector(".messagelist")


def watched(page: Page, gateway: RunningGateway) -> None:
    """A live tail with something in it. Called until it shows, because the tail begins at what is new."""
    page.wait_for_selector("#live-pause:visible")
    for n in range(20):
        gateway.chat(f"live {n}", token="editor-token", callerTool="editor")
        if page.locator("#live-rows tbody tr").count() > 6:
            break
        page.wait_for_timeout(200)
    page.wait_for_selector("#live-rows tbody tr >> nth=4")


def logged_in(name: str, password: str = PASSWORD) -> Act:
    def act(page: Page, gateway: RunningGateway) -> None:
        page.goto(f"{gateway.url}/admin/")
        page.fill("#id_username", name)
        page.fill("#id_password", password)
        page.click("input[type=submit]")
        page.wait_for_load_state()

    return act


def logged_out(page: Page, gateway: RunningGateway) -> None:
    logged_in("ada")(page, gateway)
    page.click("#logout-form button")
    page.wait_for_load_state()


def refused_login(page: Page, gateway: RunningGateway) -> None:
    logged_in("ada", "not the password")(page, gateway)


def factor_begun(page: Page, gateway: RunningGateway) -> None:
    if page.locator("[value=begin]").count():
        page.click("[value=begin] >> nth=0")
        page.wait_for_selector(".qr")


def factor_confirmed(page: Page, gateway: RunningGateway) -> None:
    factor_begun(page, gateway)
    secret = b32decode(page.inner_text("code.secret").replace(" ", ""))
    page.fill("#id_code", TOTP(secret, 6, SHA1(), 30).generate(int(time.time())).decode())
    page.click("[value=confirm]")
    page.wait_for_selector(".codes")
