"""The pictures in the guides: every page of the product has them, and the walk-through among them can be followed."""

import re
import sys
from pathlib import Path

import pytest
from console_routes import Route, routes
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory
from django.urls import resolve

from gateway.guides import GUIDES

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "uat"))
from picture_book import book, files  # noqa: E402 - the path is set above
from picture_pages import GROUPS  # noqa: E402
from picture_walk import BEFORE, WALK  # noqa: E402

DOCS = ROOT / "docs"
SHOTS = [shot for group in GROUPS.values() for shot in group]
WITHOUT = {
    "/": "sends on to the admin",
    "/admin": "sends on to the address with its slash",
    "/docs": "sends on to the address with its slash",
    "/metrics": "plain text for machines; the guide Metrics has every line of it",
    "/docs/images/<slug:name>.png": "the pictures themselves",
    "/admin/autocomplete/": "answers a script",
    "/admin/jsi18n/": "a script",
    "/admin/r/<path:content_type_id>/<path:object_id>/": "no table has pages outside the admin",
    "/admin/playground/ticket/": "answers the playground's script",
    "/admin/(?P<url>.*)": "an address that leads nowhere, answered as everywhere: with an error in JSON",
    "/admin/configuration/download/<str:name>/": "a file",
    "/admin/providers/provider/<path:object_id>/enable/": "a button that comes back to the provider",
    "/admin/providers/provider/<path:object_id>/disable/": "a button that comes back to the provider",
    "/admin/providers/provider/<path:object_id>/duplicate/": "a button that opens the copy, a provider like others",
    "/admin/providers/provider/<path:object_id>/up/": "a button that comes back to the list",
    "/admin/providers/provider/<path:object_id>/down/": "a button that comes back to the list",
}
ALIKE = {
    "history": "a row's history looks as that of a provider, which has pictures",
    "delete": "the confirmation looks as that of a client, which has pictures, or a provider, which has more",
}
"""By what stands last in the address of a table's page."""


def covered() -> set[str]:
    """The patterns of all pages that there are pictures of."""
    named = {
        f"admin:{route.name}" if route.pattern.startswith("/admin/") else route.name: route.pattern
        for route in routes()
    }
    shown = {named[name] for shot in SHOTS for name in shot.shows}
    return shown | {_pattern(shot.path) for shot in SHOTS}


def _pattern(path: str) -> str:
    return "/" + resolve(path.partition("?")[0]).route.replace("^", "").removesuffix("$")


def may_open(route: Route) -> bool:
    """A superuser, so everybody who may."""
    if not route.name:
        return bool(route.pattern == "/" or not route.table)
    tables = {model._meta.label_lower: one for model, one in admin.site._registry.items()}
    request = RequestFactory().get(route.pattern)
    request.user = User(is_superuser=True, is_active=True, is_staff=True)
    allowed = {"add": "has_add_permission", "delete": "has_delete_permission"}.get(route.what)
    if route.table not in tables or allowed is None:
        return True
    return bool(getattr(tables[route.table], allowed)(request))


@pytest.mark.django_db
def test_every_page_that_somebody_may_open_has_a_picture_or_a_reason_for_none() -> None:
    there = {route.pattern: route for route in routes() if may_open(route)}
    missing = [route for pattern, route in there.items() if pattern not in covered()]
    assert [
        route.pattern for route in missing if route.pattern not in WITHOUT and route.what not in ALIKE
    ] == []


@pytest.mark.django_db
def test_no_reason_for_a_missing_picture_is_stale() -> None:
    there, shown = {route.pattern: route for route in routes() if may_open(route)}, covered()
    assert [pattern for pattern in WITHOUT if pattern not in there or pattern in shown] == []
    unshown = {route.what for pattern, route in there.items() if pattern not in shown}
    assert [what for what in ALIKE if what not in unshown] == []


def test_every_guide_has_a_picture() -> None:
    assert {f"/docs/{name}" for name in ("", *GUIDES)} <= {shot.path for shot in SHOTS}


def test_the_page_of_pictures_is_the_one_that_is_made_from_the_list() -> None:
    assert (DOCS / "pictures.md").read_text() == book(GROUPS, WALK, BEFORE), "run uat/pictures.py"


def test_each_picture_is_there_and_shown_and_none_is_left_over() -> None:
    wanted = files(GROUPS, WALK)
    assert len(wanted) == len(set(wanted)), "two pictures of one name"
    assert sorted(wanted) == sorted(path.name for path in (DOCS / "images").iterdir())
    text = (DOCS / "pictures.md").read_text()
    assert [name for name in wanted if f"](images/{name})" not in text] == []


def test_beside_each_picture_stands_one_sentence() -> None:
    for shot in SHOTS:
        assert shot.says.endswith("."), shot.name
        assert ". " not in shot.says, shot.name
        assert len(shot.says) < 250, shot.name


def test_no_link_to_a_picture_leads_nowhere() -> None:
    for path in [ROOT / "README.md", *DOCS.glob("*.md")]:
        for name in re.findall(r"\]\(([\w/]*images/[^)]+)\)", path.read_text()):
            assert (path.parent / name).exists(), (path.name, name)
