"""Whoever changes the configuration queues before the first row is locked, so that nobody waits for a row whose owner
waits in the queue."""

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client as Browser
from form_pages import Links

from clients.grants import set_methods
from clients.loader import issue
from clients.models import Client, ClientToken
from gateway import versions
from gateway.configfile import peppers
from providers.models import Provider

pytestmark = pytest.mark.django_db(transaction=True)
WITHIN_S = 10
PAGES = {
    "rotate a token": ("/admin/clients/clienttoken/{token}/rotate/", {}),
    "change an expiry": ("/admin/clients/clienttoken/{token}/expiry/", {}),
    "revoke a token": ("/admin/clients/clienttoken/{token}/revoke/", {}),
    "issue a token": ("/admin/clients/client/{client}/issue/", {}),
    "change a client": ("/admin/clients/client/{client}/change/", {"notes": "of the editors"}),
    "delete a client": ("/admin/clients/client/{client}/delete/", {"post": "yes"}),
    "grant in the grid": ("/admin/clients/client/permissions/", {"may-{client}": "embed"}),
    "change a provider": ("/admin/providers/provider/{provider}/change/", {"notes": "GPU"}),
    "delete a provider": ("/admin/providers/provider/{provider}/delete/", {"post": "yes"}),
}
COMMANDS = {
    "revoke_token": ("{token_id}",),
    "rotate_token": ("{token_id}",),
    "rotate_keys": (),
}


@pytest.fixture(autouse=True)
def _where_rows_are_locked() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite's transactions queue by themselves, and lock no rows")
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def keys() -> dict[str, Any]:
    client = Client.objects.create(tool_id="bob")
    set_methods(client, ["chat"])
    token_id = issue("bob", (), peppers()[0]).token_id
    provider = Provider.objects.create(
        name="lmstudio_gpu", kind="lmstudio", base_url="http://localhost/v1", default_model="m",
        stored_credential=b"sealed",
    )  # fmt: skip
    token = ClientToken.objects.get()
    return {"client": client.pk, "token": token.pk, "token_id": token_id, "provider": provider.pk}


def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada"))
    return browser


@pytest.mark.parametrize("what", PAGES)
def test_a_page_that_changes_something_locks_no_row_while_it_queues(what: str, keys: dict[str, Any]) -> None:
    path, changes = PAGES[what][0].format(**keys), PAGES[what][1]
    browser = ada()
    page = browser.get(path)
    assert page.status_code == 200, page
    fields = dict(Links(page.content.decode()).fields)
    if "methods" in fields:
        fields["methods"] = page.context["adminform"].form["methods"].value()
    fields |= {name.format(**keys): value for name, value in changes.items()}
    answers: list[int] = []
    assert_queues(lambda: answers.append(browser.post(path, fields).status_code))
    assert answers in ([200], [302])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_changes_something_locks_no_row_while_it_queues(
    name: str, keys: dict[str, Any]
) -> None:
    def run() -> None:
        try:
            call_command(name, *(argument.format(**keys) for argument in COMMANDS[name]))
        except SystemExit:
            assert name == "rotate_keys", "which finds a key here that none opens"

    assert_queues(run)


def test_moving_a_provider_locks_no_row_while_it_queues(keys: dict[str, Any]) -> None:
    from providers.arrange import move

    Provider.objects.create(
        name="b", kind="lmstudio", base_url="http://localhost/v1", default_model="m", position=1
    )
    assert_queues(lambda: move(Provider.objects.get(name="b"), -1))


def assert_queues(act: Callable[[], object]) -> None:
    """With somebody else at the head of the queue, `act` waits for it and has locked nothing until then."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            act()
        except BaseException as error:
            failed.append(error)
        finally:
            connection.close()

    other = threading.Thread(target=run)
    with transaction.atomic():
        versions.queue()
        other.start()
        end = time.monotonic() + WITHIN_S
        while not somebody_queues():
            assert other.is_alive(), failed or "it did not queue"
            assert time.monotonic() < end
            time.sleep(0.02)
        for table in (Client, ClientToken, Provider):
            list(table.objects.select_for_update(nowait=True))
    other.join(WITHIN_S)
    assert not failed


def somebody_queues() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchone()[0])
