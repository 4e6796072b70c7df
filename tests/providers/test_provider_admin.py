"""Providers in the admin: the form of a kind, the grid, the order, and what can be done with a provider."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from fake_provider import FakeProvider

from gateway.models import ConfigVersion
from providers import observed
from providers.acts import ACTS
from providers.adapters import ADAPTERS
from providers.catalog import Observation
from providers.document import ProviderEntry, ProvidersDocument
from providers.loader import dump, store
from providers.models import ModelAlias, Provider

pytestmark = pytest.mark.django_db
BASE = "/admin/providers/provider/"
KEY = "sk-canary-51c0de"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:
    yield
    observed.note({})


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


def staff(name: str, *rights: str) -> Browser:
    user = User.objects.create_user(name, "", f"{name}'s password 1", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=rights))
    browser = Browser()
    browser.force_login(user)
    return browser


def provider(name: str, url: str = "http://127.0.0.1:9/v1", **more: Any) -> Provider:
    position = Provider.objects.count()
    row = Provider.objects.create(
        **{"name": name, "kind": "lmstudio", "base_url": url, "default_model": "echo", "position": position}
        | more
    )
    row.capability_rows.create(capability="chat", score=90)
    return row


def form(
    rows: dict[str, dict[str, Any]], stored: dict[str, int] | None = None, **more: Any
) -> dict[str, Any]:
    """What a browser sends: stored capabilities first, as the page lists them."""
    stored = stored or {}
    names = [*stored, *(name for name in ("chat", "chatStream", "embed") if name not in stored)]
    sent: dict[str, Any] = {
        "name": "lmstudio_new",
        "kind": "lmstudio",
        "base_url": "http://localhost:1234/v1",
        "default_model": "m",
        "enabled": "on",
        "credential_source": "default",
        "capability_rows-TOTAL_FORMS": 3,
        "capability_rows-INITIAL_FORMS": len(stored),
    }
    for n, name in enumerate(names):
        row = {"capability": name, "id": stored.get(name, "")} | rows.get(name, {})
        sent |= {f"capability_rows-{n}-{field}": value for field, value in row.items()}
    return sent | more


def stored_rows(row: Provider) -> dict[str, tuple[bool, str, float | None, int]]:
    return {
        r.capability: (r.declared, r.default_model, r.score, r.position) for r in row.capability_rows.all()
    }


def said(response: Any) -> str:
    return " ".join(str(message) for message in response.context["messages"])


# The form


def test_the_form_carries_the_facts_of_every_kind_from_its_adapter(ada: Browser) -> None:
    page = ada.get(f"{BASE}add/").content.decode()
    for kind, adapter in ADAPTERS.items():
        assert f"?kind={kind}" in page
        assert adapter.description.replace("'", "&#x27;") in page
        assert (adapter.default_base_url or "") in page
        assert (adapter.default_key_env or "") in page


@pytest.mark.parametrize("kind", ADAPTERS)
def test_a_chosen_kind_fills_in_what_is_usual_for_it_without_a_script(ada: Browser, kind: str) -> None:
    adapter = ADAPTERS[kind]
    response = ada.get(f"{BASE}add/", {"kind": kind})
    asked = response.context["adminform"].form
    assert asked["base_url"].value() == (adapter.default_base_url or "")
    page = response.content.decode()
    assert adapter.label in page
    rows = dict(re.findall(r'<tr data-capability="(\w+)"([^>]*)>', page))
    shown = [name for name, attributes in rows.items() if "hidden" not in attributes]
    assert set(shown) == adapter.capabilities


def test_an_unknown_kind_in_the_address_chooses_nothing(ada: Browser) -> None:
    response = ada.get(f"{BASE}add/", {"kind": "no-such"})
    assert response.context["kind"] is None
    assert "What kind of provider is it?" in response.content.decode()


def test_only_rows_that_say_something_are_stored_and_each_in_its_place(ada: Browser) -> None:
    rows = {"chat": {"declared": "on", "score": "90"}, "embed": {"default_model": "embed-3"}}
    assert ada.post(f"{BASE}add/", form(rows)).status_code == 302
    row = Provider.objects.get()
    assert stored_rows(row) == {"chat": (True, "", 90.0, 0), "embed": (False, "embed-3", None, 1)}
    assert dump()["providers"]["lmstudio_new"]["capabilities"] == ("chat",)


def test_a_row_that_says_nothing_any_more_goes_and_a_new_one_stands_behind_the_rest(ada: Browser) -> None:
    row = provider("lmstudio_new")
    row.capability_rows.create(capability="embed", default_model="embed-3", position=1)
    ids = {r.capability: r.pk for r in row.capability_rows.all()}
    rows = {"embed": {"declared": "on", "default_model": "embed-4"}, "chatStream": {"declared": "on"}}
    saved = ada.post(f"{BASE}{row.pk}/change/", form(rows, stored=ids))
    assert saved.status_code == 302
    assert stored_rows(row) == {"embed": (True, "embed-4", None, 1), "chatStream": (True, "", None, 2)}


def test_a_form_sent_back_as_it_came_changes_nothing_in_the_file(ada: Browser) -> None:
    entry = ProviderEntry(
        base_url="http://localhost:1234/v1",
        default_model="m",
        capabilities=("embed", "chat"),
        defaults={"embed": "e", "chatStream": "s"},
        scores={"chat": 92.5, "chatStream": 7},
        models=("two", "one"),
        notes="line\nline",
    )
    store(ProvidersDocument(providers={}), {"lmstudio_x": entry}, merge=False)
    before = dump()
    page = ada.get(f"{BASE}{Provider.objects.get().pk}/change/").context
    (grid,) = (inline.formset for inline in page["inline_admin_formsets"])
    sent = {}
    for part in (page["adminform"].form, grid.management_form, *grid.forms):
        sent |= {field.html_name: field.value() for field in part if field.value() not in (None, False)}
    saved = ada.post(f"{BASE}{Provider.objects.get().pk}/change/", sent)
    assert saved.status_code == 302
    assert dump() == before
    assert list(before["providers"]["lmstudio_x"]["capabilities"]) == ["embed", "chat"]


def test_a_kind_changed_to_one_that_cannot_is_refused_as_before(ada: Browser) -> None:
    refused = ada.post(f"{BASE}add/", form({"embed": {"declared": "on"}}, kind="anthropic"))
    assert "Providers of kind anthropic have no embed." in refused.content.decode()
    assert not Provider.objects.exists()


def test_known_models_are_offered_and_stay_few(ada: Browser) -> None:
    row = provider("lmstudio_new")
    row.model_rows.create(model_id="mine")
    row.model_rows.create(
        model_id="found", configured=False, discovered_at="2026-01-01T00:00Z", position=1000
    )
    page = ada.get(f"{BASE}{row.pk}/change/").content.decode()
    assert '<option value="mine">' in page
    assert '<option value="found">' in page
    assert page.count('list="known-models"') == 4, "the provider's default and one a row"


def test_a_viewer_reads_the_form_and_may_change_nothing(ada: Browser) -> None:
    row = provider("lmstudio_new", notes="by hand")
    row.model_rows.create(model_id="mine")
    olga = staff("olga", "view_provider", "view_providercapability")
    page = olga.get(f"{BASE}{row.pk}/change/").content.decode()
    assert "by hand" in page
    assert "capability_rows-0-score" not in page
    assert "Check now" not in page
    assert olga.post(f"{BASE}{row.pk}/change/", form({"chat": {"declared": "on"}})).status_code == 403


def test_a_new_provider_comes_last_whatever_the_browser_sends(ada: Browser) -> None:
    provider("first")
    ada.post(f"{BASE}add/", form({"chat": {"declared": "on"}}, position="0"))
    assert [row.name for row in Provider.objects.all()] == ["first", "lmstudio_new"]
    assert Provider.objects.get(name="lmstudio_new").position == 1


@pytest.mark.parametrize(
    ("url", "warning"),
    [
        ("http://no-such-host.invalid/v1", "cannot be resolved"),
        ("http://localhost:1234/v1", ""),
        ("http://127.0.0.1:1234/v1", ""),
        ("http://[::1]:1234/v1", ""),
    ],
)
def test_a_host_name_is_looked_up_at_save_and_warned_of_but_saved(
    ada: Browser, url: str, warning: str
) -> None:
    saved = ada.post(f"{BASE}add/", form({"chat": {"declared": "on"}}, base_url=url), follow=True)
    assert Provider.objects.get().base_url == url
    assert (warning in said(saved)) if warning else ("resolve" not in said(saved))


def test_a_name_that_no_client_can_dial_is_refused_at_save(ada: Browser) -> None:
    refused = ada.post(f"{BASE}add/", form({"chat": {"declared": "on"}}, base_url="http://☃..example/v1"))
    assert "Not a URL" in refused.content.decode()


@pytest.mark.parametrize("port", ["99999", "-1", "x"])
def test_a_port_that_there_is_not_is_said_to_be_the_trouble(ada: Browser, port: str) -> None:
    refused = ada.post(
        f"{BASE}add/", form({"chat": {"declared": "on"}}, base_url=f"http://localhost:{port}/v1")
    )
    assert "The port of the URL is no number from 0 to 65535" in refused.content.decode()
    assert "Not a URL" not in refused.content.decode()


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("http://user:canary-pw@localhost:1234/v1", "http://localhost:1234/v1"),
        ("HTTPS://:canary-pw@example.org", "HTTPS://example.org"),
        ("http://user:canary-pw/@#?x@localhost/v1", "http://localhost/v1"),
        ("user:canary-pw@localhost", "localhost"),
        ("http://user:canary-pw@localhost:99999", "http://localhost:99999"),
    ],
)
def test_a_password_typed_into_the_address_does_not_come_back(ada: Browser, typed: str, shown: str) -> None:
    refused = ada.post(f"{BASE}add/", form({"chat": {"declared": "on"}}, base_url=typed))
    assert refused.status_code == 200
    assert "canary-pw" not in refused.content.decode()
    assert refused.context["adminform"].form["base_url"].value() == shown


# The list


def test_the_list_says_how_each_provider_is_and_whether_its_key_works(
    ada: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOD_KEY", KEY)
    for name, env in (("good", "GOOD_KEY"), ("bad", "GOOD_KEY"), ("gone", "NO_SUCH_KEY")):
        provider(name, credential_source="env", credential_name=env)
    monkeypatch.setenv("ODD_KEY", KEY + "é")
    provider("odd", credential_source="env", credential_name="ODD_KEY")
    provider("free")
    provider("off", enabled=False, credential_source="file", credential_name="/no/such/file")
    provider("sealed", credential_source="stored", stored_credential=b"\x01damaged")
    now = {"at": 0.0}
    observed.note(
        {
            "good": Observation(status="ok", models=("m",), **now),
            "bad": Observation(
                status="degraded", detail="The provider refused the credential (status 401)", **now
            ),
        }
    )
    page = ada.get(BASE).content.decode()
    assert KEY not in page
    rows = {
        name: page.split(f">{name}</a>")[1].split("</tr>")[0]
        for name in ("good", "bad", "gone", "free", "off", "sealed", "odd")
    }
    assert "ok" in rows["good"]
    assert "works" in rows["good"]
    assert "environment variable GOOD_KEY" in rows["good"]
    assert "chat 90" in rows["good"]
    assert "The provider refused the credential (status 401)" in rows["bad"]
    assert ">refused<" in rows["bad"]
    assert ">not set<" in rows["gone"]
    assert "not looked at" in rows["free"]
    assert "none needed" in rows["free"]
    assert "disabled" in rows["off"]
    assert "cannot be read" in rows["off"]
    assert "cannot be decrypted" in rows["sealed"]
    assert ">unusable<" in rows["odd"]


def test_the_list_asks_the_database_as_often_for_fifty_providers_as_for_one(ada: Browser) -> None:
    provider("only")
    counts = []
    for n in (0, 49):
        for k in range(n):
            provider(f"more-{k}")
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert ada.get(BASE).status_code == 200
        counts.append(len(asked))
    print(f"provider list: {counts[0]} queries")
    assert counts[0] == counts[1] <= 10


def test_an_empty_list_says_what_to_do_next(ada: Browser) -> None:
    assert "No providers yet" in ada.get(BASE).content.decode()
    provider("one")
    assert "No providers yet" not in ada.get(BASE).content.decode()


# The order


def names() -> list[str]:
    return [row.name for row in Provider.objects.all()]


@pytest.mark.django_db(transaction=True)
def test_arrows_move_a_provider_and_number_all_of_them_anew(ada: Browser) -> None:
    rows = [provider(name, position=place) for name, place in (("a", 3), ("b", 3), ("c", 9))]
    before = ConfigVersion.objects.count()
    moved = ada.post(f"{BASE}{rows[2].pk}/up/")
    assert moved.headers["location"] == f"{BASE}#row-{rows[2].pk}"
    assert names() == ["a", "c", "b"]
    assert [row.position for row in Provider.objects.all()] == [0, 1, 2]
    assert ConfigVersion.objects.count() == before + 1
    ada.post(f"{BASE}{rows[0].pk}/down/")
    assert names() == ["c", "a", "b"]
    assert "Moved to place 2." in LogEntry.objects.first().get_change_message()


@pytest.mark.django_db(transaction=True)
def test_at_the_ends_there_is_nowhere_to_go(ada: Browser) -> None:
    rows = [provider(name) for name in ("a", "b")]
    before = ConfigVersion.objects.count()
    assert "“a” is already number 1 of 2." in said(ada.post(f"{BASE}{rows[0].pk}/up/", follow=True))
    ada.post(f"{BASE}{rows[1].pk}/down/")
    assert names() == ["a", "b"]
    assert not LogEntry.objects.exists()
    assert ConfigVersion.objects.count() == before
    page = ada.get(BASE).content.decode()
    assert page.count('<button type="submit" formaction=') == 4
    assert 'aria-label="Move a up" disabled' in page
    assert 'aria-label="Move b down" disabled' in page


def test_arrows_are_there_only_where_the_list_shows_the_order(ada: Browser) -> None:
    provider("a")
    assert "Move a up" in ada.get(BASE).content.decode()
    assert "Move a up" not in ada.get(BASE, {"q": "a"}).content.decode()
    assert "Move a up" not in ada.get(BASE, {"enabled__exact": "1"}).content.decode()


# What can be done with a provider


def act(browser: Browser, name: str, *rows: Provider, **more: Any) -> Any:
    sent = {"action": name, "index": 0, "_selected_action": [row.pk for row in rows]}
    return browser.post(BASE, sent, follow=True, **more)


@pytest.mark.django_db(transaction=True)
def test_check_now_tells_health_latency_models_and_defaults_that_are_not_listed(
    ada: Browser, fake: FakeProvider
) -> None:
    well, other = provider("well", fake.url), provider("other", fake.url, default_model="not-there")
    before = ConfigVersion.objects.count()
    page = act(ada, "check_now", well, other).content.decode()
    assert page.count("It lists 2 models and answered in ") == 2
    assert page.count("Not in its list: <code>not-there</code>") == 1
    assert len(fake.hits) == 2
    assert ConfigVersion.objects.count() == before
    assert "It lists 2 models" in ada.post(f"{BASE}{well.pk}/check/").content.decode()


def test_discovered_models_are_stored_and_offered(ada: Browser, fake: FakeProvider) -> None:
    row, gone = provider("well", fake.url), provider("gone")
    answer = said(act(ada, "discover_models", row, gone))
    assert "“well”: 2 models found" in answer
    assert (
        "“gone”: The provider cannot be reached; is it running, and is its base URL right? Start it" in answer
    )
    page = ada.get(f"{BASE}{row.pk}/change/").content.decode()
    assert '<option value="embed-3">' in page
    assert LogEntry.objects.get().get_change_message() == "Discovered 2 models."


@pytest.mark.django_db(transaction=True)
def test_providers_are_switched_off_and_on_in_one_version(ada: Browser) -> None:
    rows = [provider(name) for name in ("a", "b")]
    before = ConfigVersion.objects.count()
    assert "Disabled: a, b." in said(act(ada, "disable", *rows))
    assert not Provider.objects.filter(enabled=True).exists()
    assert ConfigVersion.objects.count() == before + 1
    assert "Already disabled." in said(act(ada, "disable", *rows))
    assert ConfigVersion.objects.count() == before + 1
    back = ada.post(f"{BASE}{rows[0].pk}/enable/")
    assert back.headers["location"] == f"{BASE}{rows[0].pk}/change/"
    assert Provider.objects.get(enabled=True).name == "a"


def test_a_copy_has_everything_but_name_key_and_place_and_is_disabled(ada: Browser) -> None:
    ada.post(
        f"{BASE}add/",
        form(
            {"chat": {"declared": "on", "score": "7"}},
            credential_source="stored",
            new_key=KEY,
            configured_models="mine",
            total_ms="900",
        ),
    )
    row = Provider.objects.get()
    row.model_rows.create(model_id="found", configured=False, discovered_at="2026-01-01T00:00Z")
    opened = act(ada, "duplicate", row)
    copy = Provider.objects.get(name="lmstudio_new-copy")
    assert opened.redirect_chain[-1][0] == f"{BASE}{copy.pk}/change/"
    assert "enter one" in said(opened)
    assert (copy.enabled, copy.stored_credential, copy.position) == (False, None, 1)
    assert copy.uid != row.uid
    first, second = (entry for entry in dump()["providers"].values())
    assert second == first | {"enabled": False}
    assert copy.model_rows.count() == 2
    again = ada.post(f"{BASE}{row.pk}/duplicate/", follow=True)
    assert Provider.objects.filter(name="lmstudio_new-copy-2").exists(), again


def test_the_longest_name_can_be_copied_too(ada: Browser) -> None:
    ada.post(f"{BASE}{provider('n' * 100).pk}/duplicate/")
    assert Provider.objects.get(position=1).name == "n" * 95 + "-copy"


def test_several_at_once_are_not_copied(ada: Browser) -> None:
    assert "exactly one" in said(act(ada, "duplicate", provider("a"), provider("b")))
    assert Provider.objects.count() == 2


@pytest.mark.parametrize("name", ACTS)
def test_who_may_not_change_providers_may_not_act_on_them(name: str, fake: FakeProvider) -> None:
    row = provider("a", fake.url)
    provider("b", fake.url)
    olga = staff("olga", "view_provider", "view_providercapability", "add_provider", "delete_provider")
    assert olga.post(f"{BASE}{row.pk}/{name}/").status_code == 403
    assert fake.hits == []
    assert (names(), Provider.objects.filter(enabled=True).count()) == (["a", "b"], 2)


def test_the_list_refuses_actions_to_who_may_not_take_them(fake: FakeProvider) -> None:
    row = provider("a", fake.url)
    olga = staff("olga", "view_provider")
    for name in ("check_now", "discover_models", "enable", "disable", "duplicate", "delete_selected"):
        assert act(olga, name, row).status_code == 403, name
    assert fake.hits == []
    assert Provider.objects.get().enabled


def test_an_act_is_a_post_on_a_provider_that_exists(ada: Browser) -> None:
    row = provider("a")
    assert ada.get(f"{BASE}{row.pk}/disable/").status_code == 405
    assert ada.post(f"{BASE}{row.pk + 1}/disable/").status_code == 404
    assert Browser(enforce_csrf_checks=True).post(f"{BASE}{row.pk}/disable/").status_code in (302, 403)
    assert Provider.objects.get().enabled


def test_every_delete_says_what_goes_along_and_that_the_record_stays(ada: Browser) -> None:
    row = provider("a")
    ModelAlias.objects.create(name="fast", provider=row, model_id="m")
    one = ada.get(f"{BASE}{row.pk}/delete/").content.decode()
    several = act(ada, "delete_selected", row, provider("b")).content.decode()
    for page in (one, several):
        assert "<code>fast</code>" in page
        assert "The record of past calls stays" in page


def test_no_secret_reaches_a_page_a_message_or_the_history(ada: Browser, fake: FakeProvider) -> None:
    rows = {"chat": {"declared": "on"}}
    added = ada.post(
        f"{BASE}add/", form(rows, base_url=fake.url, credential_source="stored", new_key=KEY), follow=True
    )
    row = Provider.objects.get()
    fake.models_status = 401
    seen = [added, ada.get(BASE), ada.get(f"{BASE}{row.pk}/change/")]
    seen += [ada.post(f"{BASE}{row.pk}/{name}/", follow=True) for name in ACTS]
    seen += [ada.get(f"{BASE}{row.pk}/history/"), ada.get(f"{BASE}{row.pk}/delete/")]
    bad = form(rows, name="two words", credential_source="stored", new_key=KEY)
    seen.append(ada.post(f"{BASE}{row.pk}/change/", bad))
    assert [hit.headers["authorization"] for hit in fake.hits] == [f"Bearer {KEY}"] * 2
    assert all(KEY not in page.content.decode() for page in seen)
    assert all(KEY not in entry.change_message + entry.object_repr for entry in LogEntry.objects.all())
    assert "refused the credential (status 401)" in seen[3].content.decode()


def test_a_check_names_the_file_where_the_key_is_expected(ada: Browser) -> None:
    row = provider("filed", credential_source="file", credential_name="/no/such/key")
    page = ada.post(f"{BASE}{row.pk}/check/").content.decode()
    assert "Put the key into /no/such/key, readable for the gateway, and restart it" in page
