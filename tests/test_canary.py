"""Secrets and prompts appear nowhere they should not (promise 4).

Every secret and every text of a call is a canary. What the installation wrote, printed and shows is then searched
for each of them in many forms. The places where a secret must be are left out: the environment of the process, the
key file, the registry that the tokens were imported from, and the answer that shows a new token once.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canary import SECRETS, TEXTS, Search, forms
from canary_commands import failing_commands, prepare, runtime_shown, unpacked
from canary_content import ask_whether_sent, open_kept_content
from canary_pages import (
    STORED,
    change_in_the_admin,
    cookies,
    crawl,
    issue_a_token,
    plan_from_uploads,
    play,
    server_errors,
    set_up_a_second_factor,
)
from conftest import ALL_METHODS, RunningGateway, chat_body, provider_entry, running_gateway
from fake_provider import FakeProvider

FILE, VARIABLE, OWN = "lmstudio_file", "lmstudio_env", "openai"


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
    search.add(set_up_a_second_factor(gateway))
    search.add({"a token issued in the admin": issue_a_token(gateway), "a ticket": play(gateway)})
    search.add(cookies(gateway))
    were_really_used(gateway, fake)
    open_kept_content(gateway)
    for n, page in enumerate(ask_whether_sent(gateway)):
        search.look(f"page of a question {n}", page)
    for n, page in enumerate(plan_from_uploads(gateway)):
        search.look(f"page of an upload {n}", page)
    for path, page in crawl(gateway):
        search.look(f"page {path}", page)
    for what, failed in server_errors(gateway).items():
        assert (failed.status_code, failed.json()["error"]) == (500, "INTERNAL_ERROR"), what
        search.look(f"server error over {what}", failed.content)
    for place in ("/metrics", "/health", "/mcp/models"):
        search.look(place, gateway.get(place, token=canaries["a token in a file"]).content)
    told["metrics"] = gateway.manage("metrics").stdout
    search.look_below("state while running", gateway.folder / "var")
    assert gateway.stop() == 0
    told |= failing_commands(gateway)
    told["export"] = gateway.manage("export_config").stdout
    told["runtime"] = runtime_shown(gateway)
    told["dump"] = gateway.manage("dumpdata").stdout
    told["unpacked"] = unpacked(gateway)
    for place, text in told.items():
        search.look(place, text)
    for name in ("stdout.log", "stderr.log"):
        search.look(name, (gateway.folder / name).read_bytes())
    for name in ("var", "config", "logs"):
        search.look_below(name, gateway.folder / name)

    told_places = " ".join(search.places)
    for needed in ("sqlite3", "journal", "metrics.json", ".bak", "/history/", "gateway.log", "page /docs/"):
        assert needed in told_places or (needed == "sqlite3" and gateway.env["DATABASE_URL"]), needed
    assert "OperationalError" in (gateway.folder / "stdout.log").read_text(), "the server errors were logged"
    print(f"promise 4: {len(search.names)} canaries in {len(search.places)} places: {len(search.hits)} hits")
    assert sorted(search.hits) == []


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
