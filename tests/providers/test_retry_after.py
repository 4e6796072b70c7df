"""A provider's hint when to come again (RFC 9110 §10.2.3); its other forms are golden `failure-429-*` files."""

import time

import pytest

from providers.adapters.base import retry_after_ms


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"]
)
def test_a_date_to_retry_after_is_utc_in_each_form_of_http(
    monkeypatch: pytest.MonkeyPatch, zone: str, form: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        soon = time.strftime(form, time.gmtime(time.time() + 30))
        hint = retry_after_ms({"retry-after": soon})
    finally:
        monkeypatch.undo()
        time.tzset()
    assert hint is not None
    assert 20_000 < hint <= 30_000
