#!/usr/bin/env python3
"""Pictures of every page for the guides, from the real pages: light, dark, and narrow for some.

    .venv/bin/python uat/pictures.py [--only NAME …]

Starts a gateway of its own over the tests' fake provider, with clients, calls and changes to look at, goes
through the pages in headless Chromium and writes docs/images/*.png and docs/pictures.md. Needs Chromium.
"""

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import environment  # noqa: F401 - the tests' settings, before anything reads them
from conftest import ALL_METHODS, RunningGateway, provider_entry, running_gateway
from fake_provider import FakeProvider
from playwright.sync_api import Page, sync_playwright

PASSWORD = "the operator's password 1"
IMAGES = ROOT / "docs" / "images"
SCHEMES = ("light", "dark")


PAST_HOUR = """
import math, random, uuid
from datetime import timedelta
from django.utils import timezone
from telemetry.models import RequestLog
draw, now, rows = random.Random(1), timezone.now(), []
for minute in range(2, 60):
    for _ in range(round(25 + 15 * math.sin(minute / 8) + draw.uniform(0, 8))):
        failed = draw.random() < 0.03
        provider = "lmstudio_gpu" if draw.random() < 0.8 else "lmstudio_cpu"
        took = round(draw.lognormvariate(6.2, 0.6)) + (400 if provider == "lmstudio_cpu" else 0)
        rows.append(RequestLog(
            call_id=uuid.UUID(int=draw.getrandbits(128)), tool_id=draw.choice(["editor"] * 4 + ["nightly-summary"]),
            token_id="earlier", method="chatStream", peer="127.0.0.1", provider=provider, model="gemma-3-270m",
            strategy="capability-default", outcome="TEMPORARY" if failed else "ok", status=503 if failed else 200,
            attempts=[{"provider": provider, "model": "gemma-3-270m", "durationMs": took}],
            started_at=now - timedelta(minutes=minute, seconds=draw.uniform(0, 59)), duration_ms=took,
            first_event_ms=None if failed else round(draw.lognormvariate(4.3, 0.5)),
            input_tokens=draw.randint(50, 900), output_tokens=0 if failed else draw.randint(10, 300),
        ))
RequestLog.objects.bulk_create(sorted(rows, key=lambda row: row.started_at))
"""
"""An hour of calls before the first, for the charts; the writer sums them up when it starts."""


class Shot(NamedTuple):
    """`prepare`: what a person does before there is something to see. `whole`: all of a long page."""

    name: str
    title: str
    path: str
    prepare: Callable[[Page], None] = lambda page: None
    whole: bool = True


def played(page: Page) -> None:
    page.select_option("[name=toolId]", "editor")
    page.click("[name=send]")
    page.wait_for_selector("text=Answered.")


def issued(page: Page) -> None:
    page.click("#content [type=submit]")
    page.wait_for_selector(".secret")


def picked_check(page: Page) -> None:
    page.click("text=Check now")
    page.wait_for_load_state()


def planned(page: Page) -> None:
    changed = {
        "providers": {
            "lmstudio_gpu": {
                "baseUrl": "http://127.0.0.1:1234/v1", "defaultModel": "gemma-3-270m", "capabilities": ["chat"],
                "scores": {"chat": 80},
            }
        }
    }  # fmt: skip
    content = json.dumps(changed).encode()
    file = {"name": "providers.json", "mimeType": "application/json", "buffer": content}
    page.set_input_files("input[type=file] >> nth=0", file)  # type: ignore[arg-type]
    page.click("text=Plan an import of the upload >> nth=0")
    page.wait_for_load_state()


def newest_opened(page: Page) -> None:
    page.click("#result_list th a >> nth=0")
    page.wait_for_load_state()


def shots() -> list[Shot]:
    provider, client = "/admin/providers/provider", "/admin/clients/client"
    return [
        Shot("login", "Logging in", "/admin/login/"),
        Shot("home", "Home: is it well?", "/admin/?range=1h"),
        Shot("providers", "Providers", f"{provider}/"),
        Shot("provider-add", "Adding a provider: which kind?", f"{provider}/add/"),
        Shot("provider-add-lmstudio", "Adding LM Studio", f"{provider}/add/?kind=lmstudio"),
        Shot("provider", "A provider", f"{provider}/1/change/"),
        Shot("provider-check", "A provider checked", f"{provider}/1/change/", picked_check),
        Shot("clients", "Clients", f"{client}/"),
        Shot("client-add", "Adding a client", f"{client}/add/"),
        Shot("client", "A client", f"{client}/1/change/"),
        Shot("client-token", "A token issued: shown once", f"{client}/1/issue/", issued),
        Shot("client-permissions", "Who may call what", f"{client}/permissions/"),
        Shot("client-explain", "What may this client do?", "/admin/clients/client/1/explain/"),
        Shot("playground", "Playground", "/admin/playground/", played),
        Shot("configuration", "Configuration", "/admin/configuration/"),
        Shot("configuration-plan", "An import as a plan", "/admin/configuration/", planned),
        Shot("configuration-versions", "Configuration versions", "/admin/gateway/configversion/"),
        Shot(
            "configuration-version", "A version, and the way back", "/admin/gateway/configversion/3/change/"
        ),
        Shot("configuration-changes", "Configuration changes", "/admin/gateway/configchange/", whole=False),
        Shot("record", "Record of calls", "/admin/telemetry/requestlog/", whole=False),
        Shot("record-call", "A call's page", "/admin/telemetry/requestlog/", newest_opened),
        Shot("second-factor", "A second factor", "/admin/second-factor/account/"),
        Shot("tables", "All tables", "/admin/tables/"),
        Shot("guides", "The guides inside the product", "/docs/"),
    ]


@contextmanager
def staged() -> Iterator[RunningGateway]:
    """A gateway as after a first morning: three providers, three clients, calls of every kind."""
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with FakeProvider() as fake, tempfile.TemporaryDirectory() as folder:
        fake.models[:] = ["gemma-3-270m", "nomic-embed", "qwen-2.5-7b", "echo", "embed-3"]
        gpu = provider_entry(fake.url, defaultModel="gemma-3-270m", scores={"chat": 90, "chatStream": 90})
        gpu |= {"defaults": {"chat": "gemma-3-270m", "chatStream": "gemma-3-270m", "embed": "nomic-embed"}}
        openai = {
            "baseUrl": "https://api.openai.com/v1",
            "defaultModel": "gpt-5",
            "capabilities": ["chat", "chatStream"],
        }
        providers = {
            "lmstudio_gpu": gpu,
            "lmstudio_cpu": gpu | {"scores": {"chat": 40}},
            "openai": openai | {"enabled": False, "notes": "Waits for a key."},
        }
        clients = [
            {"toolId": "editor", "token": "editor-token", "allowedMethods": ALL_METHODS,
             "rateLimit": {"maxRequests": 500, "intervalMs": 60_000}, "maxConcurrency": 8},
            {"toolId": "nightly-summary", "token": "nightly-token", "allowedMethods": ["chat", "embed"]},
            {"toolId": "dashboard", "token": "dashboard-token", "allowedMethods": ["getHealth", "models"]},
        ]  # fmt: skip
        files = {"providers": providers}, {"clients": clients}
        with running_gateway(Path(folder), *files, env, start=False) as gateway:
            gateway.manage("shell", "-v", "0", "-c", PAST_HOUR)
            gateway.start()
            call(gateway)
            gateway.manage("issue_token", "dashboard", "--expires", "7d")
            yield gateway


def call(gateway: RunningGateway) -> None:
    for n in range(60):
        gateway.chat(f"call {n}", token="editor-token")
        if n % 4 == 0:
            with gateway.stream(f"stream {n}", token="editor-token") as response:
                response.read()
    for model in ("status-503", "status-429", "slow-300ms", "slow-300ms"):
        gateway.chat(token="editor-token", provider="lmstudio_gpu", model=model)
    gateway.chat(token="nightly-token")
    gateway.chat(token="dashboard-token")
    gateway.chat(token="editor-token", model="no-such-model")
    time.sleep(2)


def log_in(page: Page, gateway: RunningGateway) -> None:
    page.goto(f"{gateway.url}/admin/")
    page.fill("#id_username", "ada")
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")


def take(page: Page, gateway: RunningGateway, shot: Shot) -> None:
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.goto(gateway.url + shot.path)
        shot.prepare(page)
        page.wait_for_timeout(300)
        page.screenshot(path=IMAGES / f"{shot.name}-{scheme}.png", full_page=shot.whole)


def index(taken: list[Shot]) -> str:
    lines = [
        "# Every page in pictures",
        "",
        "Made from the real pages by `uat/pictures.py`; do not edit.",
        "",
    ]
    for shot in taken:
        lines += [f"## {shot.title}", "", f"![{shot.title}, light](images/{shot.name}-light.png)", ""]
        lines += [f"![{shot.title}, dark](images/{shot.name}-dark.png)", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes the guides' pictures from the real pages.")
    parser.add_argument("--only", nargs="*", help="names of pictures; all when left out")
    wanted = parser.parse_args().only
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    IMAGES.mkdir(exist_ok=True)
    with staged() as gateway, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1200, "height": 700})
        for n, shot in enumerate(shots()):
            if n == 1:
                log_in(page, gateway)
            if not wanted or shot.name in wanted:
                take(page, gateway, shot)
                print(shot.name)
        browser.close()
    (ROOT / "docs" / "pictures.md").write_text(index(shots()))


if __name__ == "__main__":
    main()
