"""Every admin route and form for each kind of visitor: strangers, staff without rights, the roles, superusers."""

import uuid
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.core.management.color import no_style
from django.db import connection
from django.test import Client as Browser
from django.utils import timezone
from test_admin import (
    ANY_STAFF,
    _static_files,  # noqa: F401 - a fixture
    admin_paths,
    provider_form,
    refused_to_staff,
)
from test_roles import user_form

from clients.models import Client, ClientToken, MethodPermission, RegistryHeader
from gateway.console.pages import PAGES
from gateway.models import ConfigChange, ConfigFile, ConfigVersion, StaffSecondFactor
from providers.models import FileHeader, ModelAlias, Provider, ProviderCapability, ProviderModel
from telemetry.models import (
    AuditCheckpoint,
    AuditTombstone,
    AuditVerification,
    CallRollup,
    CapturedContent,
    ContentAccess,
    FailedAuthentication,
    LegalHold,
    MethodUse,
    RequestLog,
    RetentionRule,
    SavedFilter,
)

pytestmark = pytest.mark.django_db
ROLES = ("nobody", "viewers", "auditors", "operators", "superuser")
EVERY_APP = frozenset({"providers", "clients", "telemetry", "gateway", "auth"})
LOOKS = {
    "nobody": frozenset(),
    "viewers": frozenset({"providers", "clients", "telemetry", "gateway"}),
    "auditors": frozenset({"telemetry"}),
    "operators": frozenset({"providers", "clients", "telemetry", "gateway"}),
    "superuser": EVERY_APP,
}
"""Whose tables a role sees. Auditors see two of the gateway's besides."""
AUDITED = frozenset({"configversion", "configchange"})
CHANGES = {
    "operators": frozenset({"providers", "clients"}),
    "superuser": frozenset({"providers", "clients", "auth"}),
}
"""Whose tables it changes. Those of the record and of the gateway are kept by the product alone."""
SUPERUSERS_ONLY = frozenset({"staffsecondfactor"})
SUPERUSERS_SET = frozenset({"retentionrule", "legalhold"})
"""What decides whether calls are removed: the others only look."""
NOT_ADDED = {
    "providers.providercapability": "added beside the provider, where its kind is checked",
    "providers.fileheader": "one row at most, and it is there",
    "clients.registryheader": "one row at most, and it is there",
    "clients.clienttoken": "issued, so that it is shown once; never typed",
    "clients.methodpermission": "granted on the client's page or in the grid of all clients",
}
"""Tables of configuration that have no form to add to, and why."""
NOT_DELETED = {
    "providers.providercapability": "unticked on the provider's page, where one stays",
    "clients.clienttoken": "revoked instead: its id names past calls",
    "clients.methodpermission": "taken away on the client's page or in the grid of all clients",
    "telemetry.legalhold": "released instead: that there was one stays visible",
}
"""Tables of configuration whose rows are not deleted one by one, and why."""
POSTED_ONLY = frozenset({"/admin/playground/ticket/"})
"""Pages that are never looked at: a GET is answered 405 to those who may post."""


def one_row_of_everything() -> None:
    """Each with the key 1, as the paths have it."""
    provider = Provider.objects.create(
        pk=1, name="lmstudio", kind="lmstudio", base_url="http://localhost:1/v1", default_model="m"
    )
    ProviderCapability.objects.create(pk=1, provider=provider, capability="chat")
    ProviderModel.objects.create(pk=1, provider=provider, model_id="m")
    ModelAlias.objects.create(pk=1, provider=provider, name="fast", model_id="m")
    FileHeader.objects.create(pk=1, description="ours")
    client = Client.objects.create(pk=1, tool_id="bob")
    ClientToken.objects.create(pk=1, client=client, token_id="t", key_id="k", digest="0" * 64)
    MethodPermission.objects.create(pk=1, client=client, method="chat")
    RegistryHeader.objects.create(pk=1, description="ours")
    for model in (ConfigVersion, ConfigChange):
        if not model.objects.filter(pk=1).exists():
            model.objects.create(pk=1)
    ConfigFile.objects.create(pk=1, name="providers.json")
    User.objects.create_superuser("root", "", "root's password 1", pk=1)
    StaffSecondFactor.objects.create(pk=1, user_id=1, sealed_secret=b"x")
    SavedFilter.objects.create(pk=1, owner_id=1, name="theirs", query="client=bob", shared=True)
    Group.objects.get_or_create(pk=1, defaults={"name": "some"})
    now = timezone.now()
    CallRollup.objects.create(pk=1, period="day", dimension="all", start=now)
    CapturedContent.objects.create(
        pk=1,
        call_id=uuid.uuid4(),
        tool_id="bob",
        key_id="k",
        ciphertext=b"x",
        size=1,
        stored_at=now,
        expires_at=now,
    )
    if not ContentAccess.objects.exists():
        ContentAccess.objects.bulk_create(
            [ContentAccess(pk=1, who="olga", call_id=uuid.uuid4(), reason="a test")]
        )
    FailedAuthentication.objects.create(
        pk=1, started_at=now, address="::1", kind="missing", route="/health", first_seen=now, last_seen=now
    )
    for signed in (AuditCheckpoint(number=1, sequence=1), AuditTombstone(first=1, last=1, rows=1)):
        signed.pk, signed.chain, signed.signed_at, signed.line = 1, "c", now, "{}"
        signed.save(force_insert=True)
    AuditVerification.objects.create(
        pk=1, started_at=now, finished_at=now, by="olga", scope="all", rows=1, found=0
    )
    RetentionRule.objects.create(pk=1, days=30)
    LegalHold.objects.create(pk=1, reason="case 7")
    MethodUse.objects.create(pk=1, tool_id="bob", method="chat", last_at=now)
    RequestLog.objects.create(
        pk=1, call_id=uuid.uuid4(), tool_id="bob", token_id="t", method="chat", peer="", outcome="OK",
        status=200, started_at=now, duration_ms=1,
    )  # fmt: skip
    models = [
        Provider,
        ProviderCapability,
        ProviderModel,
        ModelAlias,
        Client,
        User,
        ConfigVersion,
        ConfigChange,
        SavedFilter,
    ]
    with connection.cursor() as cursor:
        # PostgreSQL goes on counting from its own number, which may be the one taken above.
        for sql in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(sql)


def browser_of(role: str) -> Browser:
    browser = Browser()
    user = User.objects.create_user(f"a {role}", "", "a long password 1", is_staff=True)
    if role == "superuser":
        user.is_superuser = True
        user.save()
    elif role != "nobody":
        user.groups.add(Group.objects.get(name=role))
    browser.force_login(user)
    return browser


def may_look(role: str, app: str, model: str) -> bool:
    if model in SUPERUSERS_ONLY:
        return role == "superuser"
    return app in LOOKS[role] or (role == "auditors" and app == "gateway" and model in AUDITED)


def may_do(role: str, app: str, model: str, what: str) -> bool:
    """`what`: changelist, history, change, add or delete, by the name of the route."""
    if what in ("changelist", "history", "change"):
        return may_look(role, app, model)
    if app not in CHANGES.get(role, ()) and not (role == "superuser" and model in SUPERUSERS_SET):
        return False
    return f"{app}.{model}" not in (NOT_DELETED if what == "delete" else NOT_ADDED)


def table_routes() -> dict[str, tuple[str, str, str]]:
    """Path → app, model, what: the stock routes of every registered table."""
    found = {}
    for model in admin.site._registry:
        app, name = model._meta.app_label, model._meta.model_name or ""
        base = f"/admin/{app}/{name}/"
        found[base] = (app, name, "changelist")
        found[base + "add/"] = (app, name, "add")
        for what in ("change", "delete", "history"):
            found[f"{base}1/{what}/"] = (app, name, what)
    return found


@pytest.mark.parametrize("role", ROLES)
def test_each_page_opens_for_the_roles_it_is_for_and_for_no_other(role: str) -> None:
    one_row_of_everything()
    browser = browser_of(role)
    wrong = []
    for path, (app, model, what) in table_routes().items():
        status = browser.get(path).status_code
        wanted = 200 if may_do(role, app, model, what) else 403
        if status != wanted:
            wrong.append((path, status, wanted))
    assert wrong == []


@pytest.mark.parametrize("role", ROLES)
def test_other_routes_open_for_nobody_who_may_not_see_their_table(role: str) -> None:
    """The pages that tables and the console add: by the table they lie under, or by the permission they name."""
    one_row_of_everything()
    browser = browser_of(role)
    stock, pages = table_routes(), {f"/admin/{page.path}": page for page in PAGES}
    app_lists = {f"/admin/{model._meta.app_label}/" for model in admin.site._registry}
    wrong, others = [], []
    for path in admin_paths():
        if path in stock or path in app_lists or path == "/admin/logout/":
            continue
        others.append(path)
        status = browser.get(path).status_code
        app, _, rest = path.removeprefix("/admin/").partition("/")
        if path in pages:
            needed = pages[path].permission
            allowed = not needed or browser_has(browser, needed)
            right = (status < 400 or (status == 405 and path in POSTED_ONLY)) if allowed else status == 403
        elif path in ANY_STAFF:
            right = status == ANY_STAFF[path]
        elif may_look(role, app, rest.partition("/")[0]):
            right = status < 500
        else:
            right = refused_to_staff(path, status)
        if not right:
            wrong.append((path, status))
    assert wrong == []
    assert "/admin/tables/" in others


def browser_has(browser: Browser, permission: str) -> bool:
    return User.objects.get(pk=browser.session["_auth_user_id"]).has_perm(permission)


def everything() -> dict[str, list[dict[str, Any]]]:
    """What must not change: every row of our tables, of users and of groups."""
    models = [
        m
        for app in ("gateway", "providers", "clients", "telemetry")
        for m in apps.get_app_config(app).get_models()
    ]
    kept = {m._meta.label: list(m._default_manager.order_by("pk").values()) for m in models}
    users = User.objects.order_by("pk").values(
        "username", "password", "is_active", "is_staff", "is_superuser"
    )
    groups = Group.permissions.through.objects.order_by("pk").values()
    return kept | {"users": list(users), "groups": list(groups)}


@pytest.mark.parametrize("role", ["stranger", "nobody", "viewers", "auditors"])
def test_no_form_of_any_page_changes_anything_for_who_only_looks(role: str) -> None:
    one_row_of_everything()
    browser = Browser() if role == "stranger" else browser_of(role)
    before = everything()
    # What every stock form takes, in one: each view reads its own fields.
    form = provider_form(**user_form(User.objects.get(pk=1), is_active=None))
    form |= {"post": "yes", "action": "delete_selected", "_selected_action": "1", "description": "theirs"}
    stock, opened = table_routes(), []
    for path in admin_paths():
        if path in OWN_FORMS:
            continue
        status = browser.post(path, form).status_code
        if path in stock and stock[path][2] in ("add", "change", "delete") and status not in (302, 403):
            opened.append((path, status))
    assert opened == []
    assert everything() == before


OWN_FORMS = {
    "/admin/login/": "logs in",
    "/admin/logout/": "logs out",
    "/admin/password_change/": "one's own password, which the form asks for first",
    "/admin/second-factor/account/": "one's own second factor",
    "/admin/telemetry/requestlog/filters/": "one's own filters of the record",
}
"""What everybody may post, and why. None of it reaches another account or the configuration."""


def test_no_exemption_is_stale() -> None:
    assert set(OWN_FORMS) | POSTED_ONLY <= set(admin_paths())
    one_row_of_everything()
    browser = Browser()
    browser.force_login(User.objects.get(pk=1))
    for table in NOT_ADDED:
        assert browser.get(f"/admin/{table.replace('.', '/')}/add/").status_code == 403, table
    for table in NOT_DELETED:
        assert browser.get(f"/admin/{table.replace('.', '/')}/1/delete/").status_code == 403, table
    for path in POSTED_ONLY:
        assert browser.get(path).status_code == 405, path


def test_operators_add_change_and_delete_configuration_but_nothing_of_the_record() -> None:
    one_row_of_everything()
    browser = browser_of("operators")
    kept = {
        label: rows
        for label, rows in everything().items()
        if label.partition(".")[0] in ("telemetry", "users", "groups")
    }
    versions = ConfigVersion.objects.count()
    for path, (app, model, what) in table_routes().items():
        if app in ("providers", "clients") or not may_look("operators", app, model) or what == "history":
            continue
        for form in ({"post": "yes"}, {"action": "delete_selected", "_selected_action": "1", "post": "yes"}):
            status = browser.post(path, form).status_code
            assert status in ((200, 302) if what == "changelist" else (403,)), path
    assert ConfigVersion.objects.count() == versions
    for name in ("modelalias", "providermodel", "fileheader", "provider"):
        assert browser.post(f"/admin/providers/{name}/1/delete/", {"post": "yes"}).status_code == 302, name
    for name in ("registryheader", "client"):
        assert browser.post(f"/admin/clients/{name}/1/delete/", {"post": "yes"}).status_code == 302, name
    assert browser.post("/admin/providers/provider/add/", provider_form()).status_code == 302
    assert Provider.objects.count() == 1
    assert not Client.objects.exists()
    assert {label: everything()[label] for label in kept} == kept
