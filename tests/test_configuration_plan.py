"""Configuration as a plan: files shown before they are applied, by whom, and what of them is kept."""

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from config_pages import (  # noqa: F401 - fixtures
    CANARY,
    ENTRY,
    HOME,
    ONE,
    TWO,
    _static_files,
    ada,
    apply,
    folder,
    kept_plans,
    logged_in,
    planned,
    rolled_back,
    staff,
    text_of,
    upload,
    write,
)
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client as Browser

from clients.loader import issue, revoke
from clients.models import ClientToken
from gateway import plans
from gateway.configfile import CLIENTS, PROVIDERS, import_files, peppers
from gateway.models import ConfigVersion
from gateway.reading import Content, Loaded
from gateway.rendering import render, render_all, unpack
from providers.models import Provider

pytestmark = pytest.mark.django_db(transaction=True)


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


@pytest.mark.parametrize("number", ["1e400", "NaN", "-Infinity", "1e9"])
def test_a_score_that_is_no_number_is_refused_on_the_page_with_its_pointer(ada: Browser, number: str) -> None:
    entry = json.dumps(ENTRY).removesuffix("}")
    answer = upload(ada, PROVIDERS, f'{{"providers": {{"a": {entry}, "scores": {{"chat": {number}}}}}}}}}')
    said = text_of(answer)
    assert answer.status_code == 200
    assert "/providers/a/scores/chat" in said
    assert "nothing was changed" in said
    assert not Provider.objects.exists()


def test_a_plan_that_leaves_no_provider_says_so(ada: Browser) -> None:
    apply(ada, planned(ada, PROVIDERS, ONE))
    said = text_of(ada.get(planned(ada, PROVIDERS, {"providers": {}})))
    assert "No provider is left: nothing answers anybody." in said
    assert Provider.objects.exists()


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


def test_each_button_says_which_file_it_plans_and_an_upload_is_not_passed_over_in_silence(
    ada: Browser,
) -> None:
    call_with(PROVIDERS, ONE)
    page = text_of(ada.get(HOME))
    assert "Plan an import of the uploaded file" in page
    assert "Plan an import of the file in the folder" in page
    sent = {"folder": "1", "file": SimpleUploadedFile("other.json", json.dumps(TWO).encode())}
    plan = ada.post(f"{HOME}import/{PROVIDERS}/", sent, follow=True)
    assert "The chosen upload was not used: this is a plan of the file in the folder." in text_of(plan)
    assert plan.context["nothing"]


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
    assert "This plan is somebody else's" in text_of(eve.get(url, follow=True))
    assert "This plan is somebody else's" in text_of(eve.post(url, {"version": "0"}, follow=True))
    assert "This plan is somebody else's" in text_of(eve.post(url, {"cancel": "1"}, follow=True))
    for odd in ("..", "a" * 100, "%2e%2e%2fdb"):
        assert eve.get(f"{HOME}plan/{odd}/").status_code in (302, 404)
    assert ada.get(url).status_code == 200


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
    rolled = text_of(ada.get(rolled_back(ada, version)))
    assert f"Token {later.token_id} of client bob stops working." in rolled
    assert f"Token {gone.token_id} of client eve stops working." in rolled
    assert rolled.count("stops working") == 2, "neither the token that stays nor the revoked one"
    both = text_of(ada.get(planned(ada, CLIENTS, {"clients": kept["clients"][1:]})))
    assert f"Tokens {first.token_id}, {later.token_id} of client bob stop working" in both
    renamed = json.loads(render(CLIENTS))
    renamed["clients"][0]["tokens"][0]["id"] = "another-id"
    assert "stops working" not in text_of(ada.get(planned(ada, CLIENTS, renamed)))
    assert "stops working" not in text_of(ada.get(planned(ada, CLIENTS, {"clients": []}, merge="1")))


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


def test_who_may_not_see_the_tables_sees_no_difference_of_the_files_either(
    ada: Browser, folder: Path
) -> None:
    """What a version changed is seen by whoever may see versions."""
    apply(ada, planned(ada, PROVIDERS, TWO))
    write(folder / PROVIDERS, ONE)
    eve = staff("eve", "view_configversion")
    pages = [eve.get(HOME)]
    assert pages[0].status_code == 200
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


def test_a_plan_that_disables_a_client_warns_of_its_tokens(ada: Browser) -> None:
    token = issue("bob", ("chat",), peppers()[0])
    document = json.loads(render(CLIENTS))
    document["clients"][0]["enabled"] = False
    said = f"Token {token.token_id} of client bob stops working."
    assert said in text_of(ada.get(planned(ada, CLIENTS, document)))
    call_with(CLIENTS, document)
    assert said not in text_of(ada.get(planned(ada, CLIENTS, {"clients": []})))
