"""What is typed into a field for a number and is none comes back with a word, and what was stored stays."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser
from test_browser import Page, RunningGateway, complaints, gateway, log_in, page, picture  # noqa: F401 - fixtures
from test_lost_updates import bob, opened, provider

from telemetry.models import RetentionRule


@pytest.fixture(scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def ada(db: None, _static_files: None) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.label_lower)
def test_no_form_of_the_admin_has_a_field_that_hides_a_typing_error(ada: Browser, model: type) -> None:
    add = ada.get(f"/admin/{model._meta.app_label}/{model._meta.model_name}/add/")  # type: ignore[attr-defined]
    assert 'type="number"' not in add.content.decode()


@pytest.mark.parametrize(
    ("table", "field", "said"),
    [
        ("clients/client", "max_requests", "Calls per interval is a whole number in digits, such as 500."),
        ("clients/client", "max_concurrency", "Calls at once is a whole number in digits, such as 500."),
        ("clients/client", "capture_days", "Days it is kept is a whole number in digits, such as 500."),
        (
            "providers/provider",
            "connect_ms",
            "Connect timeout (ms) is a whole number in digits, such as 500.",
        ),
        ("providers/provider", "capability_rows-0-score", "Score is a number, such as 90 or 1.5."),
        ("telemetry/retentionrule", "days", "Days is a whole number in digits, such as 500."),
    ],
)
def test_a_typing_error_is_said_at_its_field_and_kept(
    ada: Browser, table: str, field: str, said: str
) -> None:
    rows = {
        "clients/client": bob,
        "providers/provider": lambda: provider(chat=90),
        "telemetry/retentionrule": lambda: RetentionRule.objects.create(days=30),
    }
    path = f"/admin/{table}/{rows[table]().pk}/change/"
    form = opened(ada, path)
    answer = ada.post(path, form | {field: "9-5"})
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert opened(ada, path)[field] == form[field], "what was stored stays"
    again = answer.content.decode().partition(f'name="{field}"')[2]
    assert again.lstrip().startswith('value="9-5"')


@pytest.mark.browser
def test_a_score_and_a_timeout_with_a_typing_error_are_not_taken_for_empty(
    page: Page, gateway: RunningGateway
) -> None:
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/providers/provider/")
    page.click("text=lmstudio_gpu")
    page.click("text=Timeouts and concurrency")
    for field, typed in (("id_capability_rows-0-score", "9-5"), ("id_total_ms", "30s")):
        page.fill(f"#{field}", "")
        page.type(f"#{field}", typed)
    page.click("input[name=_save]")
    page.wait_for_selector("text=Score is a number, such as 90 or 1.5.")
    assert page.input_value("#id_capability_rows-0-score") == "9-5"
    assert page.input_value("#id_total_ms") == "30s"
    assert page.is_visible("text=Total timeout (ms) is a whole number in digits")
    picture(page, "admin-provider-number-error")
    assert found == []
