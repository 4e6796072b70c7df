"""The pages of the configuration in a test browser: files uploaded, plans made and applied."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import provider_entry
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.test import Client as Browser

from gateway.models import ConfigVersion
from gateway.rendering import FILES

HOME = "/admin/configuration/"
CANARY = 'canary "token" é 5d1f'
ENTRY = provider_entry("http://localhost:1/v1")
ONE, TWO = {"providers": {"one": ENTRY}}, {"providers": {"one": ENTRY | {"notes": "GPU"}, "two": ENTRY}}


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, settings: Any) -> Path:
    settings.CONFIG_DIR, settings.STATE_DIR = tmp_path / "config", tmp_path / "var"
    settings.CONFIG_DIR.mkdir()
    found: Path = settings.CONFIG_DIR
    return found


@pytest.fixture
def ada() -> Browser:
    return logged_in(User.objects.create_superuser("ada", "", "ada's password 1"))


def logged_in(user: User) -> Browser:
    browser = Browser()
    browser.force_login(user)
    return browser


def staff(name: str, *permissions: str) -> Browser:
    user = User.objects.create_user(name, "", f"{name}'s password 1", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return logged_in(user)


def write(path: Path, document: Any) -> None:
    path.write_text(document if isinstance(document, str) else json.dumps(document))


def upload(browser: Browser, name: str, document: Any, **more: str) -> Any:
    text = document if isinstance(document, str) else json.dumps(document)
    file = SimpleUploadedFile("uploaded.json", text.encode(), "application/json")
    return browser.post(f"{HOME}import/{name}/", {"upload": "1", "file": file} | more)


def planned(browser: Browser, name: str, document: Any, **more: str) -> str:
    """The plan's URL."""
    response = upload(browser, name, document, **more)
    assert response.status_code == 302, response.content.decode()
    assert response.url.startswith(f"{HOME}plan/")
    url: str = response.url
    return url


def apply(browser: Browser, url: str, **more: str) -> Any:
    page = browser.get(url)
    assert page.status_code == 200
    return browser.post(url, {"version": page.context["version"]} | more, follow=True)


def rolled_back(browser: Browser, version: ConfigVersion, *files: str) -> str:
    """The URL of the plan that a roll back to this version makes, of all files or of these."""
    answer = browser.post(f"/admin/gateway/configversion/{version.pk}/rollback/", {"file": files or FILES})
    assert answer.status_code == 302
    url: str = answer.url
    assert url.startswith(f"{HOME}plan/")
    return url


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def text_of(response: Any) -> str:
    parser = _Text()
    parser.feed(response.content.decode())
    return " ".join(parser.words)


def kept_plans() -> list[Path]:
    found = Path(django_settings.STATE_DIR) / "plans"
    return list(found.iterdir()) if found.is_dir() else []
