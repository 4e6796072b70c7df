"""What every route of the console has in common against other sites (promise 20): forged posts, frames, sessions
that were planted, ways on that lead elsewhere. The routes come from the URL patterns."""

from typing import Any

import pytest
from console_routes import addresses, routes
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.core.cache import cache
from django.http import HttpRequest
from django.middleware.csrf import get_token
from django.test import Client as Browser
from test_admin import _static_files  # noqa: F401 - a fixture
from test_role_matrix import everything, one_row_of_everything

pytestmark = pytest.mark.django_db
PASSWORD = "ada's password 1"
ELSEWHERE = (
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example",
    "https:evil.example",
    "http:///evil.example/",
    "\thttps://evil.example/",
    "https://testserver@evil.example/",
    "https://testserver.evil.example/",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
)


@pytest.fixture(autouse=True)
def _no_guesses_yet() -> None:
    cache.clear()


def every_path() -> list[str]:
    return [path for route in routes() for path in addresses(route, {}, "x" * 32)]


def superuser(browser: Browser) -> Browser:
    browser.force_login(User.objects.get(pk=1))
    return browser


def test_a_post_without_the_form_s_token_is_refused_on_every_route() -> None:
    one_row_of_everything()
    ada, stranger = superuser(Browser(enforce_csrf_checks=True)), Browser(enforce_csrf_checks=True)
    another_s = get_token(HttpRequest())
    before, wrong, paths = everything(), [], every_path()
    for path in paths:
        for browser in (ada, stranger):
            for form in ({"post": "yes"}, {"csrfmiddlewaretoken": another_s, "post": "yes"}):
                answer = browser.post(path, form)
                if (answer.status_code, reason(answer)) != (403, "CSRF"):
                    wrong.append((path, answer.status_code))
    print(f"promise 20: {len(paths)} routes posted to without a token, {len(wrong)} wrong answers")
    assert wrong == []
    assert everything() == before
    assert "_auth_user_id" in ada.session, "nobody was logged out"


def reason(answer: Any) -> str:
    return str(answer.json().get("reason", "")) if answer["content-type"] == "application/json" else ""


def test_no_page_may_be_framed_and_each_carries_the_policy() -> None:
    one_row_of_everything()
    ada, wrong, pages = superuser(Browser()), [], 0
    for path in every_path():
        if path == "/admin/logout/":
            continue
        answer = ada.get(path)
        headers = answer.headers
        pages += answer.status_code == 200
        kept = (
            headers.get("X-Frame-Options") == "DENY"
            and "frame-ancestors 'none'" in headers.get("Content-Security-Policy", "")
            and headers.get("X-Content-Type-Options") == "nosniff"
            and headers.get("Referrer-Policy") == "same-origin"
        )
        if not kept:
            wrong.append((path, answer.status_code))
    assert wrong == []
    assert pages > 60


def test_a_method_that_a_page_does_not_take_is_refused_as_json() -> None:
    one_row_of_everything()
    ada, refused = superuser(Browser()), 0
    for path in every_path():
        answer = ada.delete(path)
        assert answer.status_code < 500, path
        if answer.status_code == 405:
            refused += 1
            assert answer.json()["error"] == "METHOD_NOT_ALLOWED", path
            assert "DELETE" not in answer.headers["Allow"], path
    assert refused > 10


def test_a_session_that_was_planted_before_the_login_is_not_the_one_after() -> None:
    User.objects.create_superuser("ada", "", PASSWORD)
    planted = SessionStore()
    planted["planted"] = True
    planted.create()
    for key in (planted.session_key, "a" * 32):
        browser = Browser()
        browser.cookies["sessionid"] = key
        assert browser.post("/admin/login/", {"username": "ada", "password": PASSWORD}).status_code == 302
        assert browser.cookies["sessionid"].value != key
        assert "_auth_user_id" not in SessionStore(key)
        assert browser.get("/admin/").status_code == 200


def test_a_logout_ends_the_session_for_whoever_else_has_its_key() -> None:
    User.objects.create_superuser("ada", "", PASSWORD)
    browser, thief = Browser(), Browser()
    browser.post("/admin/login/", {"username": "ada", "password": PASSWORD})
    thief.cookies["sessionid"] = browser.cookies["sessionid"].value
    assert thief.get("/admin/").status_code == 200
    browser.post("/admin/logout/")
    assert thief.get("/admin/").status_code == 302


@pytest.mark.parametrize("address", ELSEWHERE)
def test_the_way_on_after_a_login_leads_nowhere_else(address: str) -> None:
    User.objects.create_superuser("ada", "", PASSWORD)
    browser = Browser()
    login = {"username": "ada", "password": PASSWORD, "next": address}
    assert (
        browser.post("/admin/login/", login, query_params={"next": address}).headers["location"] == "/admin/"
    )
    for path in ("/admin/login/", "/admin/second-factor/"):
        assert browser.get(path, {"next": address}).headers["location"] == "/admin/", path
    gone = browser.post("/admin/logout/", {"next": address})
    assert "evil" not in gone.headers.get("location", "")
