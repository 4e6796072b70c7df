"""Every page on a phone: nothing of it lies beside the screen. Wide tables scroll inside themselves, unless they decide."""

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


BESIDE = """cells => cells.filter(cell => cell.checkVisibility())
    .filter(cell => cell.getBoundingClientRect().right > innerWidth || cell.getBoundingClientRect().left < 0)
    .map(cell => cell.innerText)"""
TALL = "rows => Math.max(...rows.map(row => row.getBoundingClientRect().height))"


@pytest.mark.parametrize(
    ("path", "cells"),
    [
        ("/admin/providers/provider/", "#result_list :is(th, td)"),
        ("/admin/gateway/configversion/", "#result_list :is(th, td)"),
        ("/admin/gateway/configchange/", "#result_list :is(th, td)"),
        ("/admin/clients/client/1/explain/", ".routes tbody :is(th, td)"),
        ("call", ".candidates tbody :is(th, td)"),
        ("call", ".steps :is(th, td)"),
        ("/admin/telemetry/requestlog/", "#result_list tbody :is(th, td)"),
        ("/admin/playground/", "#playground-trace .candidates tbody :is(th, td)"),
    ],
)
def test_what_decides_is_on_the_screen(page: Page, gateway: RunningGateway, path: str, cells: str) -> None:
    call = gateway.chat().headers["x-llm-caller-call-id"]
    gateway.wait_for_records(1, call_id=call)
    page.set_viewport_size({"width": WIDTH, "height": 800})
    log_in(page, gateway)
    if path == "call":
        page.goto(f"{gateway.url}/admin/telemetry/requestlog/?trace={call}")
        path = paths(page, "#result_list th a")[0]
    page.goto(gateway.url + path)
    if "playground" in path:
        page.click("[name=why]")
    page.locator(cells).last.wait_for()
    assert page.locator(cells).count() > 3
    assert page.eval_on_selector_all(cells, BESIDE) == []


@pytest.mark.parametrize("path", ["gateway/configversion", "gateway/configchange", "providers/provider"])
def test_no_heading_is_broken_into_letters(page: Page, gateway: RunningGateway, path: str) -> None:
    page.set_viewport_size({"width": WIDTH, "height": 800})
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/{path}/")
    assert page.eval_on_selector_all("#result_list thead th", TALL) < 60


@pytest.mark.parametrize("width", [WIDTH, 1280])
def test_a_long_name_stays_on_the_page(page: Page, gateway: RunningGateway, width: int) -> None:
    made = "from clients.models import Client; print(Client.objects.create(tool_id='x' * 200).pk)"
    pk = gateway.manage("shell", "-v", "0", "-c", made).stdout.strip()
    page.set_viewport_size({"width": width, "height": 800})
    log_in(page, gateway)
    for act in ("explain", "change", "delete", "issue", "history"):
        page.goto(f"{gateway.url}/admin/clients/client/{pk}/{act}/")
        assert not page.evaluate(TOO_WIDE), act


def test_names_of_clients_are_not_broken_into_letters(page: Page, gateway: RunningGateway) -> None:
    page.set_viewport_size({"width": WIDTH, "height": 800})
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/clients/client/permissions/")
    assert page.eval_on_selector_all(".grid tbody tr", TALL) < 60


@pytest.mark.parametrize("width", [WIDTH, 1200])
def test_what_clients_choose_makes_no_page_wider(page: Page, gateway: RunningGateway, width: int) -> None:
    """Names may have 200 letters, a model 500, and no blank."""
    sent = gateway.chat(
        "x", callerTool="W" * 200, requestId="W" * 200, provider="lmstudio_gpu", model="W" * 500
    )
    gateway.wait_for_records(1, call_id=sent.headers["x-llm-caller-call-id"])
    page.set_viewport_size({"width": width, "height": 800})
    log_in(page, gateway)
    record = f"{gateway.url}/admin/telemetry/requestlog/"
    for path in (
        record,
        f"{record}?model={'W' * 500}&request={'W' * 200}",
        f"{record}live/?model={'W' * 500}",
    ):
        page.goto(path)
        assert not page.evaluate(TOO_WIDE), path
    page.goto(record)
    page.click("#result_list tbody th a >> nth=0")
    page.wait_for_selector("text=called itself")
    assert not page.evaluate(TOO_WIDE)
