"""Every list of the admin says what it is, and what to do where it is empty."""

import re

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db.models import Model
from django.test import Client as Browser
from test_role_matrix import one_row_of_everything

from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db
NEVER_EMPTY = (User, Group, RequestLog)
"""Somebody looks, and roles come with the tables. The record's list is no stock one: `telemetry/test_record_list.py`."""
LISTS = [model for model in admin.site._registry if model not in NEVER_EMPTY]


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def browser_of(user: User) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


@pytest.fixture
def ada() -> Browser:
    return browser_of(User.objects.create_superuser("ada", "", "ada's password 1"))


def address(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def text(browser: Browser, path: str) -> str:
    response = browser.get(path)
    assert response.status_code == 200, path
    return " ".join(response.content.decode().split())


def empty_box(page: str) -> str:
    (found,) = re.findall(r'<p class="empty">(.*?)</p>', page)
    return str(found).strip()


@pytest.mark.parametrize("model", LISTS, ids=lambda model: model._meta.model_name)
def test_an_empty_list_says_what_belongs_there_and_what_to_do(ada: Browser, model: type[Model]) -> None:
    if model._default_manager.exists():  # rows that are only ever added refuse even to be asked
        model._default_manager.all().delete()
    said = empty_box(text(ada, address(model)))
    assert admin.site._registry[model].empty_says in said.replace("&#x27;", "'")  # type: ignore[attr-defined]
    (link,) = re.findall('href="([^"]+)"', said)
    assert ada.get(link).status_code == 200
    assert empty_box(text(ada, f"{address(model)}?q=nothing")) == said


@pytest.mark.parametrize("model", LISTS, ids=lambda model: model._meta.model_name)
def test_a_search_that_finds_nothing_says_so_and_leads_back(model: type[Model]) -> None:
    one_row_of_everything()
    ada = browser_of(User.objects.get(username="root"))
    said = empty_box(text(ada, f"{address(model)}?q=no-such-thing"))
    assert f"No {model._meta.verbose_name} is like that." in said
    (link,) = re.findall('href="([^"]+)"', said)
    assert link == address(model)
    assert 'class="empty"' not in text(ada, link)


def test_a_filter_of_the_address_that_finds_nothing_says_so() -> None:
    one_row_of_everything()
    ada = browser_of(User.objects.get(username="root"))
    said = empty_box(text(ada, "/admin/telemetry/requestlog/?provider=nobody"))
    assert "No call is like that." in said


def test_who_may_not_add_is_not_asked_to() -> None:
    viewer = User.objects.create_user("olga", "", "olga's password 1", is_staff=True)
    viewer.groups.set([Group.objects.get_or_create(name="viewers")[0]])
    said = empty_box(text(browser_of(viewer), "/admin/clients/client/"))
    assert (
        said
        == "No client yet. A client is a tool that may call the gateway; it calls with a token that you issue for it."
    )


@pytest.mark.parametrize("model", admin.site._registry, ids=lambda model: model._meta.model_name)
def test_a_list_has_one_name_in_title_heading_breadcrumbs_and_among_all_tables(
    ada: Browser, model: type[Model]
) -> None:
    plural = str(model._meta.verbose_name_plural)
    name = plural[:1].upper() + plural[1:]
    page = text(ada, address(model))
    assert f"<title>{name} | LLM Caller</title>" in page.replace("<title> ", "<title>").replace(
        " </title>", "</title>"
    )
    assert re.findall("<h1>(.*?)</h1>", page) == [name]
    assert f'<a href="/admin/">Home</a> › {name} </div>' in page
    assert f'<a href="{address(model)}" >{name}</a>' in text(ada, "/admin/tables/").replace('">', '" >')


def test_no_page_is_called_administration(ada: Browser) -> None:
    for label in ("gateway", "providers", "clients", "telemetry", "auth"):
        assert "administration" not in text(ada, f"/admin/{label}/").lower()
