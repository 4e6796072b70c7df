"""A client's setting for the content of its calls: in the file, the form, the loader and in words."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser

from clients.loader import known
from clients.models import Client
from gateway.configfile import ImportRefused, import_files
from gateway.rendering import CLIENTS, render

pytestmark = pytest.mark.django_db
LIST = "/admin/clients/client/"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def load(folder: Path, *clients: dict[str, Any]) -> None:
    path = folder / CLIENTS
    path.write_text(json.dumps({"clients": [{"allowedMethods": ["chat"], **client} for client in clients]}))
    import_files({CLIENTS: path})


def exported() -> list[dict[str, Any]]:
    clients: list[dict[str, Any]] = json.loads(render(CLIENTS))["clients"]
    return clients


def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


def test_a_file_that_does_not_speak_of_it_keeps_nothing_and_is_exported_as_it_was(tmp_path: Path) -> None:
    load(tmp_path, {"toolId": "bob"})
    row = Client.objects.get()
    assert (row.capture, row.capture_days) == ("off", 30)
    assert exported() == [{"toolId": "bob", "allowedMethods": ["chat"]}]


def test_what_differs_from_the_default_survives_export_and_import(tmp_path: Path) -> None:
    load(
        tmp_path,
        {"toolId": "a", "capture": "all", "captureDays": 365},
        {"toolId": "b", "capture": "failures", "captureDays": 30},
        {"toolId": "c", "capture": "off", "captureDays": 1, "notes": "n"},
    )
    first = render(CLIENTS)
    assert exported() == [
        {"toolId": "a", "allowedMethods": ["chat"], "capture": "all", "captureDays": 365},
        {"toolId": "b", "allowedMethods": ["chat"], "capture": "failures"},
        {"toolId": "c", "allowedMethods": ["chat"], "captureDays": 1, "notes": "n"},
    ]
    load(tmp_path)
    (tmp_path / CLIENTS).write_bytes(first)
    import_files({CLIENTS: tmp_path / CLIENTS})
    assert render(CLIENTS) == first
    frozen = known(Client.objects.get(tool_id="a").pk)
    assert frozen is not None
    assert (frozen.client.capture, frozen.client.capture_days) == ("all", 365)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"capture": "some"}, "/clients/0/capture"),
        ({"capture": True}, "/clients/0/capture"),
        ({"captureDays": 0}, "/clients/0/captureDays"),
        ({"captureDays": 366}, "/clients/0/captureDays"),
        ({"captureDays": "7"}, "/clients/0/captureDays"),
    ],
)
def test_a_wrong_setting_is_an_import_error_with_its_pointer(
    tmp_path: Path, wrong: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(ImportRefused) as refused:
        load(tmp_path, {"toolId": "bob", **wrong})
    assert [problem.pointer for problem in refused.value.problems] == [pointer]
    assert not Client.objects.exists()


def test_it_is_set_in_the_form_and_told_in_words() -> None:
    made, browser = Client.objects.create(tool_id="bob"), ada()
    explained = f"{LIST}{made.pk}/explain/"
    assert "Nothing of what it asks, or is answered, is kept" in browser.get(explained).content.decode()
    form = {"tool_id": "bob", "enabled": "on", "methods": ["chat"], "capture": "failures", "capture_days": 14}
    assert browser.post(f"{LIST}{made.pk}/change/", form).status_code == 302
    made.refresh_from_db()
    assert (made.capture, made.capture_days) == ("failures", 14)
    told = browser.get(explained).content.decode()
    assert "in its calls that fail is kept, encrypted, for 14 days." in told.replace("&#x27;", "'")
    for wrong in ({"capture_days": 0}, {"capture_days": 366}, {"capture": "some"}):
        assert browser.post(f"{LIST}{made.pk}/change/", form | wrong).status_code == 200, wrong
    browser.post(f"{LIST}{made.pk}/change/", {"tool_id": "bob", "methods": ["chat"]})
    made.refresh_from_db()
    assert (made.capture, made.capture_days) == ("failures", 14), (
        "what a form does not have, it does not change"
    )
