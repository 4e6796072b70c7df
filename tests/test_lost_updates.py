"""Two operators with the same form open: the later save undoes the earlier one only when it is told so."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client as Browser
from form_pages import Links

from clients.grants import change_methods, set_methods
from clients.models import Client, MethodPermission
from providers.models import ModelAlias, Provider
from telemetry.models import RetentionRule

pytestmark = pytest.mark.django_db
CLIENTS, PROVIDERS, ALIASES = (
    "/admin/clients/client/",
    "/admin/providers/provider/",
    "/admin/providers/modelalias/",
)
Fields = dict[str, Any]


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def someone(name: str) -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser(name, "", f"{name}'s password 1"))
    return browser


@pytest.fixture
def ada() -> Browser:
    return someone("ada")


@pytest.fixture
def carl() -> Browser:
    return someone("carl")


def bob() -> Client:
    row = Client.objects.create(tool_id="bob", notes="of the editors")
    set_methods(row, ["chat", "embed"])
    return row


def provider(**scores: float) -> Provider:
    row = Provider.objects.create(
        name="lmstudio_gpu", kind="lmstudio", base_url="http://localhost/v1", default_model="m"
    )
    for place, (name, score) in enumerate(scores.items()):
        row.capability_rows.create(capability=name, score=score, position=place)
    return row


def opened(browser: Browser, path: str) -> Fields:
    """The form as the browser holds it."""
    return filled(browser.get(path))


def filled(answer: Any) -> Fields:
    fields: Fields = dict(Links(answer.content.decode()).fields)
    if "methods" in fields:
        fields["methods"] = answer.context["adminform"].form["methods"].value()
    return fields


def problems(answer: Any) -> str:
    assert answer.status_code == 200, answer
    return " ".join(answer.context["adminform"].form.non_field_errors())


def test_the_second_save_of_a_client_is_refused_once_and_keeps_what_was_typed(
    ada: Browser, carl: Browser
) -> None:
    path = f"{CLIENTS}{bob().pk}/change/"
    adas, carls = opened(ada, path), opened(carl, path)
    del carls["enabled"]
    assert carl.post(path, carls | {"methods": ["chat"]}).status_code == 302
    refused = ada.post(path, adas | {"notes": "of the readers"})
    assert problems(refused) == (
        "“bob” was changed by carl meanwhile: Enabled is now no; May call is now chat. "
        "Your input is still here; save again to put yours over it."
    )
    row = Client.objects.get()
    assert (row.enabled, row.notes) == (False, "of the editors")
    again = filled(refused)
    assert (again["notes"], again["enabled"], again["methods"]) == ("of the readers", "on", ["chat", "embed"])
    assert ada.post(path, again).status_code == 302
    row.refresh_from_db()
    assert (row.enabled, row.notes, row.permissions.count()) == (True, "of the readers", 2)


def test_what_others_changed_beside_the_form_stops_nobody(ada: Browser) -> None:
    row = bob()
    path = f"{CLIENTS}{row.pk}/change/"
    form = opened(ada, path)
    Client.objects.filter(pk=row.pk).update(position=7)
    assert ada.post(path, form | {"notes": "mine"}).status_code == 302


def test_the_same_change_made_by_two_is_no_conflict(ada: Browser, carl: Browser) -> None:
    path = f"{CLIENTS}{bob().pk}/change/"
    adas, carls = opened(ada, path), opened(carl, path)
    for browser, form in ((carl, carls), (ada, adas)):
        del form["enabled"]
        assert browser.post(path, form).status_code == 302


def test_a_method_withdrawn_in_the_grid_does_not_come_back(ada: Browser) -> None:
    row = bob()
    path = f"{CLIENTS}{row.pk}/change/"
    form = opened(ada, path)
    change_methods(row, add=set(), remove={"embed"})
    assert "“bob” was changed meanwhile: May call is now chat." in problems(ada.post(path, form))
    assert [granted.method for granted in MethodPermission.objects.all()] == ["chat"]


def test_ones_own_change_in_another_window_is_said_to_be_ones_own(ada: Browser) -> None:
    path = f"{CLIENTS}{bob().pk}/change/"
    first, second = opened(ada, path), opened(ada, path)
    ada.post(path, first | {"capture": "all"})
    refused = ada.post(path, second | {"notes": "x"})
    assert "changed by you meanwhile: Content is now kept of all calls." in problems(refused)


def test_a_typing_error_beside_a_conflict_tells_both(ada: Browser) -> None:
    row = bob()
    path = f"{CLIENTS}{row.pk}/change/"
    form = opened(ada, path)
    Client.objects.filter(pk=row.pk).update(enabled=False)
    refused = ada.post(path, form | {"capture_days": "9-5"})
    assert "Enabled is now no" in problems(refused)
    assert "capture_days" in refused.context["adminform"].form.errors
    assert ada.post(path, filled(refused) | {"capture_days": "9"}).status_code == 302


def test_the_second_save_of_a_provider_tells_what_changed_in_its_grid(ada: Browser, carl: Browser) -> None:
    row = provider(chat=90, embed=10)
    path = f"{PROVIDERS}{row.pk}/change/"
    adas, carls = opened(ada, path), opened(carl, path)
    assert carl.post(path, carls | {"capability_rows-0-score": "5", "total_ms": "900"}).status_code == 302
    refused = ada.post(path, adas | {"notes": "mine"})
    assert (
        "“lmstudio_gpu” was changed by carl meanwhile: Total timeout (ms) is now 900; chat: score is now 5"
        in (problems(refused))
    )
    assert row.capability_rows.get(capability="chat").score == 5
    assert ada.post(path, filled(refused)).status_code == 302
    row.refresh_from_db()
    assert (row.total_ms, row.capability_rows.get(capability="chat").score) == (None, 90)


def grid(form: Fields) -> dict[str, str]:
    """Capability → the place of its row in what is sent."""
    return {form[f"capability_rows-{n}-capability"]: f"capability_rows-{n}" for n in range(3)}


def test_a_capability_that_another_stored_meanwhile_is_not_added_twice(ada: Browser, carl: Browser) -> None:
    row = provider(chat=90)
    path = f"{PROVIDERS}{row.pk}/change/"
    adas, carls = opened(ada, path), opened(carl, path)
    embed = grid(adas)["embed"]
    assert carl.post(path, carls | {f"{embed}-declared": "on", f"{embed}-score": "5"}).status_code == 302
    refused = ada.post(path, adas | {f"{embed}-declared": "on", f"{embed}-score": "6"})
    assert "embed: score is now 5" in problems(refused)
    assert row.capability_rows.get(capability="embed").score == 5
    assert ada.post(path, filled(refused)).status_code == 302
    assert row.capability_rows.get(capability="embed").score == 6


def test_a_capability_that_another_removed_meanwhile_can_be_put_back(ada: Browser, carl: Browser) -> None:
    row = provider(chat=90, embed=10)
    path = f"{PROVIDERS}{row.pk}/change/"
    adas, carls = opened(ada, path), opened(carl, path)
    embed = grid(carls)["embed"]
    del carls[f"{embed}-declared"]
    assert carl.post(path, carls | {f"{embed}-score": ""}).status_code == 302
    refused = ada.post(path, adas)
    assert "embed: score is no longer there" in problems(refused)
    assert ada.post(path, filled(refused)).status_code == 302
    assert row.capability_rows.get(capability="embed").score == 10


def test_an_alias_and_a_rule_and_a_group_are_guarded_too(ada: Browser, carl: Browser) -> None:
    alias = ModelAlias.objects.create(name="fast", provider=provider(chat=1), model_id="m")
    rule = RetentionRule.objects.create(tool_id="bob", days=30)
    group = Group.objects.create(name="night shift")
    changes = (
        (f"{ALIASES}{alias.pk}/change/", {"model_id": "m-2"}, "Model is now m-2"),
        (f"/admin/telemetry/retentionrule/{rule.pk}/change/", {"days": "60"}, "Days is now 60"),
        (f"/admin/auth/group/{group.pk}/change/", {"name": "day shift"}, "Name is now day shift"),
    )
    for path, change, said in changes:
        adas, carls = opened(ada, path), opened(carl, path)
        assert carl.post(path, carls | change).status_code == 302
        refused = ada.post(path, adas)
        assert f"was changed by carl meanwhile: {said}." in problems(refused)
        assert ada.post(path, filled(refused)).status_code == 302


@pytest.mark.parametrize(
    "sent", ["", "{", "[]", '{"at": "x"}', "\x00", '{"at": 1, "digests": {"enabled": 5}}']
)
def test_a_field_that_no_page_wrote_breaks_nothing(ada: Browser, sent: str) -> None:
    path = f"{CLIENTS}{bob().pk}/change/"
    assert ada.post(path, opened(ada, path) | {"_shown": sent}).status_code == 302


def test_the_hidden_field_carries_no_value_and_only_who_may_save_gets_one(ada: Browser) -> None:
    path = f"{CLIENTS}{bob().pk}/change/"
    assert "of the editors" not in opened(ada, path)["_shown"]
    assert "_shown" not in opened(ada, f"{CLIENTS}add/")
    eve = User.objects.create_user("eve", is_staff=True)
    eve.groups.add(Group.objects.get(name="viewers"))
    looking = Browser()
    looking.force_login(eve)
    assert "_shown" not in opened(looking, path)
