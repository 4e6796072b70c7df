"""Nothing that is stored runs in anybody's browser, and no page breaks the policy (promise 20).

Every text of every table holds a payload. The superuser and each role open every page there is, in a real browser;
a page that is in the URL patterns and was not opened fails the test.
"""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import hostile
import pytest
from conftest import ROOT, RunningGateway, provider_entry, registry, running_gateway
from console_routes import Route, addresses, routes
from crawl_acts import UPLOAD, acts, plan
from crawling import WATCH, Crawl, Opened
from django.contrib import admin
from fake_provider import FakeProvider
from hostile import EVALUATED, NOT_TRIED, OWING, PASSWORD, PAYLOADS, PEOPLE, REFUSED, person
from playwright.async_api import Browser, Page, async_playwright
from test_browser import CHROMIUM, FLAGS, REQUIRED
from test_role_matrix import may_do

pytestmark = pytest.mark.browser
STOCK = ("changelist", "add", "change", "delete", "history")
POSTED = {
    "/admin/logout/",
    "/admin/playground/ticket/",
    "/admin/providers/provider/find-models/",
    "/admin/configuration/export/<str:name>/",
    "/admin/configuration/import/<str:name>/",
    "/admin/gateway/configversion/<path:object_id>/rollback/",
    *(
        f"/admin/providers/provider/<path:object_id>/{act}/"
        for act in ("check", "discover", "enable", "disable", "duplicate", "up", "down")
    ),
}
"""A GET is answered 405; the acts of the crawl post to them."""
NO_PAGE = {
    "/admin/autocomplete/": (403, "answers scripts of forms with very long lists, of which we have none"),
    "/admin/r/<path:content_type_id>/<path:object_id>/": (
        404,
        "leads to an object's page outside; none has one",
    ),
    "/admin/(?P<url>.*)": (404, "no such page"),
}
LEAD_ON = {"/", "/admin", "/docs", "/admin/login/", "/admin/second-factor/"}
"""Addresses that lead somebody who is logged in to another page, as those of rows without more do."""
FILES = {
    "/admin/configuration/download/<str:name>/",
    "/docs/images/<slug:name>.png",
    "/admin/jsi18n/",
    "/metrics",
}
"""No documents of ours: asked for, not opened. To show a picture alone, Chromium writes a page of its own."""
ROWS = {"superuser": (0, 1, 3, 5, 7), "operators": (2,), "auditors": (4,), "viewers": (6, 8)}
"""Whose turn it is to open which rows, so that together they open all. Of a row's other pages, the first."""
ODD = [
    f"{before}{quote(payload, safe='')}{after}"
    for payload in PAYLOADS
    for before, after in (
        ("/admin/providers/provider/", "/change/"), ("/admin/", "/"), ("/docs/", ""), ("/admin/?range=", ""),
        ("/admin/telemetry/requestlog/?", "=1"), ("/admin/gateway/configchange/?author=", ""),
    )
]  # fmt: skip
"""Addresses that nobody links to."""


@pytest.fixture
def gateway(tmp_path: Path, fake: FakeProvider) -> Iterator[RunningGateway]:
    fake.models += PAYLOADS
    fake.scripts["script:hostile"] = list(PAYLOADS)
    files = {"providers": {"lmstudio_fake": provider_entry(fake.url, notes=PAYLOADS[0])}}, registry()
    with running_gateway(tmp_path, *files, start=False) as running:
        yield running


def filled(gateway: RunningGateway) -> dict[str, Any]:
    code = (
        f"import json, sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); "
        "import hostile; print(json.dumps(hostile.fill()))"
    )
    told: dict[str, Any] = json.loads(gateway.manage("shell", "-v", "0", "-c", code).stdout)
    return told


def status_of(role: str, route: Route) -> int | None:
    """What somebody of that role is answered; None where the matrix of roles does not say."""
    app, _, model = route.table.partition(".")
    stock = route.name == f"{app}_{model}_{route.what}" and route.what in STOCK
    if stock:
        return 200 if may_do(role, app, model, route.what) else 403
    if role != "superuser":
        return None
    if route.pattern in POSTED:
        return 405
    if leads_on(route):
        return 302
    return NO_PAGE[route.pattern][0] if route.pattern in NO_PAGE else 200


class Person:
    """Somebody with a browser. `opened`: route → where he was."""

    def __init__(self, role: str, browser: Browser, gateway: RunningGateway, rows: dict[str, Any]) -> None:
        self.role, self.browser, self.gateway, self.rows = role, browser, gateway, rows
        self.crawl: Crawl
        self.acts = 0

    async def log_in(self, name: str) -> Page:
        context = await self.browser.new_context(viewport={"width": 800, "height": 300})
        await context.add_init_script(WATCH)
        self.crawl = Crawl(context, self.gateway.url, EVALUATED)
        page = await self.crawl.tab()
        await page.goto(f"{self.gateway.url}/admin/")
        await page.fill("#id_username", name)
        await page.fill("#id_password", PASSWORD)
        async with page.expect_navigation():
            await page.click("input[type=submit]")
        return page

    async def look_at_everything(self) -> None:
        page = await self.log_in(person(self.role))
        may_plan = self.role in ("superuser", "operators")
        self.plan = (await plan(UPLOAD, self.crawl, page)).split("/")[-2] if may_plan else "x" * 32
        await page.close()
        odd = ODD if self.role == "superuser" else []
        await self.crawl.open_all([*self.paths(files=False), *odd], self.found_in)
        for path in self.paths(files=True):
            answer = await self.crawl.context.request.get(self.gateway.url + path, max_redirects=0)
            self.crawl.opened.append(Opened(path, answer.status, path))

    def paths(self, *, files: bool) -> list[str]:
        return [
            path
            for route in routes()
            if (route.pattern in FILES or leads_on(route)) == files
            for path in self.addresses(route)
        ]

    def addresses(self, route: Route) -> list[str]:
        turns = ROWS[self.role][: None if route.what in ("change", "explain") else 1]
        rows = {table: [keys[n] for n in turns] for table, keys in self.rows.items()}
        found = addresses(route, rows, self.plan)
        # The guides are files of ours, and the same for everybody.
        return found if self.role == "superuser" or not route.pattern.startswith("/docs/") else found[:1]

    async def found_in(self, page: Page, path: str) -> list[str]:
        """Of a list: its filters, a search, and an address that nobody would link to. Of the home page: its periods."""
        if "?" in path or urlsplit(page.url).path != path:
            return []
        links: list[str] = await page.eval_on_selector_all(
            "#changelist-filter a, .periods a, a[href^='?range=']",
            "all => all.map(a => a.getAttribute('href'))",
        )
        most = 3 if self.role == "superuser" else 1
        taken: dict[tuple[str, ...], list[str]] = {}
        for link in links:
            names = tuple(name for name, _ in parse_qsl(urlsplit(link).query))
            if names and len(taken.setdefault(names, [])) < most:
                taken[names].append(f"{urlsplit(path).path}?{urlsplit(link).query}")
        found = [link for several in taken.values() for link in several]
        if await page.query_selector("#changelist-search"):
            found += [f"{path}?q={quote(payload)}" for payload in PAYLOADS[:most]]
        return found

    async def do_everything(self) -> None:
        tables = {
            model._meta.label_lower: frozenset(
                what for what in ("add", "change", "delete")
                if may_do("superuser", model._meta.app_label, model._meta.model_name or "", what)
            )
            for model in admin.site._registry
        }  # fmt: skip
        todo = acts(tables, self.rows)
        self.acts = len(todo)
        await self.crawl.act_all(todo)

    def wrong(self) -> list[tuple[Any, ...]]:
        """Pages that did not answer as they should, and routes that were never opened."""
        opened = {one.path: one for one in self.crawl.opened}
        found: list[tuple[Any, ...]] = []
        for route in routes():
            wanted = status_of(self.role, route)
            for path in self.addresses(route):
                one = opened.get(path)
                if one is None:
                    found.append((self.role, path, "not opened"))
                elif (one.status != wanted) if wanted else one.status >= 500:
                    found.append((self.role, path, one.status, wanted))
                elif wanted == 200 and one.at != path:
                    found.append((self.role, path, "led to", one.at))
        return found + [(self.role, one.path, one.status) for one in self.crawl.opened if one.status >= 500]


def leads_on(route: Route) -> bool:
    return route.pattern in LEAD_ON or (bool(route.table) and route.pattern.endswith("<path:object_id>/"))


async def everybody(gateway: RunningGateway, rows: dict[str, Any]) -> list[Person]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        people = [Person(role, browser, gateway, rows) for role in PEOPLE]
        await asyncio.gather(*(one.look_at_everything() for one in people))
        await people[0].do_everything()
        owing = Person("superuser", browser, gateway, rows)
        page = await owing.log_in(OWING)
        assert page.url.startswith(f"{gateway.url}/admin/second-factor/"), page.url
        await owing.crawl.look(page, "the page that asks for a code")
        await browser.close()
    return [*people, owing]


@pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="needs Chromium on the PATH")
def test_nothing_stored_runs_in_anybody_s_browser_and_no_page_breaks_the_policy(
    gateway: RunningGateway,
) -> None:
    told = filled(gateway)
    assert set(told["refused"]) == set(REFUSED)
    assert set(told["untried"]) == {name for name in NOT_TRIED if name.count(".") == 2}
    gateway.start()
    began = time.monotonic()
    people = asyncio.run(everybody(gateway, told["rows"]))
    faults = [(one.role, *fault) for one in people for fault in one.crawl.faults]
    opened = [page for one in people for page in one.crawl.opened]
    wrong = [fault for one in people[:-1] for fault in one.wrong()]
    ran = sum(what.startswith(("ran", "dialog")) for _, _, what in faults)
    print(
        f"promise 20: {len(told['filled'])} columns with {len(hostile.PAYLOADS)} payloads each, "
        f"{len(opened)} pages opened ({sum(page.status < 300 for page in opened)} answered 2xx) "
        f"and {sum(one.acts for one in people)} acts by {len(people)} people in {time.monotonic() - began:.0f} s: "
        f"{ran} executed, {sum('violation' in what for _, _, what in faults)} violations, {len(faults)} faults"
    )
    assert wrong == [], wrong
    assert faults == []


@pytest.mark.parametrize("policy", ["", "default-src 'self'"])
def test_the_crawl_would_see_a_payload_that_got_through(policy: str) -> None:
    """Each payload of markup on a page that escapes nothing, with the policy and without."""

    async def seen(payload: str) -> set[str]:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            context = await browser.new_context()
            await context.add_init_script(WATCH)
            answer = {"body": f'<input value="{payload}"><p>{payload}</p>', "content_type": "text/html"}
            headers = {"Content-Security-Policy": policy} if policy else {}
            await context.route("**/*", lambda route: route.fulfill(**answer, headers=headers))
            crawl = Crawl(context, "http://nowhere.test", EVALUATED)
            await crawl.open(await crawl.tab(), "/")
            await browser.close()
        return {what.partition(":")[0] for _, what in crawl.faults}

    script, image, _, attribute, *_ = PAYLOADS
    expected = {"violations"} if policy else {"ran"}
    assert asyncio.run(seen(script)) >= expected | {"elements"}
    assert asyncio.run(seen(image)) >= expected | {"elements", "handlers"}
    assert asyncio.run(seen(attribute)) >= {"handlers"}
    assert asyncio.run(seen(EVALUATED)) == {"evaluated"}
