"""The change log: a row for every change of providers and clients, whoever made it, and never a secret in one."""

import json
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.db.models import QuerySet
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from test_admin import KEY, _static_files, errors, provider_form  # noqa: F401 - a fixture

from clients.loader import issue, note_use, revoke
from clients.models import Client, ClientToken
from gateway.attribution import attributed
from gateway.configfile import CLIENTS, PROVIDERS, import_files, peppers
from gateway.models import ConfigChange, ConfigVersion
from providers.loader import remember_discovered
from providers.models import Provider, ProviderModel

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


def of_configuration() -> QuerySet[ConfigChange]:
    """Without the accounts of the cast, which are told as well (`test_account_changes.py`)."""
    return ConfigChange.objects.exclude(table__startswith="auth.")


def told(**conditions: Any) -> list[tuple[str, str, str]]:
    rows = of_configuration().filter(**conditions).order_by("pk")
    return [(row.table.partition(".")[2], row.row, row.action) for row in rows]


def lmstudio(**more: Any) -> Provider:
    fields = {
        "name": "lmstudio",
        "kind": "lmstudio",
        "base_url": "http://localhost:1/v1",
        "default_model": "m",
    }
    return Provider.objects.create(**fields | more)


def import_clients(folder: Path, clients: list[dict[str, Any]], **more: Any) -> None:
    path = folder / CLIENTS
    path.write_text(json.dumps({"clients": clients} | more))
    import_files({CLIENTS: path})


def test_a_change_in_the_admin_says_who_and_before_and_after(ada: Browser) -> None:
    added = ada.post("/admin/providers/provider/add/", provider_form())
    assert added.status_code == 302, errors(added)
    provider = Provider.objects.get()
    assert told() == [
        ("provider", "lmstudio_new", "added"),
        ("providercapability", "lmstudio_new: chat", "added"),
    ]
    row = provider.capability_rows.get()
    form = provider_form(default_model="other", max_concurrency=4)
    form |= {"capability_rows-INITIAL_FORMS": 1, "capability_rows-0-id": row.pk}
    form |= {"capability_rows-0-score": "12.5"}
    saved = ada.post(f"/admin/providers/provider/{provider.pk}/change/", form)
    assert saved.status_code == 302, errors(saved)
    changed = ConfigChange.objects.get(table="providers.provider", action="changed")
    assert (changed.author, changed.reason) == ("ada", "changed in the admin")
    assert changed.before == {"default_model": "m", "max_concurrency": None}
    assert changed.after == {"default_model": "other", "max_concurrency": 4}
    score = ConfigChange.objects.get(table="providers.providercapability", action="changed")
    assert (score.before, score.after) == ({"score": 90.0}, {"score": 12.5})


def test_saving_without_a_difference_tells_nothing() -> None:
    provider = lmstudio()
    ConfigChange.objects.all().delete()
    provider.save()
    provider.save(update_fields=["notes"])
    assert told() == []


def test_only_the_fields_that_were_saved_are_told() -> None:
    provider = lmstudio()
    provider.notes, provider.default_model = "new", "not saved"
    provider.save(update_fields=["notes"])
    assert ConfigChange.objects.get(action="changed").after == {"notes": "new"}


def test_a_stored_key_is_told_as_changed(ada: Browser) -> None:
    ada.post("/admin/providers/provider/add/", provider_form(credential_source="stored", new_key=KEY))
    provider = Provider.objects.get()
    assert ConfigChange.objects.get(table="providers.provider").after["stored_credential"] == "changed"
    sealed = bytes(provider.stored_credential or b"")
    provider.stored_credential = b"another"
    provider.save()
    changed = ConfigChange.objects.filter(action="changed").latest("pk")
    assert (changed.before, changed.after) == ({}, {"stored_credential": "changed"})
    everything = repr(list(ConfigChange.objects.values()))
    assert KEY not in everything
    assert repr(sealed) not in everything
    assert sealed.hex() not in everything


def test_tokens_come_and_go_without_their_digests() -> None:
    with attributed("issue_token", "token for bob"):
        minted = issue("bob", ("chat",), peppers()[0])
    revoke(minted.token_id)
    token = ClientToken.objects.get()
    assert told() == [
        ("client", "bob", "added"),
        ("methodpermission", "bob may chat", "added"),
        ("clienttoken", f"bob {minted.token_id}", "added"),
        ("clienttoken", f"bob {minted.token_id}", "changed"),
    ]
    assert ConfigChange.objects.filter(author="issue_token").count() == 3
    revoked = ConfigChange.objects.get(action="changed")
    assert revoked.before == {"revoked_at": None}
    assert set(revoked.after) == {"revoked_at"}
    token.delete()
    everything = repr(list(ConfigChange.objects.values()))
    assert minted.text not in everything
    assert token.digest not in everything


def test_what_the_product_finds_out_itself_is_no_change() -> None:
    provider = lmstudio()
    minted = issue("bob", (), peppers()[0])
    ConfigChange.objects.all().delete()
    remember_discovered("lmstudio", ["one", "two"])
    note_use({minted.token_id: timezone.now()})
    found = ProviderModel.objects.create(provider=provider, model_id="three", configured=False)
    found.discovered_at = timezone.now()
    found.save()
    token = ClientToken.objects.get()
    token.last_used_at = timezone.now()
    token.save()
    assert told() == []
    found.configured = True
    found.save()
    assert told() == [("providermodel", "lmstudio/three", "changed")]


def test_what_goes_with_a_provider_is_told_by_name() -> None:
    provider = lmstudio()
    provider.capability_rows.create(capability="chat", score=7)
    provider.aliases.create(name="fast", model_id="m")
    remember_discovered("lmstudio", ["one", "two"])
    Provider.objects.get().delete()
    assert sorted(told(action="removed")) == [
        ("modelalias", "fast → lmstudio/m", "removed"),
        ("provider", "lmstudio", "removed"),
        ("providercapability", "lmstudio: chat", "removed"),
    ]
    removed = ConfigChange.objects.get(table="providers.providercapability", action="removed")
    assert removed.before == {"provider": "lmstudio", "capability": "chat", "declared": True, "score": 7.0}
    assert removed.after == {}


def test_an_import_tells_each_row_and_one_that_changes_nothing_tells_none(tmp_path: Path) -> None:
    bob = {"toolId": "bob", "token": "bob-token", "allowedMethods": ["chat"]}
    charlie = {"toolId": "charlie", "token": "charlie-token", "allowedMethods": []}
    import_clients(tmp_path, [charlie, bob], description="ours")
    count = ConfigChange.objects.count()
    import_clients(tmp_path, [charlie, bob], description="ours")
    assert ConfigChange.objects.count() == count
    import_clients(tmp_path, [bob | {"notes": "editor"}], description="ours")
    later = ConfigChange.objects.order_by("pk")[count:]
    assert [(c.table, c.row.split()[0], c.action) for c in later] == [
        ("clients.clienttoken", "charlie", "removed"),
        ("clients.client", "charlie", "removed"),
        ("clients.client", "bob", "changed"),
    ]
    assert later[2].after == {"notes": "editor"}
    assert {c.author for c in later} == {"import"}
    assert "bob-token" not in repr(list(ConfigChange.objects.values()))


def test_commands_are_told_with_their_names(tmp_path: Path) -> None:
    path = tmp_path / PROVIDERS
    entry = {"baseUrl": "http://localhost:1/v1", "defaultModel": "m", "capabilities": ["chat"]}
    path.write_text(json.dumps({"providers": {"lmstudio": entry}}))
    call_command("import_config", providers=path, stdout=StringIO())
    change = ConfigChange.objects.get(table="providers.provider")
    assert change.author == "import_config"
    assert "import of" in change.reason


def test_a_change_that_is_rolled_back_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / CLIENTS
    path.write_text(json.dumps({"clients": [{"toolId": "bob", "token": "t", "allowedMethods": []}]}))
    import_files({CLIENTS: path}, dry_run=True)
    assert not Client.objects.exists()
    assert told() == []


@pytest.mark.alone
def test_a_thousand_clients_are_imported_in_reasonable_time(tmp_path: Path) -> None:
    methods = ["chat", "chatStream", "embed", "getHealth", "models"]
    clients = [{"toolId": f"c{n}", "token": f"token-{n}", "allowedMethods": methods} for n in range(1000)]
    began = time.monotonic()
    import_clients(tmp_path, clients)
    first = time.monotonic() - began
    assert ConfigChange.objects.count() == 7000
    clients[0]["notes"] = "x"
    began = time.monotonic()
    import_clients(tmp_path, clients)
    print(
        f"1,000 clients imported in {first:.1f} s, again with one changed in {time.monotonic() - began:.1f} s"
    )
    assert ConfigChange.objects.count() == 7001
    assert ConfigVersion.objects.count() <= 2


def test_the_page_of_a_change_reads_before_and_after_and_leads_to_the_row(ada: Browser) -> None:
    provider = lmstudio(notes="<b>old</b>")
    provider.notes = "<b>new</b>"
    provider.save()
    change = ConfigChange.objects.get(action="changed")
    page = ada.get(f"/admin/gateway/configchange/{change.pk}/change/").content.decode()
    assert '<del class="removed">&lt;b&gt;old&lt;/b&gt;</del>' in page
    assert '<ins class="added">&lt;b&gt;new&lt;/b&gt;</ins>' in page
    assert f'href="/admin/providers/provider/{provider.pk}/change/"' in page
    provider.delete()
    page = ada.get(f"/admin/gateway/configchange/{change.pk}/change/").content.decode()
    assert "lmstudio (no longer there)" in page
    listed = ada.get("/admin/gateway/configchange/?table=providers.provider").content.decode()
    assert listed.count("lmstudio") >= 3
    assert "notes" in listed


def test_olga_reads_changes_without_links_that_she_may_not_follow() -> None:
    lmstudio()
    olga = Browser()
    user = User.objects.create_user("olga", "", "olga's password 1", is_staff=True)
    user.groups.add(Group.objects.get(name="auditors"))
    olga.force_login(user)
    page = olga.get(f"/admin/gateway/configchange/{of_configuration().get().pk}/change/").content.decode()
    assert "lmstudio" in page
    assert "/admin/providers/provider/" not in page


def test_the_list_of_changes_takes_the_same_queries_for_few_and_many(ada: Browser) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            assert ada.get("/admin/gateway/configchange/").status_code == 200
        return len(caught)

    provider = lmstudio()
    few = queries()
    for n in range(30):
        provider.notes = str(n)
        provider.save()
    assert queries() == few


def test_nobody_changes_the_change_log(ada: Browser) -> None:
    lmstudio()
    change = of_configuration().get()
    count = ConfigChange.objects.count()
    base = f"/admin/gateway/configchange/{change.pk}"
    assert ada.get("/admin/gateway/configchange/add/").status_code == 403
    assert ada.post(f"{base}/change/", {"author": "x"}).status_code == 403
    assert ada.post(f"{base}/delete/", {"post": "yes"}).status_code == 403
    ada.post("/admin/gateway/configchange/", {"action": "delete_selected", "_selected_action": change.pk})
    assert ConfigChange.objects.count() == count
