"""What people type or are shown once reaches neither Django's history nor the change log nor a version."""

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client as Browser
from test_admin import _static_files, errors, provider_form  # noqa: F401 - a fixture
from test_canary import forms
from test_configuration_plan import apply, planned
from test_second_factor import SetUp, _fresh_counts_in_one_minute, logged_in  # noqa: F401

from clients.models import Client, ClientToken
from gateway.configfile import CLIENTS
from gateway.models import ConfigChange, ConfigVersion
from gateway.rendering import unpack
from providers.models import Provider

pytestmark = pytest.mark.django_db
PASSWORD = "ada's password 1"
PASSWORDS = ("a canary of eve's 1", "a canary of eve's 2", "a canary of ada's 3", "a guess of canary's 4")
KEYS = ("sk-canary-first-0ddba11", "sk-canary-second-0ddba11", "sk-canary-in-url-0ddba11")
GIVEN = "a-canary-token-from-a-file"


@pytest.fixture
def ada(tmp_path: Path, settings: Any) -> Browser:
    settings.CONFIG_DIR, settings.STATE_DIR = tmp_path / "config", tmp_path / "var"
    User.objects.create_superuser("ada", "", PASSWORD)
    return logged_in()


def accounts(browser: Browser) -> None:
    first, second, own, guess = PASSWORDS
    form = {"username": "eve", "password1": first, "password2": first, "usable_password": "true"}
    assert browser.post("/admin/auth/user/add/", form).status_code == 302
    eve = User.objects.get(username="eve")
    mistyped = {"password1": second, "password2": guess, "usable_password": "true"}
    assert browser.post(f"/admin/auth/user/{eve.pk}/password/", mistyped).status_code == 200
    form = {"password1": second, "password2": second, "usable_password": "true"}
    assert browser.post(f"/admin/auth/user/{eve.pk}/password/", form).status_code == 302
    for old, status in ((guess, 200), (PASSWORD, 302)):
        form = {"old_password": old, "new_password1": own, "new_password2": own}
        assert browser.post("/admin/password_change/", form).status_code == status
    Browser().post("/admin/login/", {"username": "eve", "password": guess})


def keys(browser: Browser) -> None:
    first, second, in_url = KEYS
    added = browser.post(
        "/admin/providers/provider/add/", provider_form(credential_source="stored", new_key=first)
    )
    assert added.status_code == 302, errors(added)
    provider = Provider.objects.get()
    form = provider_form(credential_source="stored", new_key=second)
    form |= {"capability_rows-INITIAL_FORMS": 1, "capability_rows-0-id": provider.capability_rows.get().pk}
    path = f"/admin/providers/provider/{provider.pk}/change/"
    assert browser.post(path, form | {"base_url": f"http://ada:{in_url}@localhost:1/v1"}).status_code == 200
    assert browser.post(path, form).status_code == 302


def tokens(browser: Browser) -> list[str]:
    """Those that were shown once."""
    registered = {"clients": [{"toolId": "bob", "token": GIVEN, "allowedMethods": ["chat"]}]}
    assert apply(browser, planned(browser, CLIENTS, registered)).status_code == 200
    bob = Client.objects.get()
    newest = ClientToken.objects.latest("pk").pk
    issued = browser.post(f"/admin/clients/client/{bob.pk}/issue/", {"expiry": "90", "newest": newest})
    row = ClientToken.objects.latest("pk")
    rotated = browser.post(
        f"/admin/clients/clienttoken/{row.pk}/rotate/", {"expiry": "90", "overlap": "24", "newest": row.pk}
    )
    browser.post(f"/admin/clients/clienttoken/{row.pk}/revoke/")
    found = re.findall(r"llmc_[0-9A-Za-z]{12}_[0-9A-Za-z]{33}", (issued.content + rotated.content).decode())
    assert len(set(found)) == 2
    return found


def test_nothing_typed_or_shown_once_is_kept_in_a_history(ada: Browser) -> None:
    keys(ada)
    shown = tokens(ada)
    accounts(ada)
    ada = Browser()
    ada.force_login(User.objects.get(username="ada"))
    made = SetUp(ada)
    secrets = {
        *PASSWORDS,
        PASSWORD,
        *KEYS,
        GIVEN,
        *shown,
        *made.backup_codes,
        made.secret,
        made.secret.replace(" ", ""),
    }
    secrets |= {token.rpartition("_")[2] for token in shown}
    kept = [repr(list(model.objects.values())) for model in (LogEntry, ConfigChange)]
    kept += [repr(list(ConfigVersion.objects.values("author", "reason")))]
    kept += [repr(unpack(bytes(version.before or b""))) for version in ConfigVersion.objects.all()]
    assert LogEntry.objects.count() >= 8
    everything = "\n".join(kept).encode()
    found = [(secret, form) for secret in secrets for form, raw in forms(secret).items() if raw in everything]
    assert found == []
