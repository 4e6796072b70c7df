"""A superuser at the admin, whose secrets and prompts are canaries; and every page that is then to be searched."""

import json
import re
from base64 import b32decode
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import httpx
from canary import SECRETS, TEXTS
from conftest import RunningGateway, chat_body
from form_pages import Links, own_origin, sent, submit
from test_second_factor import code_for

MAX_PAGES = 3_000
STORED = "lmstudio_stored"


def change_in_the_admin(gateway: RunningGateway) -> None:
    """A login, a new key for a provider, a new password: all that leaves a trace in history and sessions."""
    password, following = SECRETS["the admin's password"], SECRETS["the admin's next password"]
    login = {"username": "ada", "password": password}
    assert submit(gateway, "/admin/login/", {"username": "ada", "password": following}) == 200
    assert submit(gateway, "/admin/login/", login | {"next": "/admin/"}) == 302
    listed = gateway.client.get("/admin/providers/provider/").text
    found = re.search(rf'href="([^"]*/\d+/change/)[^"]*"[^>]*>{STORED}<', listed)
    assert found is not None
    path = found[1]
    keys = Links(gateway.client.get(path).text).passwords
    assert keys, "the provider's form has a field for its key"
    assert submit(gateway, path, {keys[0]: SECRETS["the key typed in the admin"], "_save": "Save"}) == 302
    new = {"old_password": password, "new_password1": following, "new_password2": following}
    assert submit(gateway, "/admin/password_change/", new) == 302


def set_up_a_second_factor(gateway: RunningGateway) -> dict[str, str | bytes]:
    """Its secret and the backup codes, each as it is shown once, and as it is used."""
    path = "/admin/second-factor/account/"
    assert submit(gateway, path, {"action": "begin"}) == 302
    shown = re.search(r'<code class="secret">([A-Z2-7 ]+)</code>', gateway.client.get(path).text)
    assert shown is not None
    plain = shown[1].replace(" ", "")
    confirmed = sent(gateway, path, {"action": "confirm", "code": code_for(plain)})
    codes = re.findall(r"<li>([a-z2-7-]{19})</li>", confirmed.text)
    assert len(codes) == 10
    made: dict[str, str | bytes] = {
        "a second factor's secret": plain,
        "a second factor's secret, as shown": shown[1],
        "a second factor's secret, in bytes": b32decode(plain),
    }
    for n, code in enumerate(codes):
        made |= {f"backup code {n}": code, f"backup code {n}, as typed": code.replace("-", "")}
    return made


def issue_a_token(gateway: RunningGateway) -> str:
    path = re.search(
        r'href="(/admin/clients/client/\d+/)change/', gateway.client.get("/admin/clients/client/").text
    )
    assert path is not None
    issued = sent(gateway, f"{path[1]}issue/", {"expiry": "90"})
    token = re.search(r"llmc_\w+", issued.text)
    assert token is not None, issued.text
    return token[0]


def cookies(gateway: RunningGateway) -> dict[str, str | bytes]:
    held = gateway.client.cookies
    return {"a session's key": held["sessionid"], "the secret of forms": held["csrftoken"]}


def play(gateway: RunningGateway) -> str:
    """Calls from the playground: one that is answered and some that fail. Their answers show what they are for.
    The last ticket."""
    fields = Links(gateway.client.get("/admin/playground/").text).fields
    for model in ("echo", "status-500", "error-in-stream"):
        for method in ("chat", "chatStream"):
            ticket = gateway.client.post(
                "/admin/playground/ticket/", data=fields, headers=own_origin(gateway)
            )
            body = chat_body(TEXTS["played"], provider=STORED, model=model)
            played = {"ticket": ticket.json()["ticket"], "toolId": "bob", "method": method, "body": body}
            assert gateway.client.post("/admin/playground/call", json=played).status_code == 200
    return str(played["ticket"])


def plan_from_uploads(gateway: RunningGateway) -> list[bytes]:
    """A registry with a token in plain text, planned and applied; again, planned and left; and one that is refused."""
    page = "/admin/configuration/"
    csrf = Links(gateway.client.get(page).text).fields["csrfmiddlewaretoken"]
    dora = {"toolId": "dora", "token": SECRETS["a token in an upload"], "allowedMethods": ["chat"]}
    bad = {"toolId": "dora", "token": SECRETS["a token in a bad upload"], "allowedMethods": "chat"}
    pages: list[bytes] = []
    for upload, planned in ((dora, True), (dora | {"notes": "again"}, True), (bad, False)):
        answer = gateway.client.post(
            f"{page}import/client-registry.json/",
            data={"csrfmiddlewaretoken": csrf, "upload": "Plan", "merge": "on"},
            files={"file": ("registry.json", json.dumps({"clients": [upload]}))},
            headers=own_origin(gateway),
        )
        assert (answer.status_code == 302) == planned
        pages.append(answer.content)
        if planned:
            path = answer.headers["location"]
            pages.append(gateway.client.get(path).content)
            if upload == dora:
                assert submit(gateway, path, {}) == 302
    assert ">dora<" in gateway.client.get("/admin/clients/client/").text, "the first plan was applied"
    return pages


def crawl(gateway: RunningGateway) -> Iterator[tuple[str, bytes]]:
    """Every page of the admin and the guides that a superuser reaches by links."""
    waiting, seen = ["/admin/"], {"/admin/"}
    while waiting:
        path = waiting.pop()
        response = gateway.client.get(path)
        assert response.status_code in (200, 302), (path, response.status_code)
        # Cookies are where a session's key and the secret of forms must be.
        headers = [pair for pair in response.headers.multi_items() if pair[0] != "set-cookie"]
        yield path, response.content + repr(headers).encode()
        if response.headers.get("content-type", "").startswith("text/html") or response.is_redirect:
            hrefs = [*Links(response.text).hrefs, response.headers.get("location", "")]
            found = {target for href in hrefs if (target := followed(gateway, path, href))}
            waiting += sorted(found - seen)
            seen |= found
            assert len(seen) < MAX_PAGES, "the crawl ends"


def followed(gateway: RunningGateway, page: str, href: str) -> str:
    """Where a link leads; "" where it need not be followed: elsewhere, out, or to the same rows in another order or
    by two filters at once."""
    there = urlsplit(urljoin(gateway.url + page, href))
    own = there.netloc == urlsplit(gateway.url).netloc and there.path.startswith(("/admin/", "/docs/"))
    query = [
        (name, value) for name, value in parse_qsl(there.query) if name not in ("o", "_changelist_filters")
    ]
    if not own or "logout" in there.path or len(query) > 1:
        return ""
    return there.path + (f"?{urlencode(query)}" if query else "")


def server_errors(gateway: RunningGateway) -> dict[str, httpx.Response]:
    """Requests that carry or make a secret, each failing with 500 after it was read."""
    provider = re.search(
        rf'href="([^"]*/\d+/change/)[^"]*"[^>]*>{STORED}<',
        gateway.client.get("/admin/providers/provider/").text,
    )
    client = re.search(
        r'href="(/admin/clients/client/\d+/)change/', gateway.client.get("/admin/clients/client/").text
    )
    assert provider is not None
    assert client is not None
    key = {"new_key": SECRETS["the key typed in the admin"], "notes": "another", "_save": "Save"}
    login = {"username": "ada", "password": SECRETS["the admin's next password"]}
    with gateway.without_table("django_admin_log"):
        answers = {
            "a key": sent(gateway, provider[1], key),
            "a new token": sent(gateway, f"{client[1]}issue/", {"expiry": "90"}),
        }
    with (
        gateway.without_table("django_session"),
        httpx.Client(base_url=gateway.url, trust_env=False) as stranger,
    ):
        fields = Links(stranger.get("/admin/login/").text).fields
        answers["a password"] = stranger.post(
            "/admin/login/", data=fields | login, headers=own_origin(gateway)
        )
    return answers
