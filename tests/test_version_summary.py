"""What the history says of each version: what happened in a few words, how much, and the way to and from the record."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningGateway, running_gateway
from django.contrib.auth.models import Group, Permission, User
from django.db import connection, transaction
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from test_admin import KEY, _static_files, errors, provider_form  # noqa: F401 - a fixture

from clients.loader import issue
from clients.models import Client, ClientToken
from gateway.attribution import IN_THE_ADMIN, attributed
from gateway.configfile import peppers
from gateway.models import ConfigChange, ConfigVersion
from providers.models import Provider
from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db(transaction=True)
PASSWORD = "a password of theirs 1"
HISTORY = "/admin/gateway/configversion/"


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


def newest() -> ConfigVersion:
    version = ConfigVersion.objects.first()
    assert version is not None
    return version


def counts(version: ConfigVersion) -> tuple[int | None, int | None, int | None]:
    return version.added, version.changed, version.removed


def add_provider(browser: Browser, **more: Any) -> Provider:
    answer = browser.post("/admin/providers/provider/add/", provider_form(**more))
    assert answer.status_code == 302, errors(answer)
    return Provider.objects.latest("pk")


def change_provider(browser: Browser, provider: Provider, **more: Any) -> None:
    row = provider.capability_rows.get()
    form = provider_form(name=provider.name) | {
        "capability_rows-INITIAL_FORMS": 1,
        "capability_rows-0-id": row.pk,
    }
    answer = browser.post(f"/admin/providers/provider/{provider.pk}/change/", form | more)
    assert answer.status_code == 302, errors(answer)


def test_a_change_in_the_admin_says_what_happened(ada: Browser) -> None:
    provider = add_provider(ada)
    assert newest().reason == "Provider lmstudio_new added"
    assert counts(newest()) == (1, 0, 0)
    change_provider(ada, provider, **{"capability_rows-0-score": "12.5"})
    assert newest().reason == "Provider lmstudio_new changed: scores"
    assert counts(newest()) == (0, 1, 0)
    change_provider(ada, provider, **{"capability_rows-0-score": "12.5"})
    assert newest().reason == "Saved without a difference"
    assert counts(newest()) == (0, 0, 0)
    ada.post(f"/admin/providers/provider/{provider.pk}/delete/", {"post": "yes"})
    assert newest().reason == "Provider lmstudio_new removed"
    assert counts(newest()) == (0, 0, 1)


def test_a_revoked_token_is_named_and_never_shown(ada: Browser) -> None:
    with attributed("issue_token", ""), transaction.atomic():
        minted = issue("bob", ("chat",), peppers()[0])
    assert newest().reason == "Client bob added"
    token = ClientToken.objects.get()
    answer = ada.post(f"/admin/clients/clienttoken/{token.pk}/revoke/", {"post": "yes"})
    assert answer.status_code == 302
    assert newest().reason == f"Token {minted.token_id} of client bob revoked"
    assert newest().author == "ada"


def test_a_new_stored_key_is_told_though_no_file_shows_it(ada: Browser) -> None:
    provider = add_provider(ada, credential_source="stored", new_key=KEY)
    change_provider(ada, provider, credential_source="stored", new_key=f"{KEY}-2")
    version = newest()
    assert version.reason == "Provider lmstudio_new changed: stored credential"
    page = ada.get(f"{HISTORY}{version.pk}/change/").content.decode()
    assert "stored credential" in page
    assert KEY not in page


def test_of_several_the_first_is_named_and_a_reason_that_was_given_wins() -> None:
    for reason in (IN_THE_ADMIN, ""):
        with attributed("ada", reason), transaction.atomic():
            for n in range(4):
                Client.objects.create(tool_id=f"client-{n}{reason}")
        assert newest().reason == f"Client client-0{reason} added; and 3 more"
    with attributed("ada", "CHG-7"), transaction.atomic():
        Client.objects.all().delete()
    assert newest().reason == "CHG-7"
    assert counts(newest()) == (0, 0, 8)


def test_a_change_outside_of_a_transaction_is_summed_up_too() -> None:
    Client.objects.create(tool_id="bob")
    assert newest().reason == "Client bob added"
    assert [row.version_id for row in ConfigChange.objects.filter(table="clients.client")] == [newest().pk]


def test_what_a_process_died_over_is_made_up_for_by_the_next_version() -> None:
    with attributed("ada", IN_THE_ADMIN), transaction.atomic():
        Client.objects.create(tool_id="bob")
    missed = newest()
    ConfigVersion.objects.update(added=None, changed=None, removed=None, reason=IN_THE_ADMIN)
    with transaction.atomic():
        Client.objects.create(tool_id="charlie")
    missed.refresh_from_db()
    assert (missed.reason, counts(missed)) == ("Client bob added", (1, 0, 0))
    assert newest().reason == "Client charlie added"


def test_what_is_undone_inside_of_a_change_is_not_part_of_it() -> None:
    with transaction.atomic():
        with transaction.atomic():
            Client.objects.create(tool_id="eve")
            transaction.set_rollback(True)
        Client.objects.create(tool_id="bob")
    assert ConfigVersion.objects.count() == 1
    assert newest().reason == "Client bob added"
    assert newest().changes.count() == 1


def test_the_list_reads_no_files_and_takes_the_same_queries_for_few_and_many(ada: Browser) -> None:
    def captured() -> list[str]:
        with CaptureQueriesContext(connection) as caught:
            assert ada.get(HISTORY).status_code == 200
        return [query["sql"] for query in caught]

    Client.objects.create(tool_id="first")
    few = captured()
    for n in range(30):
        Client.objects.create(tool_id=f"client-{n}")
    many = captured()
    assert len(many) == len(few)
    assert not [sql for sql in many if '"before"' in sql or "providers_provider" in sql]
    page = ada.get(HISTORY).content.decode()
    assert page.count(">1 added<") == 25
    assert "31 configuration versions" in page


def test_a_version_leads_to_its_rows_and_a_row_to_its_version(ada: Browser) -> None:
    provider = add_provider(ada)
    page = ada.get(f"{HISTORY}{newest().pk}/change/").content.decode()
    row = ConfigChange.objects.get(table="providers.provider")
    assert f'href="/admin/gateway/configchange/{row.pk}/change/"' in page
    back = ada.get(f"/admin/gateway/configchange/{row.pk}/change/").content.decode()
    assert f'<a href="{HISTORY}{newest().pk}/change/">version {newest().pk}</a>' in back
    with transaction.atomic():
        for n in range(60):
            provider.aliases.create(name=f"alias-{n}", model_id="m")
    page = ada.get(f"{HISTORY}{newest().pk}/change/").content.decode()
    assert "And 10 more" in page
    listed = ada.get(f"/admin/gateway/configchange/?version={newest().pk}").context["cl"]
    assert listed.result_count == 60


def test_a_call_leads_to_the_version_that_decided_for_who_may_see_it(ada: Browser) -> None:
    add_provider(ada)
    call = RequestLog.objects.create(
        call_id=uuid.uuid4(), tool_id="bob", token_id="t", method="chat", peer="", outcome="ok", status=200,
        started_at=timezone.now(), duration_ms=1, config_version=newest().pk,
    )  # fmt: skip
    record, version = f"/admin/telemetry/requestlog/{call.pk}/change/", f"{HISTORY}{newest().pk}/change/"
    olgas = User.objects.create_user("olga", "", "olga's password 1", is_staff=True)
    olgas.groups.add(Group.objects.get(name="auditors"))
    olga = Browser()
    olga.force_login(olgas)
    for browser in (ada, olga):
        assert f'<a href="{version}">version {newest().pk}</a>' in browser.get(record).content.decode()
        assert "lmstudio_new" in browser.get(version).content.decode()
    olgas.groups.clear()
    olgas.user_permissions.add(Permission.objects.get(codename="view_requestlog"))
    assert f'href="{version}"' not in olga.get(record).content.decode()
    RequestLog.objects.update(config_version=0)
    assert HISTORY not in ada.get(record).content.decode()


@pytest.mark.parametrize("role", ["viewers", "auditors", "operators"])
def test_what_a_version_changed_is_seen_by_whoever_sees_versions(ada: Browser, role: str) -> None:
    provider = add_provider(ada, credential_source="stored", new_key=KEY)
    bob = Client.objects.create(tool_id="bob")
    minted = issue("bob", (), peppers()[0])
    with transaction.atomic():
        provider.notes, bob.notes = "moved to the cellar", "new desk"
        provider.save()
        bob.save()
    someone = User.objects.create_user("someone", "", "someone's password 1", is_staff=True)
    someone.groups.add(Group.objects.get(name=role))
    browser = Browser()
    browser.force_login(someone)
    pages = [
        browser.get(f"{HISTORY}{version.pk}/change/").content.decode()
        for version in ConfigVersion.objects.all()
    ]
    told = "".join(pages)
    assert "moved to the cellar" in told
    assert "new desk" in told
    assert minted.token_id in told
    assert KEY not in told
    assert ClientToken.objects.get().digest not in told
    someone.groups.clear()
    assert browser.get(f"{HISTORY}{newest().pk}/change/").status_code == 403


class Operator:
    """A browser's requests to a real server."""

    def __init__(self, gateway: RunningGateway, name: str) -> None:
        self.client = httpx.Client(base_url=gateway.url, timeout=60, trust_env=False)
        self.post("/admin/login/", {"username": name, "password": PASSWORD, "next": "/admin/"})

    def post(self, path: str, form: dict[str, Any]) -> None:
        self.client.get(path)
        answer = self.client.post(path, data=form | {"csrfmiddlewaretoken": self.client.cookies["csrftoken"]})
        assert answer.status_code == 302, answer.text


TOLD = """
import json; from gateway.models import ConfigChange
rows = ConfigChange.objects.filter(author__in=("ada", "otto")).order_by("version_id", "pk").select_related("version")
print(json.dumps([
    {"author": row.author, "row": row.row, "before": row.before["notes"], "after": row.after["notes"],
     "version": [row.version.pk, row.version.author, row.version.reason, row.version.changed]}
    for row in rows
]))
"""


def test_two_operators_saving_at_once_are_told_apart(tmp_path: Path) -> None:
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    names = ("shared", "ada-s", "otto-s")
    clients = [{"toolId": name, "token": name, "allowedMethods": [], "notes": "new"} for name in names]
    rounds = 5
    with running_gateway(tmp_path, {"providers": {}}, {"clients": clients}, env) as gateway:
        gateway.manage("createsuperuser", "--noinput", "--username", "otto", "--email", "o@example.org")
        together = threading.Barrier(2)

        def save(name: str, own: int) -> None:
            operator = Operator(gateway, name)
            for n in range(rounds):
                for pk in (1, own):
                    together.wait(60)
                    form = {"tool_id": names[pk - 1], "enabled": "on", "notes": f"{name} {n}"}
                    operator.post(f"/admin/clients/client/{pk}/change/", form)
            operator.client.close()

        with ThreadPoolExecutor() as pool:
            for done in [pool.submit(save, "ada", 2), pool.submit(save, "otto", 3)]:
                done.result()
        told = json.loads(gateway.manage("shell", "-v", "0", "-c", TOLD).stdout)
    assert len(told) == 4 * rounds
    assert len({row["version"][0] for row in told}) == len(told)
    for row in told:
        reason = f"Client {row['row']} changed: notes"
        assert row["version"][1:] == [row["author"], reason, 1]
        assert row["after"].startswith(row["author"])
    for name in names:
        rows = [row for row in told if row["row"] == name]
        assert [row["before"] for row in rows] == ["new", *(row["after"] for row in rows[:-1])]
    assert {row["author"] for row in told if row["row"] == "shared"} == {"ada", "otto"}
