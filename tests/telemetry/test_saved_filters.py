"""Filters under a name: Olga's own, shared or not, and what Ada may do with them."""

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client as Browser

from telemetry.models import SavedFilter
from telemetry.saved_filters import MOST

pytestmark = pytest.mark.django_db
LIST = "/admin/telemetry/requestlog/"
FILTERS = f"{LIST}filters/"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def person(name: str, role: str) -> Browser:
    user = User.objects.create_user(name, "", f"{name}'s password 1", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Browser()
    browser.force_login(user)
    return browser


@pytest.fixture
def olga() -> Browser:
    return person("olga", "auditors")


def page(browser: Browser, path: str = FILTERS) -> str:
    return " ".join(browser.get(path).content.decode().split())


def save(browser: Browser, name: str, query: str = "client=bob&outcome=failed", **more: str) -> str:
    """What the page says, after the way it led."""
    answer = browser.post(FILTERS, {"name": name, "query": query} | more, follow=True)
    return " ".join(answer.content.decode().split())


def test_a_filter_is_saved_opened_in_one_click_renamed_and_deleted(olga: Browser) -> None:
    saved = olga.post(
        FILTERS, {"name": " failed of bob ", "query": "outcome=failed&client=bob&older=&model="}
    )
    assert saved.headers["location"] == f"{LIST}?client=bob&outcome=failed"
    row = SavedFilter.objects.get()
    assert (row.name, row.query, row.shared, row.owner.username) == (
        "failed of bob",
        "client=bob&outcome=failed",
        False,
        "olga",
    )
    assert f'href="{LIST}?client=bob&amp;outcome=failed"' in page(olga, LIST)
    assert "client bob, outcome failed" in page(olga)
    save(olga, "bob's", query="", filter=str(row.pk), shared="on")
    row.refresh_from_db()
    assert (row.name, row.query, row.shared) == ("bob's", "client=bob&outcome=failed", True)
    assert "was deleted" in save(olga, "", filter=str(row.pk), delete="Delete")
    assert not SavedFilter.objects.exists()


def test_what_is_shared_is_seen_by_others_and_changed_by_its_owner_alone(olga: Browser) -> None:
    save(olga, "ours", shared="on")
    save(olga, "mine", query="client=eve")
    ada = person("ada", "operators")
    for path in (LIST, FILTERS, "/admin/telemetry/savedfilter/"):
        seen = page(ada, path)
        assert "ours" in seen
        assert "mine" not in seen
    ours, mine = SavedFilter.objects.get(name="ours"), SavedFilter.objects.get(name="mine")
    for row in (ours, mine):
        for form in ({"delete": "Delete"}, {"name": "theirs"}):
            assert ada.post(FILTERS, {"filter": str(row.pk)} | form).status_code == 404
    assert set(SavedFilter.objects.values_list("name", flat=True)) == {"ours", "mine"}
    assert ada.get(f"/admin/telemetry/savedfilter/{mine.pk}/change/").status_code == 302
    assert 'name="filter"' not in page(ada)


@pytest.mark.parametrize(
    ("name", "query", "said"),
    [
        ("", "client=bob", "This field is required."),
        ("x" * 61, "client=bob", "at most 60 characters"),
        ("two\nlines", "client=bob", "A name is one line of text."),
        ("a\x00b", "client=bob", "Null characters are not allowed."),
        ("n", "", "Nothing is filtered yet"),
        ("n", "older=&client=", "Nothing is filtered yet"),
        ("n", "client=bob&since=never", "This is no filter of the record."),
        ("n", "//evil.example/?x=1", "This is no filter of the record."),
        ("n", "model=" + "%C3%A9" * 450, "too long to be saved"),
    ],
)
def test_what_cannot_be_saved_is_said_and_what_was_typed_stays(
    olga: Browser, name: str, query: str, said: str
) -> None:
    answer = olga.post(FILTERS, {"name": name, "query": query})
    told = answer.content.decode()
    assert answer.status_code == 400
    assert said in told
    assert not name.isprintable() or f'value="{name}"' in told or not name
    assert not SavedFilter.objects.exists()


def test_only_who_owns_a_filter_is_offered_to_rename_or_delete(olga: Browser) -> None:
    charlie = person("charlie", "viewers")
    save(olga, "mine alone")
    assert "Rename or delete" in page(olga, LIST)
    assert FILTERS not in page(charlie, LIST).replace(f'action="{FILTERS}"', "")
    save(olga, "for all", query="client=eve", shared="on")
    listed = page(charlie, LIST)
    assert "Rename or delete" not in listed
    assert f'<a href="{FILTERS}">What they filter</a>' in listed
    save(charlie, "my own")
    assert "Rename or delete" in page(charlie, LIST)


def test_a_name_is_one_filters_only(olga: Browser) -> None:
    save(olga, "mine")
    assert "You have a filter of this name already." in save(olga, "mine", query="client=eve")
    save(olga, "other")
    other = SavedFilter.objects.get(name="other")
    assert "You have a filter of this name already." in save(olga, "mine", filter=str(other.pk))
    assert SavedFilter.objects.count() == 2
    assert "was saved" in save(person("ada", "operators"), "mine"), "another's names are his"


def test_nobody_keeps_more_than_a_hundred(olga: Browser) -> None:
    user = User.objects.get(username="olga")
    SavedFilter.objects.bulk_create(
        SavedFilter(owner=user, name=f"f-{n}", query="client=x") for n in range(MOST)
    )
    assert f"You have {MOST} filters" in save(olga, "one more")
    first = SavedFilter.objects.get(name="f-0")
    assert "was saved" in save(olga, "renamed", filter=str(first.pk)), "what is there can still be renamed"
    assert SavedFilter.objects.count() == MOST


def test_a_filter_that_was_not_saved_for_its_name_is_still_there(olga: Browser) -> None:
    save(olga, "mine")
    page = save(olga, "mine", query="client=eve&outcome=failed")
    assert f'<a href="{LIST}?client=eve&amp;outcome=failed">Client eve, outcome failed</a>' in page
    assert 'name="query" value="client=eve&amp;outcome=failed"' in page
    assert "was saved" in save(olga, "another", query="client=eve&outcome=failed")


def test_names_and_filters_are_shown_as_text(olga: Browser) -> None:
    evil = "<script>alert(1)</script>"
    save(olga, evil, query="client=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E", shared="on")
    assert SavedFilter.objects.get().name == evil
    for path in (LIST, FILTERS, "/admin/telemetry/savedfilter/"):
        assert "<script>alert" not in page(olga, path)


def test_a_filter_of_another_version_is_said_to_be_none(olga: Browser) -> None:
    owner = User.objects.get(username="olga")
    SavedFilter.objects.create(owner=owner, name="old", query="colour=red")
    assert "no longer a filter of this version" in page(olga)


@pytest.mark.parametrize("key", ["0", "-1", "x", "9" * 18, "9" * 40, "١"])
def test_what_is_no_filter_is_not_found(olga: Browser, key: str) -> None:
    assert olga.post(FILTERS, {"filter": key, "delete": "Delete"}).status_code == 404


def test_the_filters_go_with_their_owner(olga: Browser) -> None:
    save(olga, "ours", shared="on")
    User.objects.get(username="olga").delete()
    assert not SavedFilter.objects.exists()
