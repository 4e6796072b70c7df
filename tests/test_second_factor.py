"""The second factor of staff: the whole way, what is refused, and what is kept."""

import re
import time
from base64 import b32decode
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.hotp import HOTP
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone
from test_admin import _static_files  # noqa: F401 - a fixture

from gateway import second_factor
from gateway.checks import startup_problems
from gateway.models import StaffSecondFactor
from providers.secrets import KeyRing

pytestmark = pytest.mark.django_db
PASSWORD = "ada's password 1"
ACCOUNT, ENTER = "/admin/second-factor/account/", "/admin/second-factor/"


@pytest.fixture(autouse=True)
def _fresh_counts_in_one_minute(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The library's minutes and the steps of codes begin when they like; here a test lies within one."""
    now = time.time()
    monkeypatch.setattr("django_ratelimit.core._get_window", lambda value, period: int(now) + 60)
    monkeypatch.setattr(second_factor, "time", SimpleNamespace(time=lambda: now))
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def user() -> User:
    return User.objects.create_superuser("ada", "", PASSWORD)


def logged_in(name: str = "ada", password: str = PASSWORD) -> Browser:
    browser = Browser()
    answer = browser.post("/admin/login/?next=/admin/", {"username": name, "password": password})
    assert answer.status_code == 302
    return browser


def code_for(secret: str, ahead: int = 0) -> str:
    step = int(second_factor.time.time()) // 30 + ahead
    return HOTP(b32decode(secret.replace(" ", "")), 6, SHA1()).generate(step).decode()


class SetUp:
    """A browser in which the factor was just confirmed, the secret in base32, and the page with the codes."""

    def __init__(self, browser: Browser | None = None) -> None:
        self.browser = browser or logged_in()
        assert self.browser.post(ACCOUNT, {"action": "begin"}).status_code == 302
        page = self.browser.get(ACCOUNT).content.decode()
        self.secret = re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', page)[1]  # type: ignore[index]
        self.confirmed = self.browser.post(ACCOUNT, {"action": "confirm", "code": code_for(self.secret)})
        self.backup_codes = re.findall(r"<li>([a-z2-7-]{19})</li>", self.confirmed.content.decode())

    def next_code(self) -> str:
        """One that was not used yet."""
        StaffSecondFactor.objects.update(last_step=0)
        return code_for(self.secret)


@pytest.mark.parametrize("path", ["", "password_change/", "password_change/done/"])
def test_the_way_to_ones_second_factor_stands_on_every_page(path: str) -> None:
    page = logged_in().get(f"/admin/{path}").content.decode()
    assert page.count(f'<a href="{ACCOUNT}">Second factor</a>') == 1


def is_in(browser: Browser) -> bool:
    return browser.get("/admin/").status_code == 200


def test_from_setting_up_to_logging_in_with_a_code() -> None:
    browser = logged_in()
    assert is_in(browser)
    assert "Set up" in browser.get(ACCOUNT).content.decode()
    made = SetUp(browser)
    assert len(set(made.backup_codes)) == 10
    assert "no-store" in made.confirmed.headers["cache-control"]
    assert is_in(browser), "the session that set it up goes on"

    again = logged_in()
    assert not is_in(again)
    followed = again.get("/admin/providers/provider/?q=x", follow=True)
    assert followed.redirect_chain[-1][0].startswith(f"{ENTER}?next=")
    entered = again.post(followed.redirect_chain[-1][0], {"code": made.next_code()})
    assert entered.headers["location"] == "/admin/providers/provider/?q=x"
    assert is_in(again)


def test_a_session_from_before_the_factor_has_to_prove_it_too() -> None:
    older = logged_in()
    SetUp()
    assert not is_in(older)


def test_a_code_is_taken_once() -> None:
    made = SetUp()
    code = made.next_code()
    assert logged_in().post(ENTER, {"code": code}).status_code == 302
    replayed = logged_in()
    assert "was used before" in replayed.post(ENTER, {"code": code}).content.decode()
    assert not is_in(replayed)


def test_the_code_of_the_set_up_does_not_log_in() -> None:
    made = SetUp()
    assert logged_in().post(ENTER, {"code": code_for(made.secret)}).status_code == 200


@pytest.mark.parametrize(("ahead", "status"), [(-1, 302), (0, 302), (1, 302), (-2, 200), (2, 200)])
def test_a_clock_may_be_one_step_off(ahead: int, status: int) -> None:
    made = SetUp()
    StaffSecondFactor.objects.update(last_step=0)
    code = code_for(made.secret, ahead)
    assert logged_in().post(ENTER, {"code": code}).status_code == status


def test_a_backup_code_logs_in_once() -> None:
    made = SetUp()
    first = logged_in()
    assert first.post(ENTER, {"code": made.backup_codes[3].upper().replace("-", " ")}).status_code == 302
    assert is_in(first)
    assert "Backup codes left: 9" in first.get(ACCOUNT).content.decode()
    again = logged_in()
    assert again.post(ENTER, {"code": made.backup_codes[3]}).status_code == 200
    assert not is_in(again)


def test_new_backup_codes_replace_the_old_ones_and_need_a_code() -> None:
    made = SetUp()
    assert "That code is wrong" in made.browser.post(ACCOUNT, {"action": "renew"}).content.decode()
    page = made.browser.post(ACCOUNT, {"action": "renew", "code": made.next_code()}).content.decode()
    codes = re.findall(r"<li>([a-z2-7-]{19})</li>", page)
    assert len(codes) == 10
    assert logged_in().post(ENTER, {"code": made.backup_codes[0]}).status_code == 200
    assert logged_in().post(ENTER, {"code": codes[0]}).status_code == 302


def test_turning_it_off_needs_a_code() -> None:
    made = SetUp()
    made.browser.post(ACCOUNT, {"action": "turn-off", "code": "000000"})
    assert StaffSecondFactor.objects.exists()
    made.browser.post(ACCOUNT, {"action": "turn-off", "code": made.next_code()})
    assert not StaffSecondFactor.objects.exists()
    assert is_in(logged_in())


def test_who_owes_a_code_sees_neither_guides_nor_metrics_nor_the_account_page() -> None:
    SetUp()
    half = logged_in()
    assert half.get("/docs/").headers["location"].startswith("/admin/login/")
    assert half.get("/docs/operators").status_code == 302
    assert half.get("/metrics").status_code == 401
    assert half.get(ACCOUNT).headers["location"].startswith(ENTER)
    assert half.post(ACCOUNT, {"action": "begin"}).headers["location"].startswith(ENTER)
    assert half.post("/admin/password_change/", {"old_password": PASSWORD}).status_code == 302
    half.post(ENTER, {"leave": "1"})
    assert "_auth_user_id" not in half.session


def test_who_owes_nothing_sees_guides_and_metrics() -> None:
    made = SetUp()
    assert made.browser.get("/docs/").status_code == 200
    assert made.browser.get("/metrics").status_code == 200
    assert Browser().get("/metrics").status_code == 401
    assert Browser().get("/docs/").status_code == 302


def test_five_wrong_codes_a_minute_and_no_more_wherever_they_come_from() -> None:
    made = SetUp()
    browsers = [logged_in() for _ in range(7)]
    answers = [browser.post(ENTER, {"code": "000000"}) for browser in browsers]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 2
    assert answers[-1].json()["error"] == "RATE_LIMIT"
    elsewhere = logged_in()
    answer = elsewhere.post(ENTER, {"code": made.next_code()}, REMOTE_ADDR="127.0.0.9")
    assert answer.status_code == 429, "counted by user"
    eve = User.objects.create_superuser("eve", "", PASSWORD)
    second_factor.begin(eve)
    StaffSecondFactor.objects.filter(user=eve).update(confirmed_at="2026-01-01T00:00Z")
    assert logged_in("eve").post(ENTER, {"code": "000000"}).status_code == 429, "counted by address"


def test_wrong_codes_on_the_account_page_count_too() -> None:
    made = SetUp()
    statuses = [
        made.browser.post(ACCOUNT, {"action": "turn-off", "code": "000000"}).status_code for _ in range(6)
    ]
    assert statuses == [200] * 5 + [429]


def test_required_leads_everybody_to_setting_one_up_first(settings: Any) -> None:
    settings.STAFF_TOTP = "required"
    browser = logged_in()
    led = browser.get("/admin/", follow=True)
    assert led.redirect_chain[-1][0].startswith(ACCOUNT)
    assert "Everybody who works here needs a second factor" in led.content.decode()
    assert browser.get("/docs/").status_code == 302
    assert browser.get("/metrics").status_code == 401
    assert browser.get("/admin/auth/user/").status_code == 302
    SetUp(browser)
    assert is_in(browser)


def test_off_asks_nobody_and_has_no_page(settings: Any) -> None:
    SetUp()
    settings.STAFF_TOTP = "off"
    browser = logged_in()
    assert is_in(browser)
    assert browser.get(ACCOUNT).status_code == 404
    assert b"second-factor" not in browser.get("/admin/").content


def test_a_reset_makes_way_for_a_new_factor_and_old_sessions_prove_that_one(user: User) -> None:
    made = SetUp()
    out = StringIO()
    call_command("reset_second_factor", "ada", stdout=out)
    assert "is reset" in out.getvalue()
    assert is_in(logged_in())
    SetUp()
    assert not is_in(made.browser)
    assert LogEntry.objects.filter(user=user, change_message__contains="reset by manage.py").count() == 1
    with pytest.raises(CommandError, match="no user"):
        call_command("reset_second_factor", "nobody")


def test_nothing_of_it_is_readable_in_the_database_the_session_or_the_history(user: User) -> None:
    made = SetUp()
    made.browser.get(f"/admin/auth/user/{user.pk}/history/")
    secret = made.secret.replace(" ", "")
    raw = b32decode(secret)
    kept = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            kept += [
                bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                for row in cursor.fetchall()
                for value in row
            ]
    kept += [repr(session.get_decoded()).encode() for session in Session.objects.all()]
    everything = b"\n".join(kept)
    codes = [form for code in made.backup_codes for form in (code, code.replace("-", ""))]
    for canary in (raw, raw.hex(), secret, secret.lower(), made.secret, *codes):
        assert (canary if isinstance(canary, bytes) else canary.encode()) not in everything
    pages = [made.browser.get(path).content.decode() for path in (
        ACCOUNT, f"/admin/auth/user/{user.pk}/history/", "/admin/", "/admin/gateway/staffsecondfactor/",
        f"/admin/gateway/staffsecondfactor/{StaffSecondFactor.objects.get().pk}/change/",
    )]  # fmt: skip
    assert "Second factor turned on." in pages[1]
    for page in pages:
        assert not [canary for canary in (secret, made.secret, *codes) if canary in page]


def test_the_secret_opens_only_for_its_user_and_survives_a_new_key(user: User, settings: Any) -> None:
    made = SetUp()
    factor = StaffSecondFactor.objects.get()
    old = settings.ENCRYPTION_KEYS[0]
    settings.ENCRYPTION_KEYS = ["n" * 40, old]
    assert second_factor.reseal(KeyRing(settings.ENCRYPTION_KEYS)) == 1
    settings.ENCRYPTION_KEYS = ["n" * 40]
    assert logged_in().post(ENTER, {"code": made.next_code()}).status_code == 302
    eve = User.objects.create_superuser("eve", "", PASSWORD)
    StaffSecondFactor.objects.filter(pk=factor.pk).update(user=eve, last_step=0)
    assert logged_in("eve").post(ENTER, {"code": code_for(made.secret)}).status_code == 200


def test_the_command_that_rotates_keys_takes_second_factors_along_or_changes_nothing(
    user: User, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made = SetUp()
    old = settings.ENCRYPTION_KEYS[0]
    settings.ENCRYPTION_KEYS = ["n" * 40]
    assert startup_problems() == [
        "LLM_CALLER_ENCRYPTION_KEYS does not open the second factor of a member of staff"
    ]
    with pytest.raises(SystemExit) as ended:
        call_command("rotate_keys")
    assert ended.value.code == 2
    assert "Nothing was changed." in capsys.readouterr().err
    settings.ENCRYPTION_KEYS = ["n" * 40, old]
    call_command("rotate_keys")
    assert "1 second factor(s)" in capsys.readouterr().out
    settings.ENCRYPTION_KEYS = ["n" * 40]
    assert startup_problems() == []
    assert logged_in().post(ENTER, {"code": made.next_code()}).status_code == 302


def test_the_picture_is_one_that_the_policy_allows() -> None:
    browser = logged_in()
    browser.post(ACCOUNT, {"action": "begin"})
    page = browser.get(ACCOUNT)
    assert "<svg" in page.content.decode()
    assert "data:" not in page.headers["content-security-policy"]
    assert "style=" not in page.content.decode().partition('id="content-main"')[2]


def test_the_way_on_leads_nowhere_else() -> None:
    made = SetUp()
    answer = logged_in().post(f"{ENTER}?next=https://evil.example/", {"code": made.next_code()})
    assert answer.headers["location"] == "/admin/"


def test_wrong_old_passwords_are_limited_and_weak_new_ones_are_not() -> None:
    browser = logged_in()
    weak = {"old_password": PASSWORD, "new_password1": "x", "new_password2": "x"}
    assert [browser.post("/admin/password_change/", weak).status_code for _ in range(7)] == [200] * 7
    wrong = weak | {"old_password": "guess"}
    statuses = [browser.post("/admin/password_change/", wrong).status_code for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2


def test_who_is_logged_in_guesses_no_other_password_either() -> None:
    browser = logged_in()
    guess = {"username": "eve", "password": "guess"}
    assert [browser.post("/admin/login/", guess).status_code for _ in range(6)] == [200] * 5 + [429]


def test_the_guides_are_limited_by_user() -> None:
    browser = logged_in()
    statuses = [browser.get("/docs/").status_code for _ in range(61)]
    assert statuses == [200] * 60 + [429]


def test_a_session_ends_eight_hours_after_its_last_request(settings: Any) -> None:
    assert settings.SESSION_COOKIE_AGE == 8 * 3600
    browser = logged_in()
    browser.get("/admin/")
    session = browser.session
    session["seen"] -= 3600
    session.save()
    soon = timezone.now() + timedelta(hours=1)
    Session.objects.update(expire_date=soon)
    assert is_in(browser)
    assert Session.objects.get().expire_date > soon + timedelta(hours=6), "stored again, with a new end"
    Session.objects.update(expire_date=timezone.now())
    assert not is_in(browser)
