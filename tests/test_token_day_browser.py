"""The day of a token's expiry, in a real browser: who types one has chosen it."""

import pytest
from test_browser import Page, RunningGateway, complaints, gateway, log_in, page, picture  # noqa: F401 - fixtures

pytestmark = pytest.mark.browser
DAY = "input[name=expiry][value=date]"


def test_typing_a_day_chooses_it_and_choosing_another_clears_it(page: Page, gateway: RunningGateway) -> None:
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/clients/client/")
    page.click("#result_list >> text=bob")
    page.click("text=Issue token")
    page.check("input[name=expiry][value='30']")
    page.fill("#id_day", "2050-12-31")
    assert page.is_checked(DAY)
    page.check("input[name=expiry][value='90']")
    assert page.input_value("#id_day") == ""
    page.fill("#id_day", "2050-12-31")
    page.click("input[value='Issue token']")
    page.wait_for_selector("text=It works until 2051-01-01 00:00 UTC.")
    picture(page, "admin-token-issued")
    assert found == []
