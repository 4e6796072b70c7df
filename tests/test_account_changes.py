"""The change log of staff accounts: who came, what they may do, how they log in; and what it never says."""

import json
import re
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from conftest import RunningGateway
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.test import Client as Browser
from test_admin import _static_files, errors  # noqa: F401 - a fixture
from test_roles import user_form
from test_second_factor import ACCOUNT, ENTER, SetUp, _fresh_counts_in_one_minute, logged_in  # noqa: F401

from clients.models import ClientToken
from gateway import second_factor
from gateway.models import ConfigChange, ConfigVersion, StaffSecondFactor
from providers.models import Provider

pytestmark = pytest.mark.django_db
PASSWORD, ANOTHER = "ada's password 1", "a canary password 9"
LOG = "/admin/gateway/configchange/"


@pytest.fixture(autouse=True)
def ada() -> User:
    user = User.objects.create_superuser("ada", "", PASSWORD)
    ConfigChange.objects.all().delete()
    return user


def told(**conditions: Any) -> list[tuple[str, str, str, Any, Any]]:
    rows = ConfigChange.objects.filter(**conditions).order_by("pk")
    return [(row.table, row.row, row.action, row.before, row.after) for row in rows]


def staff(name: str, role: str) -> Browser:
    user = User.objects.create_user(name, "", PASSWORD, is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Browser()
    browser.force_login(user)
    return browser


def test_a_new_user_and_what_becomes_of_him_is_told_with_the_one_who_did_it() -> None:
    browser = logged_in()
    form = {"username": "eve", "password1": ANOTHER, "password2": ANOTHER, "usable_password": "true"}
    added = browser.post("/admin/auth/user/add/", form)
    assert added.status_code == 302, errors(added)
    eve = User.objects.get(username="eve")
    ((table, row, action, before, after),) = told()
    assert (table, row, action, before) == ("auth.user", "eve", "added", {})
    assert after == {
        "username": "eve",
        "password": "changed",
        "is_active": True,
        "is_staff": False,
        "is_superuser": False,
    }
    viewers, operators = (Group.objects.get(name=name) for name in ("viewers", "operators"))
    more = {"is_superuser": None, "email": "eve@example.org", "first_name": "Eve"}
    saved = browser.post(f"/admin/auth/user/{eve.pk}/change/", user_form(eve, groups=viewers.pk, **more))
    assert saved.status_code == 302, errors(saved)
    browser.post(f"/admin/auth/user/{eve.pk}/change/", user_form(eve, groups=operators.pk, **more))
    changes = [(before, after) for *_, before, after in told(action="changed")]
    assert changes == [
        (
            {"first_name": "", "email": "", "is_staff": False},
            {"first_name": "Eve", "email": "eve@example.org", "is_staff": True},
        ),
        ({"groups": []}, {"groups": ["viewers"]}),
        ({"groups": ["viewers"]}, {"groups": []}),
        ({"groups": []}, {"groups": ["operators"]}),
    ]
    browser.post(f"/admin/auth/user/{eve.pk}/delete/", {"post": "yes"})
    ((*_, before, after),) = told(action="removed")
    assert (before["groups"], before["email"], after) == (["operators"], "eve@example.org", {})
    assert "password" not in before
    assert set(ConfigChange.objects.values_list("author", flat=True)) == {"ada"}
    assert ANOTHER not in repr(told())
    assert not ConfigVersion.objects.exists(), "no call depends on it"


def test_a_password_is_told_as_changed_whoever_sets_it(ada: User) -> None:
    browser = logged_in()
    form = {"old_password": PASSWORD, "new_password1": ANOTHER, "new_password2": ANOTHER}
    assert browser.post("/admin/password_change/", form).status_code == 302
    form = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert browser.post(f"/admin/auth/user/{ada.pk}/password/", form).status_code == 302
    assert told() == [("auth.user", "ada", "changed", {}, {"password": "changed"})] * 2


def test_logging_in_is_no_change_even_when_the_password_is_hashed_anew(ada: User) -> None:
    User.objects.filter(pk=ada.pk).update(password=make_password(PASSWORD, hasher="pbkdf2_sha256"))
    logged_in()
    ada.refresh_from_db()
    assert ada.last_login is not None
    assert ada.password.startswith("argon2")
    assert told() == []


def test_a_group_and_its_permissions_are_told_from_either_side(ada: User) -> None:
    browser = logged_in()
    permission = Permission.objects.get(codename="view_provider")
    form = {"name": "readers", "permissions": [permission.pk]}
    assert browser.post("/admin/auth/group/add/", form).status_code == 302
    readers = Group.objects.get(name="readers")
    readers.user_set.add(ada)
    readers.permissions.remove(Permission.objects.get(codename="view_client"))  # it never had that one
    ada.user_permissions.add(permission)
    ada.user_permissions.clear()
    readers.user_set.clear()
    ada.groups.add(readers)
    readers.delete()
    named = ["Providers | provider | Can view provider"]
    assert told() == [
        ("auth.group", "readers", "added", {}, {"name": "readers"}),
        ("auth.group", "readers", "changed", {"permissions": []}, {"permissions": named}),
        ("auth.user", "ada", "changed", {"groups": []}, {"groups": ["readers"]}),
        ("auth.user", "ada", "changed", {"user_permissions": []}, {"user_permissions": named}),
        ("auth.user", "ada", "changed", {"user_permissions": named}, {"user_permissions": []}),
        ("auth.user", "ada", "changed", {"groups": ["readers"]}, {"groups": []}),
        ("auth.user", "ada", "changed", {"groups": []}, {"groups": ["readers"]}),
        (
            "auth.group",
            "readers",
            "removed",
            {"name": "readers", "permissions": named, "members": ["ada"]},
            {},
        ),
    ]


def test_a_second_factor_is_told_from_its_proof_to_its_end_never_its_secret() -> None:
    made = SetUp()
    sealed = bytes(StaffSecondFactor.objects.get().sealed_secret)
    ((table, row, action, _, after),) = told()
    assert (table, row, action) == ("gateway.staffsecondfactor", "second factor of ada", "added")
    assert after.pop("confirmed_at")
    assert after == {"user": "ada", "sealed_secret": "changed", "backup_digests": "changed"}
    logged_in().post(ENTER, {"code": made.next_code()})
    logged_in().post(ENTER, {"code": made.backup_codes[0]})
    assert len(told()) == 1, "using a code is no change"
    renewed = made.browser.post(ACCOUNT, {"action": "renew", "code": made.next_code()})
    assert renewed.status_code == 200
    assert told()[1:] == [(table, row, "changed", {}, {"backup_digests": "changed"})]
    made.browser.post(ACCOUNT, {"action": "turn-off", "code": made.next_code()})
    assert [action for _, _, action, *_ in told()] == ["added", "changed", "removed"]
    assert set(ConfigChange.objects.values_list("author", flat=True)) == {"ada"}
    codes = re.findall(r"<li>([a-z2-7-]{19})</li>", renewed.content.decode())
    everything = repr(list(ConfigChange.objects.values()))
    for secret in (made.secret.replace(" ", ""), sealed.hex(), repr(sealed), *made.backup_codes, *codes):
        assert secret not in everything


def test_a_set_up_that_is_not_finished_is_not_told(ada: User) -> None:
    second_factor.begin(ada)
    second_factor.begin(ada)
    second_factor.remove(ada)
    assert told() == []


def test_the_commands_are_told_with_their_names() -> None:
    SetUp()
    call_command("rotate_keys", stdout=StringIO())
    call_command("reset_second_factor", "ada", stdout=StringIO())
    rows = ConfigChange.objects.order_by("pk").values_list("author", "reason", "action")
    assert list(rows)[1:] == [
        ("rotate_keys", "credentials encrypted under the newest key", "changed"),
        ("reset_second_factor", "second factor of ada reset", "removed"),
    ]


def test_what_a_release_gives_to_the_roles_is_nobody_s_decision() -> None:
    Permission.objects.filter(codename__endswith="_modelalias").delete()
    call_command("migrate", verbosity=0)
    assert Group.objects.get(name="viewers").permissions.filter(codename="view_modelalias").exists()
    assert told() == []


def test_olga_reads_who_was_given_what_without_links_to_accounts() -> None:
    eve = User.objects.create_user("eve", "", ANOTHER)
    eve.groups.add(Group.objects.get(name="operators"))
    given = ConfigChange.objects.get(table="auth.user", action="changed")
    for name, role in (("olga", "auditors"), ("victor", "viewers")):
        browser = staff(name, role)
        listed = browser.get(LOG, {"table": "auth.user"}).content.decode()
        assert "eve" in listed
        page = browser.get(f"{LOG}{given.pk}/change/").content.decode()
        assert '<ins class="added">operators</ins>' in page
        assert "/admin/auth/user/" not in page
    page = logged_in().get(f"{LOG}{given.pk}/change/").content.decode()
    assert f'href="/admin/auth/user/{eve.pk}/change/"' in page


@pytest.mark.parametrize("role", ["viewers", "auditors"])
def test_no_field_that_bears_a_secret_says_more_than_that_it_changed(role: str) -> None:
    made = SetUp()
    User.objects.create_user("eve", "", ANOTHER)
    provider = Provider(name="openai", kind="openai", base_url="http://localhost/v1", default_model="m")
    provider.stored_credential = b"sealed canary"
    provider.save()
    call_command("issue_token", "bob", stdout=(token := StringIO()), stderr=StringIO())
    browser = staff("olga", role)
    pages = [browser.get(f"{LOG}{row.pk}/change/").content.decode() for row in ConfigChange.objects.all()]
    pages.append(browser.get(LOG).content.decode())
    stored = [user.password for user in User.objects.all()] + [
        row.digest for row in ClientToken.objects.all()
    ]
    for page in pages:
        for secret in (
            ANOTHER,
            PASSWORD,
            "sealed canary",
            token.getvalue().strip(),
            *made.backup_codes,
            *stored,
        ):
            assert secret not in page
    assert sum('<ins class="added">changed</ins>' in page for page in pages) >= 4


def test_accounts_made_outside_of_the_admin_are_told_with_what_made_them(tmp_path: Path) -> None:
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with closing(RunningGateway(tmp_path, env)) as gateway:
        gateway.configure({"providers": {}}, {"clients": []})
        gateway.manage("prepare", "--no-uat-token")
        gateway.manage("createsuperuser", "--noinput", "--username", "eve", "--email", "eve@example.org")
        code = (
            "import json; from gateway.models import ConfigChange as C; from django.contrib.auth.models import User; "
            "User.objects.get(username='eve').delete(); "
            "print(json.dumps(list(C.objects.order_by('pk').values_list('author', 'reason', 'row', 'action'))))"
        )
        rows = json.loads(gateway.manage("shell", "-v", "0", "-c", code).stdout)
    assert rows == [
        ["start", "there was no superuser yet", "ada", "added"],
        ["createsuperuser", "", "eve", "added"],
        ["shell", "", "eve", "removed"],
    ]
