"""Secrets and prompts appear nowhere they should not (promise 4).

Every secret and every text of a call is a canary. What the installation wrote, printed and shows is then searched
for each of them in many forms. The places where a secret must be are left out: the environment of the process, the
key file, the registry that the tokens were imported from, and the answer that shows a new token once.
"""

import base64
import html
import json
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urljoin, urlsplit

import pytest
from conftest import ALL_METHODS, ROOT, RunningGateway, chat_body, provider_entry, running_gateway
from fake_provider import FakeProvider

MAX_PAGES = 3_000
PROVIDER_TEXT = "PROVIDER-TEXT"
"""What the fake provider says in its errors, together with the key that it was sent."""


def canary(name: str, odd: str = "") -> str:
    return f"cnry-{name}-{secrets.token_hex(12)}{odd}"


def forms(text: str) -> dict[str, bytes]:
    """How the text may lie in bytes: as it is and escaped in each way that something here might do it."""
    raw = text.encode()
    return {
        "raw": raw,
        "hex": raw.hex().encode(),
        "JSON": json.dumps(text)[1:-1].encode(),
        "JSON, not ASCII": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "HTML": html.escape(text).encode(),
        "URL": quote(text, safe="").encode(),
        "form": quote_plus(text).encode(),
        "repr": repr(text)[1:-1].encode(),
        **{f"base64 at {n}": _base64(raw, n) for n in range(3)},
        **{f"base64url at {n}": _base64(raw, n).translate(bytes.maketrans(b"+/", b"-_")) for n in range(3)},
    }


def _base64(raw: bytes, before: int) -> bytes:
    """The characters that depend on `raw` alone when it stands `before` bytes after a multiple of three."""
    encoded = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
    first = -(-before * 8 // 6)
    last = (before + len(raw)) * 8 // 6
    return encoded[first:last]


class Search:
    """Bytes come in under the name of their place; `hits` are `(place, canary, form)`."""

    def __init__(self, canaries: dict[str, str]) -> None:
        self.patterns = [
            (name, form, pattern) for name, text in canaries.items() for form, pattern in forms(text).items()
        ]
        self.places: set[str] = set()
        self.hits: set[tuple[str, str, str]] = set()

    def look(self, place: str, data: bytes | str) -> None:
        data = data.encode() if isinstance(data, str) else data
        self.places.add(place)
        self.hits |= {(place, name, form) for name, form, pattern in self.patterns if pattern in data}

    def look_below(self, what: str, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "static" not in path.relative_to(folder).parts:
                self.look(f"{what}: {path.relative_to(folder)}", path.read_bytes())


SECRETS = {
    "Django's secret key": canary("django") + canary("django"),
    "the pepper": canary("pepper") + canary("pepper"),
    "the older pepper": canary("older-pepper") + canary("older-pepper"),
    "the encryption key": canary("sealing") + canary("sealing"),
    "the admin's password": canary("password", '"<&+ü/='),
    "the admin's next password": canary("next-password", '"<&+ü/='),
    "a token in a file": canary("file-token", '"<&+/='),
    "a token in an upload": canary("upload-token", '"<&+/='),
    "a token in a bad upload": canary("bad-upload", '"<&+/='),
    "a mistyped token": canary("no-token", '"<&+/='),
    "a token in the URL": canary("url-token", "+/="),
    "the key in a variable": canary("env-key", "+/="),
    "the kind's own key": canary("openai-key", "+/="),
    "the key in a file": canary("file-key", "+/="),
    "the key typed in the assistant": canary("stored-key", '"<&+/='),
    "the key typed in the admin": canary("admin-key", "<&+/="),
    "the database's password": canary("database"),
}
TEXTS = {
    name: canary(name, '"<&+ü\u2028/=')
    for name in ("prompt", "system", "stream", "embed", "failing", "invalid", "answer", "tool", "played")
} | {"the provider's error": PROVIDER_TEXT}
FILE, VARIABLE, OWN, STORED = "lmstudio_file", "lmstudio_env", "openai", "lmstudio_stored"


@pytest.fixture
def gateway(tmp_path: Path, fake: FakeProvider) -> Iterator[RunningGateway]:
    """With every kind of secret in use; the files of the configuration's folder never held a token."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "key.txt").write_text(SECRETS["the key in a file"])
    bob = {"toolId": "bob", "token": SECRETS["a token in a file"], "allowedMethods": ALL_METHODS}
    bob |= {"capture": "all", "captureDays": 2}
    (own / "registry.json").write_text(json.dumps({"clients": [bob]}))
    providers = {
        VARIABLE: provider_entry(fake.url, apiKey={"env": "CANARY_KEY"}),
        FILE: provider_entry(fake.url, apiKey={"file": str(own / "key.txt")}),
        OWN: provider_entry(fake.url),
        STORED: provider_entry(fake.url),
    }
    env = {
        "DJANGO_SECRET_KEY": SECRETS["Django's secret key"],
        "LLM_CALLER_TOKEN_PEPPERS": f"{SECRETS['the pepper']},{SECRETS['the older pepper']}",
        "LLM_CALLER_ENCRYPTION_KEYS": SECRETS["the encryption key"],
        "DJANGO_SUPERUSER_USERNAME": "ada",
        "DJANGO_SUPERUSER_PASSWORD": SECRETS["the admin's password"],
        "CANARY_KEY": SECRETS["the key in a variable"],
        "OPENAI_API_KEY": SECRETS["the kind's own key"],
        "LLM_CALLER_LOG_FILE": str(tmp_path / "logs" / "gateway.log"),
        "LLM_CALLER_LOG_LEVEL": "debug",
        "LLM_CALLER_IDLE_TIMEOUT_MS": "1000",
        "LLM_CALLER_FIRST_EVENT_TIMEOUT_MS": "1500",
    }
    (tmp_path / "logs").mkdir()
    with running_gateway(tmp_path, {"providers": providers}, {"clients": []}, env, start=False) as made:
        yield made


def run(
    gateway: RunningGateway, *arguments: str, typed: str = "", env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    env = gateway.env | (env or {})
    return subprocess.run(
        command, env=env, cwd=ROOT, input=typed, capture_output=True, text=True, check=False
    )


def test_secrets_and_prompts_appear_nowhere_they_should_not(
    gateway: RunningGateway, fake: FakeProvider
) -> None:
    for name, text in (SECRETS | TEXTS).items():
        control = Search({name: text})
        for form, pattern in forms(text).items():
            control.look(form, b"\x00" + pattern + b"\xff")
        assert {place for place, _, _ in control.hits} == set(forms(text)), f"{name} would be found"

    told = prepare(gateway)
    canaries = SECRETS | TEXTS | {"an issued token": told.pop("issued")}
    search = Search(canaries)
    gateway.start()
    for n, answer in enumerate(calls(gateway, fake, canaries)):
        search.look(f"refusal {n}", answer)
    change_in_the_admin(gateway)
    play(gateway)
    were_really_used(gateway, fake)
    open_kept_content(gateway)
    for n, page in enumerate(ask_whether_sent(gateway)):
        search.look(f"page of a question {n}", page)
    for n, page in enumerate(plan_from_uploads(gateway)):
        search.look(f"page of an upload {n}", page)
    for path, page in crawl(gateway):
        search.look(f"page {path}", page)
    for place in ("/metrics", "/health", "/mcp/models"):
        search.look(place, gateway.get(place, token=canaries["a token in a file"]).content)
    told["metrics"] = gateway.manage("metrics").stdout
    search.look_below("state while running", gateway.folder / "var")
    assert gateway.stop() == 0
    told |= failing_commands(gateway)
    told["export"] = gateway.manage("export_config").stdout
    told["runtime"] = runtime_shown(gateway)
    told["dump"] = gateway.manage("dumpdata").stdout
    for place, text in told.items():
        search.look(place, text)
    for name in ("stdout.log", "stderr.log"):
        search.look(name, (gateway.folder / name).read_bytes())
    for name in ("var", "config", "logs"):
        search.look_below(name, gateway.folder / name)

    told_places = " ".join(search.places)
    for needed in ("sqlite3", "journal", "metrics.json", ".bak", "/history/", "gateway.log", "page /docs/"):
        assert needed in told_places or (needed == "sqlite3" and gateway.env["DATABASE_URL"]), needed
    print(f"promise 4: {len(canaries)} canaries in {len(search.places)} places: {len(search.hits)} hits")
    assert sorted(search.hits) == []


def prepare(gateway: RunningGateway) -> dict[str, str]:
    """Tokens from a file and issued, keys stored by the assistant, exports with backups. What was printed, but for
    the issued token, which stands by itself."""
    registry = str(gateway.folder / "own" / "registry.json")
    told = {"import": run(gateway, "import_config", "--clients", registry).stdout}
    issued = run(gateway, "issue_token", "carol", "--methods", "chat")
    told |= {"issue": issued.stderr, "issued": issued.stdout.strip()}
    key = SECRETS["the key typed in the assistant"]
    script = ["3", STORED, "key", "4", key, "", "13", "for the canary test", "1", "6", "12", "14"]
    done = run(gateway, "config", typed="\n".join([*script, ""]))
    assert done.returncode == 0, done.stdout
    told["assistant"] = done.stdout + done.stderr
    for _ in range(3):
        told["export"] = run(gateway, "export_config").stdout
    told["backups"] = run(gateway, "backups").stdout + run(gateway, "backups", "--prune").stdout
    return told


def calls(gateway: RunningGateway, fake: FakeProvider, canaries: dict[str, str]) -> list[bytes]:
    """Calls of each method with each provider, good and bad. The answers to those that were refused."""
    token = canaries["a token in a file"]
    fake.scripts["script:canary"] = [TEXTS["answer"][:20], TEXTS["answer"][20:]]
    refused: list[bytes] = []

    def post(path: str, body: Any, token: str = token) -> None:
        with gateway.client.stream(
            "POST", path, json=body, headers={"X-LLM-Caller-Token": token}
        ) as response:
            data = response.read()
        if response.status_code != 200:
            refused.append(data)
        elif body.get("model") == "script:canary":
            assert json.dumps(TEXTS["answer"], ensure_ascii=False)[1:-1].encode() in data
        elif path == "/mcp/chatStream" and b'"error"' in data:
            refused.append(data[data.index(b'"error"') :])

    for provider in (VARIABLE, FILE, OWN, STORED):
        post("/mcp/chat", chat_body(TEXTS["prompt"], provider=provider))
        for model in ("script:canary", "error-in-stream", "cut-after-3", "status-500"):
            post("/mcp/chatStream", chat_body(TEXTS["stream"], provider=provider, model=model))
        embed = {"requestId": "r", "callerTool": "bob", "inputs": [TEXTS["embed"]], "provider": provider}
        post("/mcp/embed", embed)
        post("/mcp/embed", embed | {"model": "status-400", "inputs": [TEXTS["failing"]]})
        for model in ("status-500", "status-401", "status-400", "html", "broken-json", "wrong-shape"):
            post("/mcp/chat", chat_body(TEXTS["failing"], provider=provider, model=model))
    tools = [{"name": "t", "description": TEXTS["tool"], "parameters": {"description": TEXTS["tool"]}}]
    system = [{"role": "system", "content": TEXTS["system"]}, {"role": "user", "content": "x"}]
    post("/mcp/chat", chat_body(messages=system, tools=tools))
    invalid = TEXTS["invalid"]
    for body in (
        chat_body(messages=invalid),
        chat_body(messages=[{"role": invalid, "content": invalid}]),
        chat_body(invalid, temperature=invalid),
        chat_body(invalid, messages=[{"role": "user", "content": [{"type": "image", "url": invalid}]}]),
        {"unknown": invalid},
        [invalid],
    ):
        post("/mcp/chat", body)
    post("/mcp/chat", chat_body(), canaries["an issued token"])
    post("/mcp/embed", {"requestId": "r"}, canaries["an issued token"])
    post("/mcp/chat", chat_body(), SECRETS["a mistyped token"])
    headers = {"X-LLM-Caller-Token": token, "Content-Type": "application/json"}
    broken = gateway.client.post("/mcp/chat", content=f'{{"x": "{invalid}"'.encode(), headers=headers)
    in_url = gateway.client.get("/health", params={"token": SECRETS["a token in the URL"]})
    assert (broken.status_code, in_url.status_code) == (400, 401)
    assert len(refused) > 30
    return [*refused, broken.content, in_url.content]


def were_really_used(gateway: RunningGateway, fake: FakeProvider) -> None:
    """Each key and each text reached the provider: what is looked for was there to be leaked."""
    fake.wait_for(lambda: SECRETS["the key typed in the admin"] in str(fake.hits[-20:]))
    seen = json.dumps([[hit.headers, hit.body] for hit in fake.hits], ensure_ascii=False)
    keys = ("in a variable", "in a file", "typed in the assistant", "typed in the admin")
    for key in [SECRETS["the kind's own key"], *(SECRETS[f"the key {where}"] for where in keys)]:
        assert json.dumps(f"Bearer {key}") in seen, key
    for name in ("prompt", "system", "stream", "embed", "failing", "tool", "played"):
        assert json.dumps(TEXTS[name], ensure_ascii=False)[1:-1] in seen, name
    where_it_must_be = Search(SECRETS)
    where_it_must_be.look_below("own", gateway.folder / "own")
    assert {name for _, name, _ in where_it_must_be.hits} == {"a token in a file", "the key in a file"}


UNSENT = ("submit", "file", "radio", "checkbox")


class Links(HTMLParser):
    """The links of a page, and the fields of its forms as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.fields: dict[str, str] = {}
        self.passwords: list[str] = []
        self._select = self._area = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "a" and "href" in given:
            self.hrefs.append(given["href"])
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given and self._select:
            self.fields[self._select] = given.get("value", "")
        elif tag == "textarea" and name:
            self._area, self.fields[name] = name, ""
        elif tag == "input" and name and given.get("type") == "password":
            self.passwords.append(name)
        elif tag == "input" and name and ("checked" in given or given.get("type") not in UNSENT):
            self.fields[name] = given.get("value", "on" if given.get("type") == "checkbox" else "")

    def handle_endtag(self, tag: str) -> None:
        self._select = "" if tag == "select" else self._select
        self._area = "" if tag == "textarea" else self._area

    def handle_data(self, data: str) -> None:
        if self._area:
            self.fields[self._area] += data.lstrip("\n") if not self.fields[self._area] else data


def submit(gateway: RunningGateway, path: str, changes: dict[str, str]) -> int:
    """Opens a page with a form and sends it back with these changes."""
    page = Links(gateway.client.get(path).text)
    sent = gateway.client.post(path, data=page.fields | changes, headers=own_origin(gateway))
    return sent.status_code


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


def play(gateway: RunningGateway) -> None:
    """Calls from the playground: one that is answered and some that fail. Their answers show what they are for."""
    fields = Links(gateway.client.get("/admin/playground/").text).fields
    for model in ("echo", "status-500", "error-in-stream"):
        for method in ("chat", "chatStream"):
            ticket = gateway.client.post(
                "/admin/playground/ticket/", data=fields, headers=own_origin(gateway)
            )
            body = chat_body(TEXTS["played"], provider=STORED, model=model)
            played = {"ticket": ticket.json()["ticket"], "toolId": "bob", "method": method, "body": body}
            assert gateway.client.post("/admin/playground/call", json=played).status_code == 200


def open_kept_content(gateway: RunningGateway) -> None:
    """Everything that was asked and answered is there for who opens it: the one page where it may be read."""
    code = "from telemetry.models import CapturedContent as C; print(*C.objects.values_list('call_id', flat=True))"
    wanted = {TEXTS[name] for name in ("prompt", "system", "stream", "embed", "failing", "answer", "played")}
    opened = 0
    for call_id in gateway.manage("shell", "-v", "0", "-c", code).stdout.split():
        path = f"/admin/telemetry/content/{call_id}/"
        fields = Links(gateway.client.get(path).text).fields | {"reason": "the test of the canaries"}
        page = gateway.client.post(path, data=fields, headers=own_origin(gateway)).text
        opened += 1
        wanted = {text for text in wanted if html.escape(text) not in page}
        if not wanted:
            break
    assert not wanted, f"{len(wanted)} texts in none of {opened} opened calls"


def ask_whether_sent(gateway: RunningGateway) -> Iterator[str]:
    path = "/admin/telemetry/requestlog/sent-text/"
    for text, found in ((TEXTS["prompt"], True), (TEXTS["answer"], True), (TEXTS["invalid"], False)):
        fields = Links(gateway.client.get(path).text).fields | {"text": text}
        page = gateway.client.post(path, data=fields, headers=own_origin(gateway)).text
        assert ("<strong>Yes.</strong>" in page) == found, "the question is answered"
        yield page


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


def own_origin(gateway: RunningGateway) -> dict[str, str]:
    return {"Referer": f"{gateway.url}/admin/", "Origin": gateway.url}


def crawl(gateway: RunningGateway) -> Iterator[tuple[str, bytes]]:
    """Every page of the admin and the guides that a superuser reaches by links."""
    waiting, seen = ["/admin/"], {"/admin/"}
    while waiting:
        path = waiting.pop()
        response = gateway.client.get(path)
        assert response.status_code in (200, 302), (path, response.status_code)
        yield path, response.content + repr(response.headers).encode()
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


def failing_commands(gateway: RunningGateway) -> dict[str, str]:
    """What commands say that fail over something that holds a secret, with the traceback where they can show one."""
    own = gateway.folder / "own"
    token, key = SECRETS["a token in a file"], SECRETS["the key in a variable"]
    password = SECRETS["the database's password"]
    bad = {
        "clients.json": {
            "clients": [{"toolId": 5, "token": token}, {"toolId": "x", "token": [token]}, token]
        },
        "twice.json": {"clients": [{"toolId": n, "token": token, "allowedMethods": []} for n in "ab"]},
        "cut.json": f'{{"clients": [{{"token": "{token[:-3]}"',
        "providers.json": {
            "providers": {
                "a": provider_entry(f"http://ada:{key}@localhost/v1"),
                "b": provider_entry("http://localhost/v1", apiKey={"env": key}),
                "c": provider_entry("http://localhost/v1", apiKey={"stored": key}),
                "d": provider_entry("http://localhost/v1", apiKey=key),
            }
        },
    }
    for name, document in bad.items():
        (own / name).write_text(document if isinstance(document, str) else json.dumps(document))
    elsewhere = f"postgres://ada:{password}@127.0.0.1:9/none"
    attempts: dict[str, tuple[list[str], dict[str, str]]] = {
        "clients": (["import_config", "--clients", str(own / "clients.json")], {}),
        "twice": (["import_config", "--clients", str(own / "twice.json")], {}),
        "cut": (["import_config", "--clients", str(own / "cut.json")], {}),
        "providers": (["import_config", "--providers", str(own / "providers.json")], {}),
        "another encryption key": (["serve"], {"LLM_CALLER_ENCRYPTION_KEYS": "w" + secrets.token_hex(32)}),
        "the wrong pepper": (["serve"], {"LLM_CALLER_TOKEN_PEPPERS": "w" + secrets.token_hex(32)}),
        "a placeholder": (["check"], {"DJANGO_SECRET_KEY": f"change-me {SECRETS['the encryption key']}"}),
        "no database": (["migrate"], {"DATABASE_URL": elsewhere}),
        "no database, told by the assistant": (["config"], {"DATABASE_URL": elsewhere}),
        "not a database": (["check"], {"DATABASE_URL": f"nonsense://ada:{password}@x/y"}),
        "a slash in a password": (["check"], {"DATABASE_URL": f"postgres://ada:{password}/x@host/y"}),
        "no token of that id": (["revoke_token", "nobody"], {}),
    }
    told = {}
    for name, (arguments, env) in attempts.items():
        done = run(gateway, *arguments, "--traceback", env=env)
        assert done.returncode != 0, name
        told[f"failing command, {name}"] = done.stdout + done.stderr
    return told


SHOWING = """
import msgspec
from django.conf import settings
from gateway.assistant.saving import begin
from gateway.configfile import peppers
from gateway.reload import build_policy, load_runtime
from providers.secrets import KeyRing

def show(value):
    print(repr(value), str(value), f"{value}")
    if isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            show(getattr(value, field))
    elif isinstance(value, dict):
        for item in value.values():
            show(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            show(item)

runtime = load_runtime(build_policy())
show(runtime)
show(list(runtime.catalog.providers.values()))
show(vars(runtime.directory) if hasattr(runtime.directory, "__dict__") else runtime.directory)
show([peppers(), KeyRing(settings.ENCRYPTION_KEYS), settings.ENVIRONMENT, begin()])
keys = [provider.api_key for provider in runtime.catalog.providers.values()]
assert all(keys), keys
print(keys)
"""


def runtime_shown(gateway: RunningGateway) -> str:
    return gateway.manage("shell", "-v", "0", "-c", SHOWING).stdout
