"""The record in a real browser: the filter by keyboard, also on a phone and without scripts, and the live tail."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import RunningGateway
from playwright.sync_api import Page
from test_browser import complaints, gateway, log_in, page, picture

__all__ = ("gateway", "page")
pytestmark = pytest.mark.browser
LIST = "/admin/telemetry/requestlog/"


@contextmanager
def without_scripts(page: Page) -> Iterator[Page]:
    browser = page.context.browser
    assert browser is not None
    bare = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    yield bare.new_page()
    bare.close()


def test_calls_are_filtered_by_keyboard_also_on_a_phone_and_without_scripts(
    page: Page, gateway: RunningGateway
) -> None:
    gateway.chat()
    gateway.chat(token="charlie-token")
    call = gateway.chat(model="no-such-model").headers["x-llm-caller-call-id"]
    gateway.wait_for_records(1, call_id=call)
    found = complaints(page)
    log_in(page, gateway)
    with without_scripts(page) as plain:
        plain.set_viewport_size({"width": 400, "height": 800})
        plain.goto(gateway.url + LIST)
        plain.focus("summary")
        plain.keyboard.press("Enter")
        plain.focus("#filter_client")
        plain.keyboard.type("bob")
        plain.select_option("#filter_outcome", "refused")
        plain.focus("#filter_client")
        plain.keyboard.press("Enter")
        plain.wait_for_selector("text=Client bob, outcome refused, newest first")
        assert plain.locator("#result_list tbody tr").count() == 1
        assert plain.evaluate("document.documentElement.scrollWidth") <= 400
        plain.fill("#filter_since", "never")
        plain.keyboard.press("Enter")
        plain.wait_for_selector("text=Write a date and time as")
        assert plain.locator("#result_list").count() == 0
        assert plain.get_attribute("#filter_since", "aria-invalid") == "true"
        assert plain.input_value("#filter_since") == "never"
        assert plain.input_value("#filter_client") == "bob"
        assert plain.evaluate("document.documentElement.scrollWidth") <= 400
    page.goto(f"{gateway.url}{LIST}?client=bob&outcome=refused")
    page.fill("#keep_name", "<b>refused of bob</b>")
    page.click("text=Save this filter")
    page.wait_for_selector("text=was saved")
    picture(page, "record-filtered")
    page.goto(gateway.url + LIST)
    page.click("nav[aria-label='Saved filters'] a >> nth=0")
    page.wait_for_selector("text=Client bob, outcome refused, newest first")
    page.click("#result_list th a")
    page.wait_for_selector("text=What was decided, and why")
    picture(page, "record-story")
    page.click("text=of this client")
    page.wait_for_selector("text=Client bob, newest first")
    assert page.locator("#result_list tbody tr").count() == 2
    assert found == []


def test_calls_appear_as_they_are_stored_and_wait_while_paused(page: Page, gateway: RunningGateway) -> None:
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}{LIST}?client=bob")
    page.click("text=Watch live")
    page.wait_for_selector("text=Live. Waiting for the next call")
    gateway.chat(token="charlie-token")
    first = gateway.chat(model="<script>document.title='XSS'</script>\u200b", provider="lmstudio_gpu")
    page.wait_for_selector("#live-rows tbody tr")
    page.keyboard.press("p")
    page.wait_for_selector("text=Paused. Waiting to be shown: 0 calls.")
    gateway.chat()
    page.wait_for_selector("text=Paused. Waiting to be shown: 1 call.")
    picture(page, "record-live-paused")
    assert page.locator("#live-rows tbody tr").count() == 1
    page.focus("#live-pause")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Live: 2 calls since this page was opened.")
    assert page.locator("#live-rows tbody tr").count() == 2
    assert page.title() != "XSS"
    told = page.inner_text("#live-rows tbody tr:last-child")
    assert "</script>\\u200b" in told, "what nobody sees is written out"
    assert "lmstudio_gpu named by the caller" in told
    picture(page, "record-live")
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    picture(page, "record-live-narrow")
    page.click("#live-rows tbody tr:last-child a")
    page.wait_for_selector(f"text={first.headers['x-llm-caller-call-id']}")
    assert found == []


def test_a_fifth_live_page_says_that_four_are_the_most(page: Page, gateway: RunningGateway) -> None:
    log_in(page, gateway)
    browser = page.context.browser
    assert browser is not None
    same_session = browser.new_context(storage_state=page.context.storage_state())
    for _ in range(4):
        other = same_session.new_page()
        other.goto(f"{gateway.url}{LIST}live/")
        other.wait_for_selector("text=Live. Waiting for the next call")
    page.goto(f"{gateway.url}{LIST}live/")
    page.wait_for_selector(
        "text=4 pages of your session watch the record, which is the most: close one first."
    )
    same_session.close()


def test_the_tail_says_when_its_viewer_has_logged_out(page: Page, gateway: RunningGateway) -> None:
    log_in(page, gateway)
    page.goto(f"{gateway.url}{LIST}live/")
    page.wait_for_selector("text=Live. Waiting for the next call")
    with without_scripts(page) as elsewhere:
        elsewhere.goto(f"{gateway.url}/admin/")
        elsewhere.click("#logout-form button")
        page.wait_for_selector("text=You are logged out, or may not read the record any more.")
    assert not page.is_visible("#live-pause")
