"""Sessions as they lie in the database: of no use to whoever reads it."""

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client as Browser
from test_admin import _static_files  # noqa: F401 - a fixture

from gateway.sessions import SessionStore

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def logged_in() -> Browser:
    User.objects.create_superuser("ada", "", "ada's password 1")
    browser = Browser()
    assert browser.login(username="ada", password="ada's password 1")
    return browser


def test_the_key_in_the_database_opens_nothing(logged_in: Browser) -> None:
    (stored,) = Session.objects.values_list("session_key", flat=True)
    own = logged_in.cookies["sessionid"].value
    assert stored != own
    assert logged_in.get("/admin/").status_code == 200
    logged_in.cookies["sessionid"] = stored
    assert logged_in.get("/admin/").status_code == 302
    logged_in.cookies["sessionid"] = own
    assert logged_in.get("/admin/").status_code == 200


def test_a_logout_removes_the_row_and_a_login_makes_a_new_one(logged_in: Browser) -> None:
    before = logged_in.cookies["sessionid"].value
    logged_in.post("/admin/logout/")
    assert not Session.objects.exists()
    assert logged_in.login(username="ada", password="ada's password 1")
    assert logged_in.cookies["sessionid"].value != before
    assert Session.objects.count() == 1


def test_a_store_knows_its_keys_again(settings: Any) -> None:
    store = SessionStore()
    store["n"] = 1
    store.create()
    key = store.session_key
    assert key is not None
    assert SessionStore(key)["n"] == 1
    assert store.exists(key)
    assert not store.exists("another")
    assert SessionStore("another").get("n") is None
    store["n"] = 2
    store.save()
    assert SessionStore(key)["n"] == 2
    store.delete()
    assert not store.exists(key)


def test_and_so_it_does_without_a_thread() -> None:
    async def told() -> list[Any]:
        store = SessionStore()
        await store.aset("n", 1)
        await store.acreate()
        key = store.session_key
        assert key is not None
        found = [
            await SessionStore(key).aget("n"),
            await store.aexists(key),
            await SessionStore("x").aget("n"),
        ]
        await store.adelete()
        return [*found, await store.aexists(key)]

    assert async_to_sync(told)() == [1, True, None, False]
