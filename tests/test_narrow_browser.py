"""Every page on a phone: nothing of it lies beside the screen. Wide tables scroll inside themselves."""

from urllib.parse import urlsplit

import pytest
from conftest import RunningGateway
from playwright.sync_api import Page
from test_browser import gateway, log_in, page

from gateway.guides import GUIDES

__all__ = ("gateway", "page")
pytestmark = pytest.mark.browser
WIDTH = 400
ALONE = (
    *("/admin/", "/admin/?range=30d", "/admin/tables/", "/admin/playground/", "/admin/configuration/"),
    *("/admin/clients/client/permissions/", "/admin/clients/client/1/issue/"),
    *(
        "/admin/clients/client/1/explain/",
        "/admin/clients/client/1/history/",
        "/admin/clients/client/1/delete/",
    ),
    *("/admin/second-factor/account/", "/admin/password_change/", "/admin/telemetry/", "/docs/"),
    *(f"/docs/{name}" for name in GUIDES),
)
TOO_WIDE = "document.documentElement.scrollWidth > innerWidth || document.body.scrollWidth > innerWidth"


def paths(page: Page, selector: str) -> list[str]:
    links: list[str] = page.eval_on_selector_all(selector, "links => links.map(link => link.href)")
    return [urlsplit(link).path for link in links]


def test_no_page_is_wider_than_a_phone(page: Page, gateway: RunningGateway) -> None:
    call = gateway.chat().headers["x-llm-caller-call-id"]
    gateway.wait_for_records(1, call_id=call)
    page.set_viewport_size({"width": WIDTH, "height": 800})
    page.goto(f"{gateway.url}/admin/login/")
    assert not page.evaluate(TOO_WIDE)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/tables/")
    waiting, seen, wide = [*ALONE, *paths(page, "#content-main a")], set(), []
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = page.goto(gateway.url + path)
        assert answer is not None
        assert answer.ok, path
        if page.evaluate(TOO_WIDE):
            wide.append(path)
        waiting += paths(page, "#result_list th a")[:1]
    assert wide == []
    assert len(seen) > 50
