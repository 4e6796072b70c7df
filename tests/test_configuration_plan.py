"""Configuration as a plan: files shown before they are applied, history, roll back, drift, downloads."""

import base64
import json
import os
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import provider_entry, registry, running_gateway
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser

from clients.loader import issue, revoke
from clients.models import Client, ClientToken
from gateway import plans
from gateway.checks import files_and_database
from gateway.configfile import CLIENTS, FILES, PROVIDERS, drifted, export_file, import_files, peppers
from gateway.models import ConfigVersion
from gateway.reading import Content, Loaded
from gateway.rendering import render, render_all, unpack
from providers.models import Provider

pytestmark = pytest.mark.django_db(transaction=True)
HOME = "/admin/configuration/"
CANARY = 'canary "token" é 5d1f'
ENTRY = provider_entry("http://localhost:1/v1")
ONE, TWO = {"providers": {"one": ENTRY}}, {"providers": {"one": ENTRY | {"notes": "GPU"}, "two": ENTRY}}


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.CONFIG_DIR, settings.STATE_DIR = tmp_path / "config", tmp_path / "var"
    settings.CONFIG_DIR.mkdir()
    found: Path = settings.CONFIG_DIR
    return found


@pytest.fixture
def ada() -> Browser:
    return logged_in(User.objects.create_superuser("ada", "", "ada's password 1"))


def logged_in(user: User) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


def staff(name: str, *permissions: str) -> Browser:
    user = User.objects.create_user(name, "", f"{name}'s password 1", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return logged_in(user)


def write(path: Path, document: Any) -> None:
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def upload(browser: Browser, name: str, document: Any, **more: str) -> Any:
    text = document if isinstance(document, str) else json.dumps(document)
    file = SimpleUploadedFile("uploaded.json", text.encode(), "application/json")
    return browser.post(f"{HOME}import/{name}/", {"upload": "1", "file": file} | more)


def planned(browser: Browser, name: str, document: Any, **more: str) -> str:
    """The plan's URL."""
    response = upload(browser, name, document, **more)
    assert response.status_code == 302, response.content.decode()
    assert response.url.startswith(f"{HOME}plan/")
    url: str = response.url
    return url


def apply(browser: Browser, url: str, **more: str) -> Any:
    page = browser.get(url)
    assert page.status_code == 200
    return browser.post(url, {"version": page.context["version"]} | more, follow=True)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def text_of(response: Any) -> str:
    parser = _Text()
    parser.feed(response.content.decode())
    return " ".join(parser.words)


def kept_plans() -> list[Path]:
    found = Path(django_settings.STATE_DIR) / "plans"
    return list(found.iterdir()) if found.is_dir() else []


def test_an_upload_is_shown_then_applied_with_author_and_reason(ada: Browser) -> None:
    url = planned(ada, PROVIDERS, TWO)
    assert not Provider.objects.exists()
    said = text_of(ada.get(url))
    assert "provider one added" in said
    assert "notes: GPU" in said
    done = apply(ada, url, reason="second GPU")
    version = ConfigVersion.objects.get()
    assert (version.author, version.reason) == ("ada", "second GPU")
    assert f"Applied as version {version.pk}" in text_of(done)
    assert f'href="/admin/gateway/configversion/{version.pk}/change/"' in done.content.decode()
    assert list(json.loads(render(PROVIDERS))["providers"]) == ["one", "two"]
    assert kept_plans() == []
    assert "second GPU" in text_of(ada.get(f"/admin/gateway/configversion/{version.pk}/history/"))


def test_the_difference_names_old_and_new(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    said = text_of(ada.get(planned(ada, PROVIDERS, {"providers": {"one": ENTRY | {"defaultModel": "new"}}})))
    assert "provider one changed defaultModel: echo → new" in said


def test_a_broken_file_shows_every_pointer_and_changes_nothing(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    before = render_all()
    broken = {"providers": {"a": ENTRY | {"baseUrl": "ftp://x"}, "b/c": ENTRY | {"extra": 1}, "d": {}}}
    response = upload(ada, PROVIDERS, broken)
    said = text_of(response)
    assert response.status_code == 200
    for pointer in ("/providers/a/baseUrl", "/providers/b~1c/extra", "/providers/d"):
        assert pointer in said
    assert "nothing was changed" in said
    assert (render_all(), ConfigVersion.objects.count(), kept_plans()) == (before, 1, [])
    assert "is not JSON" in text_of(upload(ada, CLIENTS, "{"))
    assert "no file" not in text_of(ada.post(f"{HOME}import/{CLIENTS}/", {"upload": "1"}, follow=True))


def test_merge_only_adds_and_changes(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    url = planned(ada, PROVIDERS, {"providers": {"two": ENTRY}}, merge="1")
    assert "removed" not in text_of(ada.get(url))
    apply(ada, url)
    assert list(json.loads(render(PROVIDERS))["providers"]) == ["one", "two"]


def test_a_change_in_between_stops_the_plan_and_shows_it_anew(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    url = planned(ada, PROVIDERS, TWO)
    shown = ada.get(url).context["version"]
    Provider.objects.get().delete()
    again = ada.post(url, {"version": shown}, follow=True)
    assert again.redirect_chain[0][0] == url
    assert "nothing was applied" in text_of(again)
    assert not Provider.objects.exists()
    assert again.context["version"] > shown
    apply(ada, url)
    assert Provider.objects.count() == 2


def test_an_apply_that_names_no_version_is_not_one(ada: Browser) -> None:
    url = planned(ada, PROVIDERS, ONE)
    assert "nothing was applied" in text_of(ada.post(url, {}, follow=True))
    assert not Provider.objects.exists()


def test_a_cancelled_plan_is_gone(ada: Browser) -> None:
    url = planned(ada, PROVIDERS, ONE)
    assert "nothing was changed" in text_of(ada.post(url, {"cancel": "1"}, follow=True))
    assert kept_plans() == []
    assert "This plan is gone" in text_of(ada.get(url, follow=True))


def test_an_expired_plan_is_gone_and_removed(ada: Browser) -> None:
    user = User.objects.get()
    raw = json.dumps(ONE).encode()
    loaded = [Loaded(Content(PROVIDERS, "x", raw), raw, None, None, [])]
    plan_id = plans.keep(loaded, user.pk, merge=False, reason="", lifetime_s=-1)
    assert "This plan is gone" in text_of(ada.get(f"{HOME}plan/{plan_id}/", follow=True))
    assert kept_plans() == []


def test_plans_nobody_came_back_for_are_swept(ada: Browser) -> None:
    planned(ada, PROVIDERS, ONE)
    (old,) = kept_plans()
    os.utime(old, (1, 1))
    planned(ada, PROVIDERS, ONE)
    assert old not in kept_plans()
    assert len(kept_plans()) == 1


def test_nobody_else_opens_a_plan(ada: Browser) -> None:
    url = planned(ada, PROVIDERS, ONE)
    eve = logged_in(User.objects.create_superuser("eve", "", "eve's password 1"))
    assert "This plan is gone" in text_of(eve.get(url, follow=True))
    assert "This plan is gone" in text_of(eve.post(url, {"version": "0"}, follow=True))
    assert "This plan is gone" in text_of(eve.post(url, {"cancel": "1"}, follow=True))
    for odd in ("..", "a" * 100, "%2e%2e%2fdb"):
        assert eve.get(f"{HOME}plan/{odd}/").status_code in (302, 404)
    assert ada.get(url).status_code == 200


def test_roll_back_makes_the_export_of_then(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    apply(ada, planned(ada, CLIENTS, registry()))
    then, version = render_all(), ConfigVersion.objects.first()
    assert version is not None
    apply(ada, planned(ada, PROVIDERS, {"providers": {"three": ENTRY}}))
    apply(ada, planned(ada, CLIENTS, {"clients": []}))
    assert render_all() != then
    rolled = ada.post(f"/admin/gateway/configversion/{version.pk}/rollback/")
    said = text_of(ada.get(rolled.url))
    assert "token" in said
    assert "hmac" not in said
    done = apply(ada, rolled.url)
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
    apply(ada, ada.post(f"/admin/gateway/configversion/{version.pk}/rollback/").url)
    assert render_all() == then


def test_roll_back_warns_of_keys_that_are_gone_and_tokens_that_live_again(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, {"providers": {"one": ENTRY | {"apiKey": {"stored": True}}}}))
    minted = issue("bob", ("chat",), peppers()[0])
    version = ConfigVersion.objects.first()
    assert version is not None
    revoke(minted.token_id)
    Provider.objects.get().delete()
    said = text_of(ada.get(ada.post(f"/admin/gateway/configversion/{version.pk}/rollback/").url))
    assert "no key is stored for one" in said
    assert f"client bob: token {minted.token_id}: revocation taken back" in said


def test_a_plan_warns_of_the_clients_of_a_provider_that_goes(ada: Browser) -> None:
    call_with(PROVIDERS, TWO)
    bob = {"toolId": "bob", "token": "bob-token", "allowedMethods": ["chat"], "allowedProviders": ["two"]}
    call_with(CLIENTS, {"clients": [bob]})
    words = "Clients that may use no other provider, so that nothing answers them: bob."
    said = f"two is gone or disabled. {words}"
    assert said in text_of(ada.get(planned(ada, PROVIDERS, ONE)))
    disabled = {"providers": {"one": ENTRY, "two": ENTRY | {"enabled": False}}}
    assert said in text_of(ada.get(planned(ada, PROVIDERS, disabled)))
    assert "nothing answers" not in text_of(ada.get(planned(ada, PROVIDERS, ONE, merge="1")))


def call_with(name: str, document: Any) -> None:
    path = django_settings.CONFIG_DIR / name
    write(path, document)
    import_files({name: path})


def test_a_plan_warns_of_each_token_that_would_stop_working(ada: Browser) -> None:
    first = issue("bob", ("chat",), peppers()[0])
    version = ConfigVersion.objects.first()
    assert version is not None
    later, gone = issue("bob", (), peppers()[0]), issue("eve", ("chat",), peppers()[0])
    revoke(issue("bob", (), peppers()[0]).token_id)
    kept = json.loads(render(CLIENTS))
    rolled = text_of(ada.get(ada.post(f"/admin/gateway/configversion/{version.pk}/rollback/").url))
    assert f"Token {later.token_id} of client bob stops working." in rolled
    assert f"Token {gone.token_id} of client eve stops working." in rolled
    assert rolled.count("stops working") == 2, "neither the token that stays nor the revoked one"
    both = text_of(ada.get(planned(ada, CLIENTS, {"clients": kept["clients"][1:]})))
    assert f"Tokens {first.token_id}, {later.token_id} of client bob stop working" in both
    renamed = json.loads(render(CLIENTS))
    renamed["clients"][0]["tokens"][0]["id"] = "another-id"
    assert "stops working" not in text_of(ada.get(planned(ada, CLIENTS, renamed)))
    assert "stops working" not in text_of(ada.get(planned(ada, CLIENTS, {"clients": []}, merge="1")))


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
        lines = [line for line in gateway.log_lines() if line["message"] == "Configuration and file differ"]
    assert "W002" not in agreed.stderr
    assert "providers.json: the database changed and was not exported since" in differs.stderr
    assert [(line["level"], line["metadata"]["file"]) for line in lines] == [("warn", PROVIDERS)]


def test_export_tells_its_backups(ada: Browser, folder: Path) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    assert "What it said before" not in text_of(ada.post(f"{HOME}export/{PROVIDERS}/", follow=True))
    for _ in range(2):
        assert "What it said before is in providers.json." in text_of(
            ada.post(f"{HOME}export/{PROVIDERS}/", follow=True)
        )
    said = text_of(ada.post(f"{HOME}export/{PROVIDERS}/", follow=True))
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


def test_olga_may_look_and_not_touch(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    apply(ada, planned(ada, PROVIDERS, TWO))
    version = ConfigVersion.objects.last()
    assert version is not None
    olga = staff("olga", "view_configversion", "view_provider", "view_client")
    assert "Apply" not in text_of(olga.get(HOME))
    assert olga.get(f"{HOME}download/{PROVIDERS}/").status_code == 200
    page = olga.get(f"/admin/gateway/configversion/{version.pk}/change/")
    assert page.status_code == 200
    assert "Roll back to here" not in text_of(page)
    refused = [
        olga.post(f"{HOME}export/{PROVIDERS}/"),
        upload(olga, PROVIDERS, ONE),
        olga.post(f"/admin/gateway/configversion/{version.pk}/rollback/"),
        olga.get(f"{HOME}plan/{'x' * 32}/"),
    ]
    assert [response.status_code for response in refused] == [403] * 4


def test_who_may_not_see_the_tables_sees_no_difference_either(ada: Browser, folder: Path) -> None:
    apply(ada, planned(ada, PROVIDERS, TWO))
    write(folder / PROVIDERS, ONE)
    version = ConfigVersion.objects.get()
    eve = staff("eve", "view_configversion")
    pages = [eve.get(HOME), eve.get(f"/admin/gateway/configversion/{version.pk}/change/")]
    assert [page.status_code for page in pages] == [200, 200]
    write(folder / PROVIDERS, {"providers": {"hidden": {}}})
    pages.append(eve.get(HOME))
    assert "cannot be imported" in text_of(pages[-1])
    assert not any(word in text_of(page) for page in pages for word in ("GPU", "hidden"))
    assert eve.get(f"{HOME}download/{PROVIDERS}/").status_code == 403
    nobody = staff("nobody")
    assert [nobody.get(url).status_code for url in (HOME, f"{HOME}download/{PROVIDERS}/")] == [403, 403]


def test_nothing_is_applied_without_the_form_s_own_token(ada: Browser) -> None:
    url = planned(ada, PROVIDERS, ONE)
    forged = Browser(enforce_csrf_checks=True)
    forged.cookies = ada.cookies
    for target in (url, f"{HOME}export/{PROVIDERS}/", f"{HOME}import/{PROVIDERS}/"):
        assert forged.post(target, {"version": "0"}).status_code == 403
    assert not Provider.objects.exists()


def test_an_operator_applies_with_add_configversion() -> None:
    operator = staff("otto", "view_configversion", "view_provider", "view_client", "add_configversion")
    apply(operator, planned(operator, PROVIDERS, ONE))
    assert ConfigVersion.objects.get().author == "otto"


def traces_of(secret: str) -> list[bytes]:
    raw = secret.encode()
    return [
        raw,
        base64.b64encode(raw)[:-4],
        json.dumps(secret)[1:-1].encode(),
        json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        secret.encode("latin-1"),
    ]


def everything_stored() -> bytes:
    found = [session.session_data.encode() for session in Session.objects.all()]
    found += [json.dumps(session.get_decoded()).encode() for session in Session.objects.all()]
    for path in kept_plans():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        found.append(path.read_bytes())
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            found += [
                bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                for row in cursor.fetchall()
                for value in row
            ]
    for version in ConfigVersion.objects.exclude(before=None):
        found.append(json.dumps(unpack(bytes(version.before or b""))).encode())
    return b"\n".join(found)


def test_a_plaintext_token_is_kept_nowhere_but_as_its_hash(ada: Browser) -> None:
    document = {"clients": [{"toolId": "bob", "token": CANARY, "allowedMethods": ["chat"]}]}
    url = planned(ada, CLIENTS, document)
    page = ada.get(url)
    assert "token (new, 1): added" in text_of(page)
    moments = [everything_stored() + page.content + str(page.headers).encode()]
    assert len(kept_plans()) == 1
    done = apply(ada, url)
    moments.append(everything_stored() + done.content)
    moments.append(ada.get(f"/admin/gateway/configversion/{ConfigVersion.objects.get().pk}/change/").content)
    moments.append(ada.get(f"{HOME}download/{CLIENTS}/").content)
    broken = {"clients": [{"toolId": "bob", "token": CANARY, "allowedMethods": ["fly"], "x": 1}]}
    moments.append(upload(ada, CLIENTS, broken).content + everything_stored())
    for trace in traces_of(CANARY):
        assert not any(trace in moment for moment in moments), trace
    assert ClientToken.objects.filter(digest=peppers()[0].digest(CANARY)).exists()


def test_uploads_never_touch_a_disk() -> None:
    assert django_settings.FILE_UPLOAD_HANDLERS == ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
    assert django_settings.FILE_UPLOAD_MAX_MEMORY_SIZE >= django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE


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
