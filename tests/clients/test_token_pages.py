"""Issue, rotate, change the expiry, revoke: over Django's test client."""

import re
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client as Browser
from django.utils import timezone
from people import ada, client, everything_stored, olga

from clients.loader import issue, load_directory, note_use, revoke
from clients.models import Client, ClientToken
from gateway.configfile import peppers

pytestmark = pytest.mark.django_db
TOKEN = re.compile(r"llmc_[0-9A-Za-z]{12}_[0-9A-Za-z]{33}")
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def token(expires_in: timedelta | None = None) -> ClientToken:
    expires_at = None if expires_in is None else timezone.now() + expires_in
    minted = issue("bob", (), peppers()[0], expires_at)
    return ClientToken.objects.get(token_id=minted.token_id)


def newest() -> int:
    last = ClientToken.objects.order_by("pk").last()
    return last.pk if last else 0


def issue_path(made: Client) -> str:
    return f"/admin/clients/client/{made.pk}/issue/"


def path(row: ClientToken, what: str) -> str:
    return f"/admin/clients/clienttoken/{row.pk}/{what}/"


def issued(answer: Any) -> str:
    assert answer.status_code == 200
    found = TOKEN.search(answer.content.decode())
    assert found is not None
    return found[0]


def is_close(moment: Any, expected: Any) -> bool:
    return abs(moment - expected) < timedelta(minutes=1)


def test_an_issued_token_is_shown_in_the_answer_and_works() -> None:
    made = client("bob", "chat")
    answer = ada().post(issue_path(made), {"expiry": "90", "newest": 0})
    text = issued(answer)
    assert "no-store" in answer.headers["cache-control"]
    caller = load_directory(peppers()).identify(text)
    assert caller is not None
    assert caller.client.tool_id == "bob"
    assert is_close(ClientToken.objects.get().expires_at, timezone.now() + timedelta(days=90))
    shown = answer.content.decode()
    assert 'data-copy="#token"' in shown
    assert "http://127.0.0.1:4037/mcp/chat" in shown
    assert "import requests" in shown


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"expiry": "date", "day": "2050-12-31"}, "It works until <strong>2051-01-01 00:00 UTC</strong>."),
        ({"expiry": "never"}, "It <strong>never ends</strong> by itself"),
    ],
)
def test_the_page_with_the_new_token_says_when_it_ends(chosen: dict[str, str], said: str) -> None:
    answer = ada().post(issue_path(client("bob", "chat")), {"newest": 0} | chosen)
    assert said in " ".join(answer.content.decode().split())


@pytest.mark.parametrize(
    ("chosen", "days"),
    [({"expiry": "never"}, None), ({"expiry": "30"}, 30), ({"expiry": "90"}, 90), ({"expiry": "365"}, 365)],
)
def test_an_expiry_is_chosen(chosen: dict[str, str], days: int | None) -> None:
    ada().post(issue_path(client("bob")), {"newest": 0, **chosen})
    expires_at = ClientToken.objects.get().expires_at
    if days is None:
        assert expires_at is None
    else:
        assert is_close(expires_at, timezone.now() + timedelta(days=days))


def test_a_chosen_day_counts_whole() -> None:
    ada().post(issue_path(client("bob")), {"newest": 0, "expiry": "date", "day": "2099-12-31"})
    assert ClientToken.objects.get().expires_at.isoformat() == "2100-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"expiry": "date", "day": "2020-01-01"}, "That day is over."),
        ({"expiry": "date", "day": ""}, "Choose the day."),
        ({"expiry": "date", "day": "9999-12-31"}, "At most a hundred years"),
        ({"expiry": "date", "day": "soon"}, "Enter a valid date"),
        ({"expiry": "30", "day": "2099-12-31"}, "A day is typed, but “In 30 days” is chosen"),
        ({"expiry": "never", "day": "2099-12-31"}, "A day is typed, but “Never” is chosen"),
        ({"expiry": "later"}, "not one of the available choices"),
        ({}, "This field is required"),
    ],
)
def test_a_wrong_expiry_is_said_and_nothing_is_issued(chosen: dict[str, str], said: str) -> None:
    answer = ada().post(issue_path(client("bob")), {"newest": 0, **chosen})
    assert said in answer.content.decode()
    assert not ClientToken.objects.exists()


def test_sending_the_form_again_issues_nothing_and_says_so() -> None:
    made, operator = client("bob", "chat"), ada()
    sent = {"expiry": "90", "newest": 0}
    operator.post(issue_path(made), sent)
    again = operator.post(issue_path(made), sent)
    assert again.status_code == 409
    assert "None was issued now" in again.content.decode()
    assert TOKEN.search(again.content.decode()) is None
    assert ClientToken.objects.count() == 1
    assert f'value="{newest()}"' in again.content.decode()


def test_a_token_of_a_client_that_may_call_nothing_says_so() -> None:
    shown = ada().post(issue_path(client("bob")), {"expiry": "never", "newest": 0}).content.decode()
    assert "may call nothing yet" in shown
    assert "import requests" not in shown


def test_a_token_of_a_disabled_client_says_so() -> None:
    made = client("bob", "chat", enabled=False)
    shown = ada().post(issue_path(made), {"expiry": "never", "newest": 0}).content.decode()
    assert "The client is disabled" in shown


@pytest.mark.parametrize(
    ("expires_in", "hours", "ends_in"),
    [
        (None, "0", timedelta(0)),
        (None, "1", HOUR),
        (None, "24", 24 * HOUR),
        (30 * 24 * HOUR, "168", 168 * HOUR),
        (2 * HOUR, "24", 2 * HOUR),
    ],
)
def test_rotating_ends_the_old_token_after_the_overlap_at_the_latest(
    expires_in: timedelta | None, hours: str, ends_in: timedelta
) -> None:
    client("bob", "chat")
    old = token(expires_in)
    sent = {"overlap": hours, "expiry": "never", "newest": old.pk}
    answer = ada().post(path(old, "rotate"), sent)
    text = issued(answer)
    assert "no-store" in answer.headers["cache-control"]
    old.refresh_from_db()
    assert is_close(old.expires_at, timezone.now() + ends_in)
    new = ClientToken.objects.get(pk=newest())
    assert (new.client, new.expires_at, old.revoked_at) == (old.client, None, None)
    assert load_directory(peppers()).identify(text) is not None


def test_rotating_twice_by_a_reload_changes_nothing() -> None:
    client("bob", "chat")
    old, operator = token(), ada()
    sent = {"overlap": "24", "expiry": "never", "newest": old.pk}
    operator.post(path(old, "rotate"), sent)
    assert operator.post(path(old, "rotate"), sent).status_code == 409
    assert ClientToken.objects.count() == 2


@pytest.mark.parametrize("end", ["expired", "revoked"])
def test_what_has_ended_is_not_rotated(end: str) -> None:
    client("bob", "chat")
    old = token(timedelta(seconds=-1) if end == "expired" else None)
    if end == "revoked":
        revoke(old.token_id)
    sent = {"overlap": "24", "expiry": "never", "newest": old.pk}
    answer = ada().post(path(old, "rotate"), sent, follow=True)
    assert "Nothing was changed" in answer.content.decode()
    assert ClientToken.objects.count() == 1


def test_the_new_token_is_offered_the_old_ones_lifetime() -> None:
    client("bob")
    operator = ada()
    for expires_in, choice in ((None, "never"), (40 * 24 * HOUR, "30"), (300 * 24 * HOUR, "365")):
        shown = operator.get(path(token(expires_in), "rotate")).content.decode()
        assert re.search(f'value="{choice}"[^>]*checked', shown), choice


def test_an_expiry_is_changed_and_an_expired_token_works_again() -> None:
    client("bob", "chat")
    minted = issue("bob", (), peppers()[0], timezone.now() - HOUR)
    row = ClientToken.objects.get()
    assert load_directory(peppers()).identify(minted.text) is None
    answer = ada().post(path(row, "expiry"), {"expiry": "30"})
    assert answer.headers["location"].endswith(f"/clients/client/{row.client_id}/change/#tokens")
    assert load_directory(peppers()).identify(minted.text) is not None


def test_a_revoked_token_stays_revoked_whatever_its_expiry() -> None:
    client("bob", "chat")
    row = token()
    revoke(row.token_id)
    answer = ada().post(path(row, "expiry"), {"expiry": "30"}, follow=True)
    assert "Nothing was changed" in answer.content.decode()
    row.refresh_from_db()
    assert row.expires_at is None


def test_revoking_asks_first_and_keeps_the_row() -> None:
    client("bob", "chat")
    row, operator = token(), ada()
    asked = operator.get(path(row, "revoke")).content.decode()
    assert "This cannot be undone" in asked
    row.refresh_from_db()
    assert row.revoked_at is None
    operator.post(path(row, "revoke"))
    row.refresh_from_db()
    first = row.revoked_at
    assert first is not None
    operator.post(path(row, "revoke"))
    row.refresh_from_db()
    assert row.revoked_at == first
    assert LogEntry.objects.count() == 1


def test_each_change_of_a_token_is_in_its_clients_history() -> None:
    made, operator = client("bob", "chat"), ada()
    operator.post(issue_path(made), {"expiry": "never", "newest": 0})
    row = ClientToken.objects.get()
    operator.post(path(row, "expiry"), {"expiry": "30"})
    operator.post(path(row, "rotate"), {"overlap": "1", "expiry": "never", "newest": row.pk})
    operator.post(path(row, "revoke"))
    said = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert [text.split()[0] for text in said] == ["Issued", "Token", "Rotated", "Revoked"]
    assert all(row.token_id in text for text in said)
    history = operator.get(f"/admin/clients/client/{made.pk}/history/").content.decode()
    assert "Issued token" in history


def test_no_page_and_no_table_keeps_a_token() -> None:
    made, operator = client("bob", "chat"), ada()
    text = issued(operator.post(issue_path(made), {"expiry": "never", "newest": 0}))
    row = ClientToken.objects.get()
    sent = {"overlap": "1", "expiry": "never", "newest": row.pk}
    secrets = [text, issued(operator.post(path(row, "rotate"), sent))]
    assert "messages" not in operator.cookies
    secrets += [whole.rpartition("_")[2] for whole in secrets]
    pages = pages_after(operator, made, row)
    stored = everything_stored()
    assert "bob" in stored
    assert row.digest in stored
    for secret in secrets:
        assert secret not in stored
        assert all(secret not in page for page in pages)


def pages_after(operator: Browser, made: Client, row: ClientToken) -> list[str]:
    paths = ["/admin/", issue_path(made), "/admin/clients/client/", "/admin/clients/client/permissions/"]
    paths += [f"/admin/clients/client/{made.pk}/{page}/" for page in ("change", "history", "delete")]
    paths += [path(row, page) for page in ("change", "rotate", "expiry", "revoke", "history")]
    paths += ["/admin/clients/clienttoken/", "/admin/gateway/configversion/", "/admin/gateway/configchange/"]
    paths += [f"/admin/clients/client/{made.pk}/explain/"]
    return [operator.get(path, follow=True).content.decode() for path in paths]


def test_olga_may_look_at_tokens_but_every_button_is_refused() -> None:
    made = client("bob", "chat")
    row = token()
    auditor = olga("view_client", "view_clienttoken")
    for where in (issue_path(made), *(path(row, what) for what in ("rotate", "expiry", "revoke"))):
        assert auditor.get(where).status_code == 403, where
        assert auditor.post(where, {"expiry": "never", "newest": row.pk, "overlap": "0"}).status_code == 403
    row.refresh_from_db()
    assert (row.revoked_at, row.expires_at, ClientToken.objects.count()) == (None, None, 1)
    shown = auditor.get(path(row, "change")).content.decode()
    assert row.token_id in shown
    assert row.digest not in shown


def test_who_may_change_but_not_add_tokens_may_revoke_but_not_rotate() -> None:
    made = client("bob", "chat")
    row = token()
    browser = olga("view_client", "change_clienttoken")
    shown = browser.get(f"/admin/clients/client/{made.pk}/change/").content.decode()
    assert "/revoke/" in shown
    assert "/rotate/" not in shown
    assert browser.post(path(row, "rotate"), {}).status_code == 403
    assert browser.post(path(row, "revoke")).status_code == 302


def test_pages_of_what_is_not_there_are_a_404() -> None:
    operator = ada()
    for where in ("client/7/issue", "client/x/issue", "clienttoken/7/rotate", "clienttoken/x/revoke"):
        assert operator.get(f"/admin/clients/{where}/").status_code == 404, where


def test_a_forged_form_is_refused() -> None:
    made = client("bob")
    ada()
    browser = Browser(enforce_csrf_checks=True)
    browser.force_login(User.objects.get(username="ada"))
    assert browser.post(issue_path(made), {"expiry": "never", "newest": 0}).status_code == 403
    assert not ClientToken.objects.exists()


def rotated(*arguments: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command("rotate_token", *arguments, stdout=out, stderr=err)
    return out.getvalue().strip(), err.getvalue()


def test_the_command_rotates_and_prints_the_token_alone() -> None:
    client("bob", "chat")
    old = token(90 * 24 * HOUR)
    text, said = rotated(old.token_id, "--overlap", "24h")
    assert TOKEN.fullmatch(text)
    assert text not in said
    old.refresh_from_db()
    assert f"{old.expires_at:%Y-%m-%d %H:%M} UTC" in said
    assert is_close(old.expires_at, timezone.now() + 24 * HOUR)
    assert is_close(ClientToken.objects.get(pk=newest()).expires_at, timezone.now() + 90 * 24 * HOUR)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none-such"], "There is no active token"),
        (["none-such", "--overlap", "a day"], "--overlap takes a number and a unit"),
        (["none-such", "--expires", "1y"], "--expires takes a number and a unit"),
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str], said: str) -> None:
    with pytest.raises(CommandError, match=said):
        rotated(*arguments)


def test_the_last_use_of_a_token_never_goes_back() -> None:
    token = issue("bob", ("chat",), peppers()[0])
    now = timezone.now()
    for moment in (now, now - timedelta(days=1)):
        note_use({token.token_id: moment})
    assert ClientToken.objects.get(token_id=token.token_id).last_used_at == now
