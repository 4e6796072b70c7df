"""The home page's charts in a real browser: drawn under the policy, in light and dark, also on a phone."""

from pathlib import Path

import pytest
from conftest import RunningGateway
from playwright.sync_api import Page
from test_browser import complaints, gateway, log_in, page, picture

__all__ = ("gateway", "page")
pytestmark = pytest.mark.browser
CHARTS = 4


def inked(page: Page) -> list[int]:
    """For each chart, how many pixels are not empty."""
    counts: list[int] = page.eval_on_selector_all(
        ".chart canvas",
        """canvases => canvases.map(canvas => {
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return data.filter((value, n) => n % 4 === 3 && value > 0).length;
        })""",
    )
    return counts


COLOURS = (
    "[...document.querySelectorAll('.chart .u-marker')].map(mark => mark.style.borderColor).filter(c => c)"
)


def colours(page: Page) -> set[str]:
    """Of the lines, as the legends show them."""
    return set(page.evaluate(COLOURS))


def test_charts_are_drawn_without_breaking_the_policy(page: Page, gateway: RunningGateway) -> None:
    calls = [gateway.chat().headers["x-llm-caller-call-id"] for _ in range(3)]
    gateway.chat("404")
    gateway.wait_for_records(1, call_id=calls[-1])
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/?range=1h")
    page.wait_for_selector(".chart canvas")
    assert page.locator(".chart canvas").count() == CHARTS
    assert min(inked(page)) > 500
    legend = page.locator(".u-legend").first.inner_text()
    assert "served" in legend
    assert "broken off" in legend
    light = colours(page)
    picture(page, "admin-home-light")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"light => !{COLOURS}.some(c => light.includes(c))", arg=sorted(light))
    assert len(colours(page)) == len(light) == 4
    assert page.locator(".chart canvas").count() == CHARTS, "drawn anew, not twice"
    picture(page, "admin-home-dark")
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_function("() => document.querySelector('.chart canvas').clientWidth < 400")
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    picture(page, "admin-home-narrow")
    assert found == []


def test_the_numbers_are_there_without_scripts(page: Page, gateway: RunningGateway, tmp_path: Path) -> None:
    call = gateway.chat().headers["x-llm-caller-call-id"]
    gateway.wait_for_records(1, call_id=call)
    log_in(page, gateway)
    browser = page.context.browser
    assert browser is not None
    bare = browser.new_context(java_script_enabled=False, storage_state=page.context.storage_state())
    plain = bare.new_page()
    plain.goto(f"{gateway.url}/admin/?range=1h")
    assert plain.locator(".chart canvas").count() == 0
    plain.locator("details summary").first.click()
    rows = plain.locator("details").first.locator("tbody tr").all_inner_texts()
    assert len(rows) == 60
    assert any(row.split()[1] != "0" for row in rows[:3])
    bare.close()
