"""Two windows with the same client open, in a real browser and under the pages' policy."""

import pytest
from test_browser import Page, RunningGateway, complaints, gateway, log_in, page, picture  # noqa: F401 - fixtures

pytestmark = pytest.mark.browser


def test_the_second_window_is_told_and_its_next_save_goes_through(
    page: Page, gateway: RunningGateway
) -> None:
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/clients/client/")
    page.click("#result_list >> text=bob")
    assert page.context.browser is not None
    other = page.context.browser.new_page(storage_state=page.context.storage_state())
    other.goto(page.url)
    other.uncheck("#id_enabled")
    other.click("input[name=_save]")
    other.wait_for_selector("text=was changed successfully")
    page.fill("#id_notes", "of the readers")
    page.click("input[name=_save]")
    page.wait_for_selector("text=“bob” was changed by you meanwhile: Enabled is now no.")
    assert page.input_value("#id_notes") == "of the readers"
    assert page.is_checked("#id_enabled")
    picture(page, "admin-changed-meanwhile")
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 400, "height": 800})
    picture(page, "admin-changed-meanwhile-dark-narrow")
    page.click("input[name=_save]")
    page.wait_for_selector("text=was changed successfully")
    assert found == []
