"""Pages opened in a real browser, several at a time, and what each of them did that no page may do."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Dialog, Page, Response
from playwright.async_api import Error as BrowserError

TABS = 2
WATCH = """
window.__ran = 0;
window.xss = () => { window.__ran += 1; return "" };
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
    window.__violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""
"""Runs before anything of the page. Payloads call `xss`."""
LOOK = """(evaluated) => ({
    ran: window.__ran,
    violations: window.__violations,
    elements: document.querySelectorAll("xss").length,
    handlers: [...document.querySelectorAll("*")].filter((one) =>
        [...one.attributes].some((a) => a.name.startsWith("on"))).length,
    addresses: [...document.querySelectorAll("[href],[src],[action],[formaction]")].filter((one) =>
        ["href", "src", "action", "formaction"].some((name) =>
            /^[\\s\\x00-\\x1f]*(javascript|data|vbscript):/i.test(one.getAttribute(name) ?? ""))).length,
    evaluated: document.documentElement.textContent.includes(evaluated),
})"""
"""Markup that got through is seen even where the policy kept it from running."""
REFUSAL = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")


class Opened(NamedTuple):
    """`path`: what was asked for. `at`: where the browser ended up."""

    path: str
    status: int
    at: str


Act = Callable[["Crawl", Page], Awaitable[None]]
"""Somebody doing something."""


class Crawl:
    """What a person opens. `faults`: `(page, what)`."""

    def __init__(self, context: BrowserContext, url: str, evaluated: str) -> None:
        self.context, self.url, self.evaluated = context, url, evaluated
        self.opened: list[Opened] = []
        self.faults: list[tuple[str, str]] = []

    async def tab(self) -> Page:
        page = await self.context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self._said(page, message.type, message.text))
        page.on("pageerror", lambda error: self.fault(page.url, f"script failed: {error}"))
        page.on("response", lambda response: self._answered(page, response))
        page.on("dialog", lambda dialog: self._dialog(page, dialog))
        return page

    def fault(self, where: str, what: str) -> None:
        self.faults.append((where.removeprefix(self.url), what))

    def _said(self, page: Page, kind: str, text: str) -> None:
        """A refused page is no fault here; whether it should have been refused is asked of its status."""
        if kind == "error" and not REFUSAL.match(text):
            self.fault(page.url, f"console: {text}")

    async def _dialog(self, page: Page, dialog: Dialog) -> None:
        self.fault(page.url, f"dialog: {dialog.message}")
        await dialog.dismiss()

    async def open(self, page: Page, path: str) -> Opened:
        response: Response | None = await page.goto(self.url + path)
        assert response is not None, path
        opened = Opened(path, response.status, _path(response.url))
        self.opened.append(opened)
        await self.look(page, path)
        return opened

    async def look(self, page: Page, where: str) -> None:
        """At what is open now, however one came there."""
        seen: dict[str, Any] = await page.evaluate(LOOK, self.evaluated)
        for what, found in seen.items():
            if found:
                self.fault(where, f"{what}: {found}")

    async def open_all(self, paths: Iterable[str], more: Callable[[Page, str], Awaitable[list[str]]]) -> None:
        """`more`: what to open besides, as a page shows it. What was opened already is not opened again."""
        seen = dict.fromkeys(paths)
        waiting = list(seen)[::-1]

        async def work() -> None:
            page = await self.tab()
            while waiting:
                path = waiting.pop()
                try:
                    await self.open(page, path)
                    found = [link for link in await more(page, path) if link not in seen]
                    seen.update(dict.fromkeys(found))
                    waiting.extend(found)
                except BrowserError as error:
                    self.fault(path, f"not opened: {error}")
                    await page.close()
                    page = await self.tab()
            await page.close()

        await asyncio.gather(*(work() for _ in range(TABS)))

    async def act_all(self, acts: Mapping[str, Act]) -> None:
        """Several at a time; what an act leaves open is looked at afterwards."""
        waiting = list(acts.items())[::-1]

        async def work() -> None:
            page = await self.tab()
            while waiting:
                name, play = waiting.pop()
                try:
                    await play(self, page)
                    await self.look(page, name)
                except BrowserError as error:
                    self.fault(name, f"not done: {error}")
                    await page.close()
                    page = await self.tab()
            await page.close()

        await asyncio.gather(*(work() for _ in range(TABS)))

    def _answered(self, page: Page, response: Response) -> None:
        if response.status >= 500:
            self.fault(page.url, f"{response.status} at {response.url}")


def _path(url: str) -> str:
    parts = urlsplit(url)
    return parts.path + (f"?{parts.query}" if parts.query else "")
