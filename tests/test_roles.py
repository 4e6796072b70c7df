"""The groups and what they may do, and that superusers do not lock anybody out."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client as Browser
from test_admin import _static_files  # noqa: F401 - a fixture

from gateway.changes import untold

pytestmark = pytest.mark.django_db
READ_ONLY_TABLES = ("configversion", "configfile", "configchange", "requestlog", "callrollup", "methoduse")


def permissions_of(role: str) -> set[str]:
    rows = Permission.objects.filter(group__name=role).select_related("content_type")
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows}


def of_apps(*apps: str, verb: str = "") -> set[str]:
    rows = Permission.objects.filter(content_type__app_label__in=apps, codename__startswith=verb)
    return {f"{row.content_type.app_label}.{row.codename}" for row in rows.select_related("content_type")}


def test_operators_change_configuration_and_only_look_at_the_record() -> None:
    have = permissions_of("operators")
    looks = of_apps("telemetry", "gateway", verb="view_")
    besides = {"gateway.add_configversion", "telemetry.find_text"}
    assert have == of_apps("providers", "clients") | looks | besides
    assert len(of_apps("providers", "clients")) == 9 * 4
    changes = {name for name in have if name.partition(".")[2].startswith(("change_", "delete_"))}
    assert not {name for name in changes if name.endswith(READ_ONLY_TABLES)}


def test_auditors_read_the_record_and_what_was_changed() -> None:
    more = {"gateway.view_configversion", "gateway.view_configchange"}
    more |= {"telemetry.export_requestlog", "telemetry.find_text", "telemetry.open_content"}
    assert permissions_of("auditors") == of_apps("telemetry", verb="view_") | more


def test_viewers_see_everything_and_change_nothing() -> None:
    assert permissions_of("viewers") == of_apps("gateway", "providers", "clients", "telemetry", verb="view_")


@pytest.mark.parametrize("role", ["operators", "auditors", "viewers"])
def test_no_role_touches_users_groups_sessions_or_second_factors(role: str) -> None:
    have = permissions_of(role)
    assert have
    assert not {name for name in have if name.startswith(("auth.", "admin.", "sessions.", "contenttypes."))}
    assert not {name for name in have if "secondfactor" in name}


def test_migrating_again_gives_nothing_back_that_was_taken_away() -> None:
    group = Group.objects.get(name="viewers")
    group.permissions.remove(Permission.objects.get(codename="view_provider"))
    before = permissions_of("viewers")
    call_command("migrate", verbosity=0)
    assert permissions_of("viewers") == before
    assert Group.objects.count() == 3


def test_a_group_that_was_deleted_comes_back_whole_or_not_at_all() -> None:
    whole = permissions_of("operators")
    Group.objects.get(name="operators").delete()
    call_command("migrate", verbosity=0)
    assert not Group.objects.filter(name="operators").exists()
    Permission.objects.get(codename="view_modelalias").delete()
    call_command("migrate", verbosity=0)
    assert permissions_of("operators") == whole


def test_a_permission_made_later_reaches_the_roles() -> None:
    Permission.objects.filter(codename__endswith="_modelalias").delete()
    assert "providers.add_modelalias" not in permissions_of("operators")
    call_command("migrate", verbosity=0)
    assert "providers.add_modelalias" in permissions_of("operators")
    assert "providers.view_modelalias" in permissions_of("viewers")
    assert "providers.view_modelalias" not in permissions_of("auditors")


@pytest.mark.django_db(transaction=True)
def test_a_database_that_was_there_before_gets_the_roles_with_their_permissions() -> None:
    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    executor.migrate([("gateway", "0002_changes")])
    with untold():  # by hand, with the models of today: the change log of then has other columns
        Group.objects.all().delete()
    MigrationExecutor(connection).migrate(newest)
    assert "providers.change_provider" in permissions_of("operators")
    assert "telemetry.view_requestlog" in permissions_of("auditors")
    assert "clients.view_client" in permissions_of("viewers")


@pytest.fixture
def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


def user_form(user: User, **more: Any) -> dict[str, Any]:
    form = {"username": user.username, "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    dates = {
        "last_login_0": "2026-01-01",
        "last_login_1": "00:00",
        "date_joined_0": "2026-01-01",
        "date_joined_1": "00:00",
    }
    return {name: value for name, value in (form | dates | more).items() if value is not None}


@pytest.mark.parametrize("field", ["is_active", "is_staff", "is_superuser"])
def test_a_superuser_does_not_lock_himself_out(ada: Browser, field: str) -> None:
    User.objects.create_superuser("eve", "", "eve's password 1")
    user = User.objects.get(username="ada")
    answer = ada.post(f"/admin/auth/user/{user.pk}/change/", user_form(user, **{field: None}))
    assert "This is your own account." in answer.content.decode()
    user.refresh_from_db()
    assert getattr(user, field)


def test_a_superuser_may_disable_and_delete_another(ada: Browser) -> None:
    eve = User.objects.create_superuser("eve", "", "eve's password 1")
    assert ada.post(f"/admin/auth/user/{eve.pk}/change/", user_form(eve, is_active=None)).status_code == 302
    eve.refresh_from_db()
    assert not eve.is_active
    assert ada.post(f"/admin/auth/user/{eve.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(username="eve").exists()


def test_nobody_deletes_himself_neither_alone_nor_with_others(ada: Browser) -> None:
    bob = User.objects.create_user("bob")
    user = User.objects.get(username="ada")
    page = ada.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"}, follow=True)
    assert "This is your own account." in page.content.decode()
    chosen = {"action": "delete_selected", "_selected_action": [user.pk, bob.pk], "post": "yes"}
    page = ada.post("/admin/auth/user/", chosen)
    assert "This is your own account." in page.content.decode()
    assert User.objects.count() == 2


@pytest.mark.parametrize("role", ["operators", "auditors", "viewers"])
def test_the_products_own_groups_are_neither_deleted_nor_renamed(ada: Browser, role: str) -> None:
    group = Group.objects.get(name=role)
    path, said = f"/admin/auth/group/{group.pk}", f"“{role}” is one of the product&#x27;s own roles"
    for answer in (
        ada.get(f"{path}/delete/", follow=True),
        ada.post(f"{path}/delete/", {"post": "yes"}, follow=True),
        ada.post(
            "/admin/auth/group/",
            {"action": "delete_selected", "_selected_action": [group.pk], "post": "yes"},
        ),
        ada.post(f"{path}/change/", {"name": "others", "permissions": []}),
    ):
        assert answer.content.decode().count(said) == 1
        assert "related objects" not in answer.content.decode()
    assert Group.objects.filter(name=role).exists()
    assert permissions_of(role)


def test_a_groups_permissions_stay_the_superusers_to_change_and_other_groups_may_go(ada: Browser) -> None:
    group, other = Group.objects.get(name="viewers"), Group.objects.create(name="night shift")
    assert ada.post(f"/admin/auth/group/{group.pk}/change/", {"name": "viewers"}).status_code == 302
    assert permissions_of("viewers") == set()
    assert ada.post(f"/admin/auth/group/{other.pk}/change/", {"name": "day shift"}).status_code == 302
    assert ada.post(f"/admin/auth/group/{other.pk}/delete/", {"post": "yes"}).status_code == 302
    assert set(Group.objects.values_list("name", flat=True)) == {"operators", "auditors", "viewers"}


def test_who_manages_users_without_being_superuser_cannot_remove_the_last_one() -> None:
    user = User.objects.create_superuser("ada", "", "ada's password 1")
    olga = User.objects.create_user("olga", "", "olga's password 1", is_staff=True)
    olga.user_permissions.set(
        Permission.objects.filter(content_type__app_label__in=("auth", "admin", "gateway"))
    )
    browser = Browser()
    browser.force_login(olga)
    answer = browser.post(f"/admin/auth/user/{user.pk}/change/", user_form(user, is_active=None))
    assert "This is the last active superuser." in answer.content.decode()
    answer = browser.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"}, follow=True)
    assert "This is the last active superuser." in answer.content.decode()
    user.refresh_from_db()
    assert user.is_active


def test_a_superuser_keeps_a_password(ada: Browser) -> None:
    user = User.objects.get(username="ada")
    form = {"usable_password": "false", "unset-password": "x"}
    answer = ada.post(f"/admin/auth/user/{user.pk}/password/", form)
    assert "A superuser needs a password" in answer.content.decode()
    user.refresh_from_db()
    assert user.has_usable_password()
