"""History and roll back, files and database compared, exports and downloads."""

from pathlib import Path
from typing import Any

import pytest
from config_pages import (  # noqa: F401 - fixtures
    ENTRY,
    HOME,
    ONE,
    TWO,
    _static_files,
    ada,
    apply,
    folder,
    planned,
    rolled_back,
    text_of,
    write,
)
from conftest import registry, running_gateway
from django.conf import settings
from django.test import Client as Browser

from clients.loader import issue, revoke
from clients.models import Client, ClientToken
from gateway.checks import files_and_database
from gateway.configfile import CLIENTS, FILES, PROVIDERS, drifted, export_file, import_files, peppers
from gateway.models import ConfigVersion
from gateway.rendering import render, render_all
from providers.models import Provider
from providers.secrets import KeyRing
from providers.stored_keys import keep
from providers.types import Secret

pytestmark = pytest.mark.django_db(transaction=True)


def test_roll_back_makes_the_export_of_then(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    apply(ada, planned(ada, CLIENTS, registry()))
    then, version = render_all(), ConfigVersion.objects.first()
    assert version is not None
    apply(ada, planned(ada, PROVIDERS, {"providers": {"three": ENTRY}}))
    apply(ada, planned(ada, CLIENTS, {"clients": []}))
    assert render_all() != then
    rolled = rolled_back(ada, version)
    said = text_of(ada.get(rolled))
    assert "token" in said
    assert "hmac" not in said
    done = apply(ada, rolled)
    newest = ConfigVersion.objects.first()
    assert newest is not None
    assert newest.reason == f"roll back to version {version.pk}"
    assert f"version {newest.pk}" in text_of(done)
    assert render_all() == then
    assert ClientToken.objects.count() == 2


def test_roll_back_gives_a_token_its_former_id_back(ada: Browser) -> None:
    apply(ada, planned(ada, CLIENTS, registry()))
    then, version = render_all(), ConfigVersion.objects.get()
    apply(ada, planned(ada, CLIENTS, {"clients": []}))
    apply(ada, planned(ada, CLIENTS, registry()))
    assert render_all() != then, "the same tokens have new ids"
    apply(ada, rolled_back(ada, version))
    assert render_all() == then


def test_roll_back_warns_of_keys_that_are_gone_and_tokens_that_live_again(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, {"providers": {"one": ENTRY | {"apiKey": {"stored": True}}}}))
    minted = issue("bob", ("chat",), peppers()[0])
    version = ConfigVersion.objects.first()
    assert version is not None
    revoke(minted.token_id)
    Provider.objects.get().delete()
    said = text_of(ada.get(rolled_back(ada, version)))
    assert "no key is stored for one" in said
    assert f"client bob: token {minted.token_id}: revocation taken back" in said


def test_a_roll_back_that_takes_a_stored_key_away_says_so_before(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    version = ConfigVersion.objects.get()
    apply(ada, planned(ada, PROVIDERS, TWO))
    keep("two", Secret("sk-canary"), KeyRing(settings.ENCRYPTION_KEYS))
    page = text_of(ada.get(f"/admin/gateway/configversion/{version.pk}/change/"))
    assert "Nothing is lost" not in page
    assert "keys stored for providers that it takes away are deleted for good" in page
    assert "The key stored for two is deleted for good" in text_of(ada.get(rolled_back(ada, version)))


def test_one_file_alone_rolls_back_and_newer_tokens_work_on(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    version = ConfigVersion.objects.get()
    apply(ada, planned(ada, PROVIDERS, TWO))
    issue("bob", ("chat",), peppers()[0])
    page = ada.get(f"/admin/gateway/configversion/{version.pk}/change/").content.decode()
    for name in FILES:
        assert f'<input type="checkbox" name="file" value="{name}" checked>' in page
    assert "stops working" in text_of(ada.get(rolled_back(ada, version)))
    assert "stops working" not in text_of(ada.get(rolled_back(ada, version, PROVIDERS)))
    apply(ada, rolled_back(ada, version, PROVIDERS))
    assert list(Provider.objects.values_list("name", flat=True)) == ["one"]
    assert ClientToken.objects.count() == 1
    newest = ConfigVersion.objects.first()
    assert newest is not None
    assert newest.reason == f"roll back of providers.json to version {version.pk}"
    refused = ada.post(f"/admin/gateway/configversion/{version.pk}/rollback/", {"file": ["x"]}, follow=True)
    assert "Choose what to roll back" in text_of(refused)


def test_history_tells_how_much_changed_and_what(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, TWO))
    apply(ada, planned(ada, PROVIDERS, {"providers": {"two": ENTRY | {"notes": "spare"}}}))
    newest, first = ConfigVersion.objects.all()
    rows = text_of(ada.get("/admin/gateway/configversion/"))
    assert "ada import of uploaded.json 1 changed, 1 removed" in rows
    said = text_of(ada.get(f"/admin/gateway/configversion/{newest.pk}/change/"))
    assert "notes: not set → spare" in said
    assert "This is how it is now" in said
    assert "Roll back to here" not in said
    assert "Roll back to here" in text_of(ada.get(f"/admin/gateway/configversion/{first.pk}/change/"))


def test_a_version_of_an_earlier_release_says_so_and_offers_no_roll_back(ada: Browser) -> None:
    old = ConfigVersion.objects.create(author="start", reason="old")
    ConfigVersion.objects.create(author="start", reason="old too")
    assert "old not counted" in text_of(ada.get("/admin/gateway/configversion/"))
    said = text_of(ada.get(f"/admin/gateway/configversion/{old.pk}/change/"))
    assert "was not kept" in said
    assert "Roll back to here" not in said
    refused = ada.post(f"/admin/gateway/configversion/{old.pk}/rollback/", follow=True)
    assert "was not kept" in text_of(refused)


def test_the_history_runs_a_fixed_number_of_queries(ada: Browser, django_assert_max_num_queries: Any) -> None:
    for n in range(5):
        Client.objects.create(tool_id=f"client-{n}")
    with django_assert_max_num_queries(20):
        ada.get("/admin/gateway/configversion/")


def test_the_page_tells_drift_and_its_difference(ada: Browser, folder: Path) -> None:
    assert "there is no such file" in text_of(ada.get(HOME))
    assert drifted() == {}
    write(folder / PROVIDERS, ONE)
    said = text_of(ada.get(HOME))
    assert "the file changed and was not imported since" in said
    assert "What an import of the file would change in the database" in said
    assert list(drifted()) == [PROVIDERS]
    assert [w.id for w in files_and_database(databases=["default"])] == ["llm_caller.W002"]
    assert files_and_database(databases=None) == []
    url = ada.post(f"{HOME}import/{PROVIDERS}/", {"folder": "1"}).url
    done = apply(ada, url)
    assert "in sync" in text_of(done)
    assert drifted() == {}
    Provider.objects.create(name="by-hand", kind="openai", base_url="http://x", default_model="m", position=9)
    said = text_of(ada.get(HOME))
    assert "What an export would change in the file" in said
    assert "provider by-hand added" in said
    write(folder / PROVIDERS, {"providers": {"one": {}}})
    said = text_of(ada.get(HOME))
    assert "both changed" in said
    assert "/providers/one" in said


def test_the_page_s_difference_is_the_plan_s(ada: Browser, folder: Path) -> None:
    tokens = registry({"toolId": "dora", "token": "dora-token", "allowedMethods": ["chat"]})
    apply(ada, planned(ada, CLIENTS, registry()))
    apply(ada, planned(ada, PROVIDERS, ONE))
    write(folder / CLIENTS, tokens)
    changed = ENTRY | {"kind": "openai-compatible", "timeouts": {}, "scores": {"chat": 1.0}}
    write(folder / PROVIDERS, {"providers": {"zero": ENTRY, "one": changed}, "aliases": {"x": "one/m"}})
    cards = {file["name"]: file for file in ada.get(HOME).context["files"]}
    for name in FILES:
        url = ada.post(f"{HOME}import/{name}/", {"folder": "1"}).url
        (shown,) = ada.get(url).context["difference"]
        (card,) = cards[name]["difference"]
        assert card == shown
        assert card["count"] == (1 if name == CLIENTS else 3)


def test_drift_is_said_at_the_start_and_by_the_check(tmp_path: Path) -> None:
    with running_gateway(tmp_path, ONE, start=False) as gateway:
        agreed = gateway.manage("check", "--database", "default")
        write(tmp_path / "other.json", TWO)
        gateway.manage("import_config", "--providers", str(tmp_path / "other.json"))
        differs = gateway.manage("check", "--database", "default")
        gateway.start()
        lines = gateway.wait_for_lines("Configuration and file differ")
    assert "W002" not in agreed.stderr
    assert "providers.json: the database changed and was not exported since" in differs.stderr
    assert [(line["level"], line["metadata"]["file"]) for line in lines] == [("warn", PROVIDERS)]


def test_export_tells_its_backups(ada: Browser, folder: Path) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    assert "What it said before" not in text_of(ada.post(f"{HOME}export/{PROVIDERS}/", follow=True))
    said = text_of(ada.post(f"{HOME}export/{PROVIDERS}/", follow=True))
    assert "says the same already; nothing was written" in said
    for _ in range(3):
        (folder / PROVIDERS).write_text("{}")
        said = text_of(ada.post(f"{HOME}export/{PROVIDERS}/", follow=True))
        assert "What it said before is in providers.json." in said
    assert "Removed the old backup providers.json." in said
    assert (folder / PROVIDERS).read_bytes() == render(PROVIDERS)
    assert ada.get(f"{HOME}export/{PROVIDERS}/").status_code == 405


def test_a_failed_export_says_what_happened(ada: Browser, folder: Path) -> None:
    (folder / PROVIDERS).mkdir()
    assert "could not be" in text_of(ada.post(f"{HOME}export/{PROVIDERS}/", follow=True))


def test_a_download_is_the_export_and_is_kept_nowhere(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    response = ada.get(f"{HOME}download/{PROVIDERS}/")
    assert response.content == render(PROVIDERS)
    assert response.headers["content-disposition"] == 'attachment; filename="providers.json"'
    assert "no-store" in response.headers["cache-control"]
    assert ada.get(f"{HOME}download/secrets.json/").status_code == 404


def test_a_file_that_did_not_change_since_needs_no_version(ada: Browser, folder: Path) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    write(folder / PROVIDERS, ONE)
    url = ada.post(f"{HOME}import/{PROVIDERS}/", {"folder": "1"}).url
    assert "nothing to change" in text_of(ada.get(url))
    assert "no version was made" in text_of(apply(ada, url))
    assert ConfigVersion.objects.count() == 1
    assert drifted() == {}
    export_file(PROVIDERS, folder)
    import_files({PROVIDERS: folder / PROVIDERS})
    assert ConfigVersion.objects.count() == 1
