"""Legal holds and retention rules go by a client's name: what that means where names change, and where they are set."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import registry
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import IntegrityError, transaction
from django.test import Client as Browser
from django.utils import timezone

from clients.grants import set_methods
from clients.loader import issue, note_use, revoke
from clients.models import Client
from gateway.configfile import CLIENTS, import_files, peppers
from telemetry.holds import unreleased
from telemetry.models import LegalHold, RequestLog, RetentionRule

pytestmark = pytest.mark.django_db
LIST = "/admin/clients/client/"
HOLD, RULE = "/admin/telemetry/legalhold/", "/admin/telemetry/retentionrule/"
NOW = timezone.now()


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


@pytest.fixture
def bob() -> Client:
    made = Client.objects.create(tool_id="bob")
    set_methods(made, ["chat"])
    return made


def rename(browser: Browser, client: Client, name: str) -> Any:
    sent = {"tool_id": name, "enabled": "on", "methods": ["chat"], "capture": "off", "capture_days": "30"}
    return browser.post(f"{LIST}{client.pk}/change/", sent, follow=True)


def messages(answer: Any) -> list[str]:
    return [str(message) for message in answer.context["messages"] if message.level_tag == "warning"]


def errors(answer: Any) -> dict[str, list[str]]:
    assert answer.status_code == 200
    return {name: list(said) for name, said in answer.context["adminform"].form.errors.items()}


def names() -> list[str]:
    return list(Client.objects.values_list("tool_id", flat=True))


def test_a_client_keeps_its_name_while_a_hold_goes_by_it(ada: Browser, bob: Client) -> None:
    hold = LegalHold.objects.create(reason="case 7", tool_id="bob")
    LegalHold.objects.create(reason="case 8, released", tool_id="bob", released_at=NOW)
    LegalHold.objects.create(reason="everybody")
    ((said,),) = errors(rename(ada, bob, "robert")).values()
    assert said.startswith("“bob” keeps its name while a legal hold goes by it: “case 7”.")
    assert names() == ["bob"]
    assert messages(rename(ada, bob, "bob")) == [], "all else may change"
    hold.released_at = NOW
    hold.save()
    rename(ada, bob, "robert")
    assert names() == ["robert"]


def test_retention_rules_that_say_the_old_name_are_told_of(ada: Browser, bob: Client) -> None:
    RetentionRule.objects.create(tool_id="bob", days=30)
    RetentionRule.objects.create(tool_id="bob", outcome="ok", days=3)
    RetentionRule.objects.create(days=90)
    (said,) = messages(rename(ada, bob, "robert"))
    assert (
        "these say “bob”: bob, every outcome: 30 days; bob, ok: 3 days. Make them anew for “robert”." in said
    )
    assert messages(rename(ada, bob, "bobby")) == []


def test_deleting_says_what_stops_and_which_hold_names_it(ada: Browser, bob: Client) -> None:
    page = ada.get(f"{LIST}{bob.pk}/delete/").content.decode()
    assert "no token of it works anyway" in page
    assert "none was ever used" in page
    assert "legal hold" not in page
    LegalHold.objects.create(reason="case 7", tool_id="bob")
    used, gone = (issue("bob", (), peppers()[0]).token_id for _ in range(2))
    issue("bob", (), peppers()[0])
    revoke(gone)
    note_use({used: NOW.replace(year=2026, month=3, day=1, hour=9, minute=30)})
    both = {"action": "delete_selected", "index": 0, "_selected_action": [bob.pk]}
    for page in (ada.get(f"{LIST}{bob.pk}/delete/"), ada.post(LIST, both)):
        shown = " ".join(page.content.decode().split())
        assert "<strong>bob</strong>: 2 active tokens stop working; last used 2026-03-01 09:30 UTC." in shown
        assert "A legal hold names the client bob, which goes: “case 7”." in shown
    ada.post(f"{LIST}{bob.pk}/delete/", {"post": "yes"})
    assert names() == [], "allowed all the same"


def test_an_import_that_takes_a_held_client_away_says_so(tmp_path: Path) -> None:
    def consequences(*clients: Any) -> list[str]:
        path = tmp_path / CLIENTS
        path.write_text(json.dumps({"clients": list(clients)}))
        return import_files({CLIENTS: path}).consequences

    bob, charlie = registry()["clients"]
    LegalHold.objects.create(reason="case 7", tool_id="bob")
    assert consequences(bob, charlie) == []
    assert not [said for said in consequences(bob) if "hold" in said]
    (said,) = [said for said in consequences(bob | {"toolId": "robert"}) if "hold" in said]
    assert said.startswith("A legal hold names the client bob, which goes: “case 7”.")


def sent(**more: Any) -> dict[str, Any]:
    blank = dict.fromkeys(("since_0", "since_1", "until_0", "until_1"), "")
    return {"reason": "case 9", "tool_id": "", **blank, **more}


def at(field: str, days: int) -> dict[str, str]:
    moment = NOW + timedelta(days=days)
    return {f"{field}_0": f"{moment:%Y-%m-%d}", f"{field}_1": f"{moment:%H:%M:%S}"}


def test_a_hold_that_would_hold_nothing_is_refused(ada: Browser) -> None:
    said = errors(ada.post(f"{HOLD}add/", sent(**at("since", -1), **at("until", -2))))
    assert said == {"until": ["It has to come after “since”: this would hold nothing."]}
    same = sent(**at("since", -1), **at("until", -1))
    assert errors(ada.post(f"{HOLD}add/", same)).keys() == {"until"}
    assert ada.post(f"{HOLD}add/", sent(**at("since", -2), **at("until", -1))).status_code == 302


def test_a_hold_is_not_released_when_it_is_added(ada: Browser) -> None:
    assert "released_at" not in ada.get(f"{HOLD}add/").content.decode()
    ada.post(f"{HOLD}add/", sent(**at("released_at", -1)))
    assert LegalHold.objects.get().released_at is None


def test_a_hold_is_not_released_ahead_of_time(ada: Browser) -> None:
    hold = LegalHold.objects.create(reason="case 9", since=NOW, until=NOW - timedelta(days=1))
    address = f"{HOLD}{hold.pk}/change/"
    ((said,),) = errors(ada.post(address, at("released_at", 1))).values()
    assert said.startswith("It has to be in the past: it is 20")
    assert ada.post(address, at("released_at", -1)).status_code == 302, "one of before these rules goes too"
    LegalHold.objects.update(released_at=NOW + timedelta(days=1))
    assert unreleased().count() == 1, "what is released later holds until then"
    LegalHold.objects.update(released_at=NOW)
    assert unreleased().count() == 0


def test_a_name_that_nobody_has_or_had_is_told_of(ada: Browser, bob: Client) -> None:
    def add(address: str, **more: Any) -> list[str]:
        return messages(ada.post(f"{address}add/", more, follow=True))

    RequestLog.objects.create(
        call_id="018bcfe5-6800-7000-8000-000000000001",
        tool_id="deleted",
        started_at=NOW,
        duration_ms=1,
        status=200,
    )
    said = ["There is no client called “edtior”, and no call of one is on record. Is it misspelt?"]
    assert add(HOLD, **sent(tool_id="edtior")) == said
    assert add(RULE, tool_id="edtior", outcome="", days="30") == said
    for tool_id in ("bob", "deleted", ""):
        assert add(HOLD, **sent(tool_id=tool_id)) == []
    assert LegalHold.objects.count() == 4, "told, not refused"


def test_the_database_takes_no_rule_of_less_than_a_day() -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        RetentionRule.objects.create(days=0)
    RetentionRule.objects.create(days=1)


def test_a_rule_s_outcome_is_one_that_calls_have(ada: Browser) -> None:
    add = {"tool_id": "", "days": "30"}
    for odd in ("Ok", "RATE LIMIT", "nonsense"):
        said = errors(ada.post(f"{RULE}add/", add | {"outcome": odd}))
        assert said.keys() == {"outcome"}, odd
    assert not RetentionRule.objects.exists()
    for outcome in ("ok", "RATE_LIMIT", "UNKNOWN", ""):
        assert ada.post(f"{RULE}add/", add | {"outcome": outcome}).status_code == 302
    assert set(RetentionRule.objects.values_list("outcome", flat=True)) == {"ok", "RATE_LIMIT", "UNKNOWN", ""}


def test_a_rule_of_before_outcomes_were_chosen_can_still_be_changed(ada: Browser) -> None:
    rule = RetentionRule.objects.create(outcome="Ok", days=3)
    address = f"{RULE}{rule.pk}/change/"
    assert '<option value="Ok" selected>' in ada.get(address).content.decode()
    assert ada.post(address, {"tool_id": "", "outcome": "Ok", "days": "9"}).status_code == 302
    rule.refresh_from_db()
    assert (rule.outcome, rule.days) == ("Ok", 9)


def test_the_form_of_a_hold_says_whose_time_it_takes(ada: Browser) -> None:
    page = ada.get(f"{HOLD}add/").content.decode()
    assert "Calls from then on. Empty: from the first. In UTC." in page
    assert "Calls before then. Empty: also those to come. In UTC." in page
    hold = LegalHold.objects.create(reason="case 9")
    assert "the hold stays listed. In UTC." in ada.get(f"{HOLD}{hold.pk}/change/").content.decode()
