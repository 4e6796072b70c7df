"""What a superuser does in the browser besides looking: each form sent, each button pressed, with payloads in it.

An act leaves a page open, which the crawl then looks at. What is done here is what a GET cannot show: messages,
errors beside fields, confirmations, tokens shown once, plans, streams.
"""

import json
from functools import partial

from crawling import Act, Crawl
from hostile import PAYLOADS, call_id
from playwright.async_api import Page

FIELDS = (
    "#content-main input[type=text], #content-main input[type=email], #content-main input[type=password], "
    "#content-main textarea"
)
UPLOAD = {
    "description": PAYLOADS[0],
    "providers": {
        f"lmstudio_{n}": {
            "baseUrl": "http://localhost:9/v1",
            "defaultModel": payload.replace("\u2028", ""),
            "capabilities": ["chat"],
            "models": [payload.replace("\u2028", "")],
            "notes": payload,
        }
        for n, payload in enumerate(PAYLOADS)
    },
    # New names hold no characters that nobody sees.
    "aliases": {
        payload.strip("\u2028").replace("\u202e", ""): f"lmstudio_0/{PAYLOADS[0]}" for payload in PAYLOADS
    },
}
REFUSED_UPLOAD = {
    payload: payload for payload in PAYLOADS
} | {"providers": {payload: {payload: payload, "kind": payload, "capabilities": [payload]} for payload in PAYLOADS}}  # fmt: skip


async def send(page: Page, button: str) -> None:
    async with page.expect_navigation():
        await page.locator(button).first.click()


async def save(address: str, crawl: Crawl, page: Page) -> None:
    """A stored row saved as it is: a message with its name, or errors beside its fields."""
    await page.goto(crawl.url + address)
    if await page.locator("[name=_continue]").count():
        await send(page, "[name=_continue]")


async def type_in(address: str, button: str, crawl: Crawl, page: Page) -> None:
    """A payload in each field of a form."""
    await page.goto(crawl.url + address)
    fields = page.locator(FIELDS)
    for n in range(await fields.count()):
        field = fields.nth(n)
        if await field.is_visible() and await field.is_editable():
            await field.fill(PAYLOADS[n % len(PAYLOADS)].replace("\u2028", ""))
    await page.evaluate("for (const form of document.forms) form.noValidate = true")
    await send(page, button)


async def choose_all(address: str, action: str, crawl: Crawl, page: Page) -> None:
    """An action of a list on all its rows; of deleting, the confirmation."""
    await page.goto(crawl.url + address)
    await page.check("#action-toggle")
    await page.select_option("select[name=action]", action)
    await send(page, "button[name=index]")


async def off_and_on(address: str, crawl: Crawl, page: Page) -> None:
    """In one act, because acts run side by side and later ones need providers that are enabled."""
    for action in ("disable", "enable"):
        await choose_all(address, action, crawl, page)
        await crawl.look(page, f"{action} all providers")


async def second_factor(crawl: Crawl, page: Page) -> None:
    """In one act: there is a code to type only where it was begun."""
    address = "/admin/second-factor/account/"
    await press(address, "[name=action][value=begin]", crawl, page)
    await crawl.look(page, "a second factor begun")
    await type_in(address, "[name=action][value=confirm]", crawl, page)


async def press(address: str, button: str, crawl: Crawl, page: Page) -> None:
    await page.goto(crawl.url + address)
    await send(page, button)


async def plan(document: object, crawl: Crawl, page: Page) -> str:
    """Where the plan, or its refusal, is shown."""
    await page.goto(f"{crawl.url}/admin/configuration/")
    file = {
        "name": f"{PAYLOADS[2]}.json",
        "mimeType": "application/json",
        "buffer": json.dumps(document).encode(),
    }
    await page.set_input_files("input[type=file] >> nth=0", file)  # type: ignore[arg-type]
    await page.check("[name=merge] >> nth=0")
    await send(page, "button[name=upload] >> nth=0")
    return page.url.removeprefix(crawl.url)


async def refused_plan(crawl: Crawl, page: Page) -> None:
    await plan(REFUSED_UPLOAD, crawl, page)


async def applied_plan(crawl: Crawl, page: Page) -> None:
    await plan(UPLOAD, crawl, page)
    await page.fill("[name=reason]", PAYLOADS[0])
    await send(page, "form:has([name=version]) button:not([name=cancel])")


async def played(method: str, model: str, crawl: Crawl, page: Page) -> None:
    """A call whose answer, or whose error, holds payloads; then the same without sending."""
    await page.goto(f"{crawl.url}/admin/playground/")
    await page.select_option("[name=toolId]", "bob")
    await page.select_option("[name=method]", method)
    await page.fill("[name=text]", PAYLOADS[0])
    await page.select_option("[name=provider]", "lmstudio_fake")
    await page.fill("[name=model]", model)
    for button in ("send", "why"):
        await page.click(f"[name={button}]")
        await page.wait_for_selector("#playground-trace > *")
        await crawl.look(page, f"playground {method} {model}")


def acts(tables: dict[str, frozenset[str]], rows: dict[str, list[int]]) -> dict[str, Act]:
    """`tables`: "app.model" → what may be done with it: add, change, delete."""
    found: dict[str, Act] = {}
    for table, may in tables.items():
        base, keys = f"/admin/{table.replace('.', '/')}/", rows[table]
        if "change" in may:
            found[f"save {base}{keys[1]}/change/"] = partial(save, f"{base}{keys[1]}/change/")
        if "add" in may:
            add = f"{base}add/" + ("?kind=lmstudio" if table == "providers.provider" else "")
            found[f"type in {add}"] = partial(type_in, add, "[name=_save]")
        if "delete" in may:
            found[f"delete all of {base}"] = partial(choose_all, base, "delete_selected")
    return found | _of_providers(rows) | _of_clients(rows) | _of_the_console()


def _of_providers(rows: dict[str, list[int]]) -> dict[str, Act]:
    base, found = "/admin/providers/provider/", {}
    for action in ("check_now", "discover_models"):
        found[f"{action} of all providers"] = partial(choose_all, base, action)
    found["all providers off and on"] = partial(off_and_on, base)
    for key in (1, rows["providers.provider"][1]):
        for act in ("check", "discover", "duplicate"):
            button = f"[formaction$='/{key}/{act}/'], form[action$='/{key}/{act}/'] button"
            found[f"{act} provider {key}"] = partial(press, f"{base}{key}/change/", button)
    found["move a provider"] = partial(press, base, "[formaction$='/down/']:not([disabled])")
    return found


def _of_clients(rows: dict[str, list[int]]) -> dict[str, Act]:
    clients, tokens = "/admin/clients/client", "/admin/clients/clienttoken"
    found: dict[str, Act] = {}
    for client, token in zip(rows["clients.client"][:6], rows["clients.clienttoken"][:6], strict=True):
        found[f"issue a token of client {client}"] = partial(
            press, f"{clients}/{client}/issue/", "#content [type=submit]"
        )
        found[f"rotate token {token}"] = partial(press, f"{tokens}/{token}/rotate/", "#content [type=submit]")
    last = rows["clients.clienttoken"][-1]
    for act in ("expiry", "revoke"):
        found[f"{act} of a token"] = partial(press, f"{tokens}/{last}/{act}/", "#content [type=submit]")
    found["the grid of methods"] = partial(press, f"{clients}/permissions/", "#content [type=submit]")
    return found


def _of_the_console() -> dict[str, Act]:
    found: dict[str, Act] = {
        "a refused plan": refused_plan,
        "an applied plan": applied_plan,
        "open kept content": partial(type_in, f"/admin/telemetry/content/{call_id(0)}/", "#content [type=submit]"),
        "open kept content that is markup alone": partial(
            type_in, f"/admin/telemetry/content/{call_id(5)}/", "#content [type=submit]"
        ),
        "ask whether a text was sent": partial(
            type_in, "/admin/telemetry/requestlog/sent-text/", "#content [type=submit]"
        ),
        "a second factor begun, and a wrong code": second_factor,
        "a wrong old password": partial(type_in, "/admin/password_change/", "#content [type=submit]"),
        "an export": partial(press, "/admin/configuration/", "form[action*='/export/'] button"),
        "the file's own plan": partial(press, "/admin/configuration/", "button[name=folder]"),
        "a roll back": partial(press, "/admin/gateway/configversion/3/change/", "form[action$='/rollback/'] button"),
    }  # fmt: skip
    for method, model in (
        ("chatStream", "script:hostile"), ("chat", PAYLOADS[0]), ("chat", "status-500"), ("chat", "tools"),
        ("chatStream", "error-in-stream"), ("embed", PAYLOADS[1]),
    ):  # fmt: skip
        found[f"play {method} {model}"] = partial(played, method, model)
    return found
