"""A person without a mouse: the way through a page by Tab, and always to be seen where one is."""

import pytest
from conftest import RunningGateway
from playwright.sync_api import Page
from test_browser import gateway, log_in, page

__all__ = ("gateway", "page")
pytestmark = pytest.mark.browser
PAGES = (
    *("/admin/?range=1h", "/admin/clients/client/permissions/", "/admin/playground/"),
    *("/admin/clients/client/", "/admin/configuration/", "/docs/operators"),
)
FOCUSED = """async () => {
    const it = document.activeElement;
    if (it === document.body) return null;
    const {outlineStyle, outlineWidth, outlineColor} = getComputedStyle(it);
    const isSeen = () => {
        const {width, height, top, bottom, right} = it.getBoundingClientRect();
        return width > 0 && height > 0 && right > 0 && bottom > 0 && top < innerHeight;
    };
    // The page scrolls to it with one of the next frames, of which a busy machine draws few.
    const until = performance.now() + 5000;
    while (performance.now() < until && !isSeen()) await new Promise(requestAnimationFrame);
    return {
        place: [...document.querySelectorAll("*")].indexOf(it),
        what: `${it.tagName} ${it.id || it.name || it.textContent.trim().slice(0, 30)}`,
        marked: outlineStyle !== "none" && parseFloat(outlineWidth) >= 1 && outlineColor !== "rgba(0, 0, 0, 0)",
        seen: isSeen(),
    };
}"""
STOPS = 400


def walk(page: Page) -> list[dict[str, object]]:
    """Every tab stop from the top of the page until the focus leaves it."""
    stops: list[dict[str, object]] = []
    for _ in range(STOPS):
        page.keyboard.press("Tab")
        stop = page.evaluate(FOCUSED)
        if stop is None or (stops and stop["place"] == stops[0]["place"]):
            break
        stops.append(stop)
    return stops


def test_every_tab_stop_is_seen_and_they_follow_the_page(page: Page, gateway: RunningGateway) -> None:
    call = gateway.chat().headers["x-llm-caller-call-id"]
    gateway.wait_for_records(1, call_id=call)
    log_in(page, gateway)
    for path in PAGES:
        page.goto(gateway.url + path)
        page.evaluate("document.activeElement.blur()")
        stops = walk(page)
        assert len(stops) > 10, path
        assert len(stops) < STOPS, path
        assert [stop["what"] for stop in stops if not (stop["marked"] and stop["seen"])] == [], path
        places = [stop["place"] for stop in stops]
        assert places == sorted(places), path  # type: ignore[type-var]


def test_the_first_tab_stop_leads_past_the_navigation(page: Page, gateway: RunningGateway) -> None:
    log_in(page, gateway)
    for path in PAGES:
        page.goto(gateway.url + path)
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent").strip() == "Skip to main content", path
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('#content-start') !== null"), path


def test_the_grid_is_changed_by_keyboard_alone(page: Page, gateway: RunningGateway) -> None:
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/clients/client/permissions/")
    box = page.locator("input[type=checkbox]").first
    before = box.is_checked()
    box.focus()
    page.keyboard.press("Space")
    while page.evaluate("document.activeElement.type") != "submit":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Changed 1 client.")
    assert page.locator("input[type=checkbox]").first.is_checked() is not before
