"""What breaks elsewhere when a provider goes, is renamed or disabled, is said, with the names of who counts on it."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser
from django.utils import timezone

from clients.models import Client
from providers.models import Provider

pytestmark = pytest.mark.django_db
BASE = "/admin/providers/provider/"
FOUND = timezone.now()


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada"))
    return browser


@pytest.fixture
def gpu() -> Provider:
    """Bob may use it alone, Eve beside another, Charlie another only, Dora any; the alias fast points to it."""
    allowed = {"bob": ["gpu"], "eve": ["gpu", "cpu"], "charlie": ["cpu"], "dora": None, "nobody": []}
    for place, (tool_id, names) in enumerate(allowed.items()):
        Client.objects.create(tool_id=tool_id, allowed_providers=names, position=place)
    row = provider("gpu")
    row.aliases.create(name="fast", model_id="m")
    return row


def provider(name: str) -> Provider:
    row = Provider.objects.create(
        name=name, kind="lmstudio", base_url="http://127.0.0.1:9/v1", default_model="m"
    )
    row.capability_rows.create(capability="chat", default_model="m")
    return row


def save(browser: Browser, row: Provider, **more: Any) -> list[str]:
    """The messages after the provider's form was sent with these changes."""
    capability = row.capability_rows.get()
    sent = {
        "name": row.name,
        "kind": row.kind,
        "base_url": row.base_url,
        "default_model": row.default_model,
        "enabled": "on",
        "credential_source": "default",
        "capability_rows-TOTAL_FORMS": 1,
        "capability_rows-INITIAL_FORMS": 1,
        "capability_rows-0-id": capability.pk,
        "capability_rows-0-capability": "chat",
        "capability_rows-0-declared": "on",
        "capability_rows-0-default_model": capability.default_model,
    }
    answer = browser.post(f"{BASE}{row.pk}/change/", sent | more, follow=True)
    assert answer.redirect_chain
    return [str(message) for message in answer.context["messages"] if message.level_tag == "warning"]


STRANDED = "Clients that may use no other provider, so that nothing answers them: bob."
OTHERS = "Clients that name it among the providers that they may use: eve."


def test_before_a_deletion_it_is_said_who_counts_on_the_provider(ada: Browser, gpu: Provider) -> None:
    page = ada.get(f"{BASE}{gpu.pk}/delete/").content.decode()
    assert STRANDED in page
    assert OTHERS in page
    assert "<code>fast</code>" in page
    assert "charlie" not in page


def test_before_several_are_deleted_it_is_said_of_all_of_them_together(ada: Browser, gpu: Provider) -> None:
    rows = [gpu.pk, provider("cpu").pk]
    page = ada.post(
        BASE, {"action": "delete_selected", "index": 0, "_selected_action": rows}
    ).content.decode()
    assert "so that nothing answers them: bob, eve, charlie." in page
    assert "among the providers" not in page


def test_a_provider_that_nobody_counts_on_goes_without_a_word_of_clients(ada: Browser) -> None:
    provider("other")
    row = provider("alone")
    assert "Clients that" not in ada.get(f"{BASE}{row.pk}/delete/").content.decode()
    assert save(ada, row, name="another") == []
    assert save(ada, row, name="another", enabled="") == []


def test_a_rename_names_the_clients_that_are_left_behind_and_the_aliases_that_follow(
    ada: Browser, gpu: Provider
) -> None:
    (said,) = save(ada, gpu, name="gpu-2")
    assert said.startswith("“gpu” is called “gpu-2” now; who names “gpu” is not answered any more.")
    assert f"{STRANDED} {OTHERS} Write the new name into their allowed providers." in said
    assert "Aliases that follow it: fast." in said


def test_disabling_names_clients_and_aliases_from_the_form_and_from_the_list(
    ada: Browser, gpu: Provider
) -> None:
    provider("other")
    expected = f"Aliases that point to it, so that calls for them fail: fast. {STRANDED} {OTHERS}"
    assert save(ada, gpu, enabled="") == [expected]
    assert save(ada, gpu, enabled="") == [], "it was disabled before"
    Provider.objects.update(enabled=True)
    answer = ada.post(BASE, {"action": "disable", "index": 0, "_selected_action": [gpu.pk]}, follow=True)
    assert expected in [str(message) for message in answer.context["messages"]]


NOBODY = "No provider is left: nothing answers anybody."


def test_before_the_last_enabled_providers_go_it_is_said_that_nobody_is_left(
    ada: Browser, gpu: Provider
) -> None:
    off = provider("off")
    Provider.objects.filter(pk=off.pk).update(enabled=False)
    assert NOBODY in ada.get(f"{BASE}{gpu.pk}/delete/").content.decode()
    assert NOBODY not in ada.get(f"{BASE}{off.pk}/delete/").content.decode()
    cpu = provider("cpu")
    assert NOBODY not in ada.get(f"{BASE}{gpu.pk}/delete/").content.decode()
    chosen = {"action": "delete_selected", "index": 0, "_selected_action": [gpu.pk, cpu.pk]}
    assert NOBODY in ada.post(BASE, chosen).content.decode()
    chosen["_selected_action"] = [gpu.pk, off.pk]
    assert NOBODY not in ada.post(BASE, chosen).content.decode()


def test_disabling_the_last_says_that_nobody_is_left(ada: Browser, gpu: Provider) -> None:
    (said,) = save(ada, gpu, enabled="")
    assert said.startswith(NOBODY)
    Provider.objects.update(enabled=True)
    answer = ada.post(BASE, {"action": "disable", "index": 0, "_selected_action": [gpu.pk]}, follow=True)
    assert any(str(message).startswith(NOBODY) for message in answer.context["messages"])
    answer = ada.post(BASE, {"action": "disable", "index": 0, "_selected_action": [gpu.pk]}, follow=True)
    assert [str(message) for message in answer.context["messages"]] == ["Already disabled."]


def test_many_names_are_counted_not_listed(ada: Browser, gpu: Provider) -> None:
    Client.objects.all().delete()
    for n in range(25):
        Client.objects.create(tool_id=f"tool-{n:02}", allowed_providers=["gpu"], position=n)
    page = ada.get(f"{BASE}{gpu.pk}/delete/").content.decode()
    assert "tool-19 and 5 more." in page
    assert "tool-20" not in page


def test_a_default_model_that_discovery_answered_without_is_said_at_save_and_on_the_form(
    ada: Browser, gpu: Provider
) -> None:
    gpu.aliases.all().delete()
    Client.objects.all().delete()
    address = f"{BASE}{gpu.pk}/change/"
    assert save(ada, gpu) == [], "nobody has asked yet"
    gpu.model_rows.create(model_id="other", configured=False, discovered_at=FOUND)
    warning = "When “gpu” was asked for its models, it did not list “m”"
    assert warning in ada.get(address).content.decode()
    (said,) = save(ada, gpu)
    assert warning in said
    assert save(ada, gpu, base_url="http://127.0.0.1:8/v1") == [], "what was found is another address's"
    gpu.refresh_from_db()
    (said,) = save(ada, gpu, default_model="other")
    assert "“m”" in said, "chat's own default is not listed either"
    gpu.model_rows.create(model_id="m", configured=True, discovered_at=FOUND)
    assert warning not in ada.get(address).content.decode()
    gpu.refresh_from_db()
    assert save(ada, gpu) == []
