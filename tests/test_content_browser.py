"""An auditor opens what was said, in a real browser: hostile text stays text."""

from pathlib import Path

from conftest import provider_entry, registry, running_gateway
from fake_provider import FakeProvider
from playwright.sync_api import Page
from test_browser import PASSWORD, complaints, log_in, page, picture  # noqa: F401 - a fixture among them

HOSTILE = "<script>document.title='XSS'</script><img src=x onerror=\"document.title='XSS'\">{{ 7|add:1 }}"


def test_what_was_said_is_opened_for_a_reason_and_runs_nothing(
    page: Page,
    tmp_path: Path,
    fake: FakeProvider,
) -> None:
    providers = {"providers": {"lmstudio_gpu": provider_entry(fake.url)}}
    dora = {"toolId": "dora", "token": "dora-token", "allowedMethods": ["chat"], "capture": "all"}
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with running_gateway(tmp_path, providers, registry(dora), env) as gateway:
        answer = gateway.chat(HOSTILE, token="dora-token")
        gateway.wait_for_records(1, call_id=answer.headers["x-llm-caller-call-id"])
        found = complaints(page)
        log_in(page, gateway)
        page.click("nav >> text=Record")
        page.click("#result_list th a >> nth=0")
        page.click("text=Open it…")
        assert HOSTILE not in page.content()
        page.fill("#id_reason", "complaint 4711 <b>of Bob</b>")
        page.click("text=Open the content")
        page.wait_for_selector("text=Answered")
        assert page.inner_text("pre >> nth=0") == HOSTILE
        assert page.inner_text("pre >> nth=1") == f"echo: {HOSTILE}"
        assert page.title() != "XSS"
        assert page.url.endswith("/")
        assert "4711" not in page.url
        picture(page, "content-opened")
        page.goto(f"{gateway.url}/admin/telemetry/requestlog/")
        page.click("text=Opened content")
        assert "complaint 4711 <b>of Bob</b>" in page.inner_text("#result_list")
        assert found == []
