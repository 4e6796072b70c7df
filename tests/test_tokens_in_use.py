"""Tokens made and ended in the admin, against a running gateway: over HTTP, as a browser would."""

import html
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest
from conftest import ALL_METHODS, RunningGateway, provider_entry, registry, running_gateway
from fake_provider import FakeProvider

PASSWORD = "ada's password 1"
TOKEN = re.compile(r"llmc_[0-9A-Za-z]{12}_[0-9A-Za-z]{33}")
ODD = """it's "odd" \\ $HOME `x`"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, shared_fake: FakeProvider) -> Iterator[RunningGateway]:
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    providers = {"providers": {"lmstudio_fake": provider_entry(shared_fake.url)}}
    single = [{"toolId": f"only-{method}", "allowedMethods": [method]} for method in ALL_METHODS]
    odd = {"toolId": ODD, "allowedMethods": ["chat"]}
    clients = registry(*single, odd)
    with running_gateway(tmp_path_factory.mktemp("gateway"), providers, clients, env) as running:
        yield running


@pytest.fixture
def ada(gateway: RunningGateway) -> Iterator[httpx.Client]:
    """Logged in; `post` her forms through `send`."""
    with httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as browser:
        browser.get("/admin/login/")
        send(browser, "/admin/login/", {"username": "ada", "password": PASSWORD})
        assert browser.get("/admin/").status_code == 200
        yield browser


def send(browser: httpx.Client, path: str, data: dict[str, str]) -> httpx.Response:
    hidden = hidden_fields(browser.get(path).text)
    return browser.post(path, data=hidden | data, headers={"Referer": str(browser.base_url)})


def hidden_fields(page: str) -> dict[str, str]:
    return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))


def client_path(browser: httpx.Client, tool_id: str) -> str:
    page = browser.get("/admin/clients/client/", params={"q": tool_id}).text
    found = re.search(
        r'href="(/admin/clients/client/\d+/)change/[^"]*">' + re.escape(html.escape(tool_id)), page
    )
    assert found is not None
    return found[1]


def issued(answer: httpx.Response) -> str:
    assert answer.status_code == 200
    found = TOKEN.search(answer.text)
    assert found is not None
    return found[0]


def snippet(answer: httpx.Response, name: str) -> str:
    found = re.search(rf'id="{name}"[^>]*>(.*?)</code>', answer.text, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def token_path(browser: httpx.Client, client: str, token: str, what: str) -> str:
    row = browser.get(f"{client}change/").text.partition(token.split("_")[1])[2]
    found = re.search(rf'"(/admin/clients/clienttoken/\d+/{what}/)"', row)
    assert found is not None
    return found[1]


@contextmanager
def loaded(gateway: RunningGateway) -> Iterator[None]:
    """What is done inside has reached the gateway at the end. By the version's number: a load that was still under
    way from before would be taken for this one. (How fast it is, is tested where a token is revoked.)"""
    yield
    done = time.monotonic()
    newest = int(gateway.manage("shell", "-v", "0", "-c", NEWEST).stdout)
    while (
        max(
            (line["metadata"]["version"] for line in gateway.log_lines() if line["message"] == LOADED),
            default=0,
        )
        < newest
    ):
        assert time.monotonic() - done < 10
        time.sleep(0.01)


LOADED = "Configuration loaded"
NEWEST = "from gateway.versions import newest; print(newest())"


def refused_after(gateway: RunningGateway, token: str, since: float) -> float:
    """Seconds from `since` until a call with the token is refused; fails past one second."""
    while True:
        asked = time.monotonic()
        if gateway.chat(token=token).status_code == 403:
            return asked - since
        assert asked - since < 1
        # Asking without a pause would hold up what it waits for.
        time.sleep(0.05)


def test_a_token_revoked_with_the_button_is_refused_within_a_second(
    gateway: RunningGateway, ada: httpx.Client
) -> None:
    bob = client_path(ada, "bob")
    with loaded(gateway):
        token = issued(send(ada, f"{bob}issue/", {"expiry": "30"}))
    assert gateway.chat(token=token).status_code == 200
    path = token_path(ada, bob, token, "revoke")
    assert send(ada, path, {}).status_code == 302
    took = refused_after(gateway, token, time.monotonic())
    print(f"a token revoked in the admin was refused {took * 1000:.0f} ms later")


def test_both_tokens_work_in_an_overlap_and_only_the_new_one_without(
    gateway: RunningGateway, ada: httpx.Client
) -> None:
    bob = client_path(ada, "bob")
    with loaded(gateway):
        first = issued(send(ada, f"{bob}issue/", {"expiry": "30"}))
    with loaded(gateway):
        path = token_path(ada, bob, first, "rotate")
        second = issued(send(ada, path, {"overlap": "1", "expiry": "30"}))
    assert [gateway.chat(token=token).status_code for token in (first, second)] == [200, 200]
    with loaded(gateway):
        path = token_path(ada, bob, second, "rotate")
        third = issued(send(ada, path, {"overlap": "0", "expiry": "30"}))
    assert [gateway.chat(token=token).status_code for token in (first, second, third)] == [200, 403, 200]


def test_a_double_click_issues_one_token(gateway: RunningGateway, ada: httpx.Client) -> None:
    path = f"{client_path(ada, 'charlie')}issue/"
    sent = hidden_fields(ada.get(path).text) | {"expiry": "30"}

    def click(_: int) -> int:
        return ada.post(path, data=sent, headers={"Referer": gateway.url}).status_code

    with ThreadPoolExecutor(4) as clicks:
        assert sorted(clicks.map(click, range(4))) == [200, 409, 409, 409]


def test_the_command_rotates_for_a_running_gateway(gateway: RunningGateway) -> None:
    with loaded(gateway):
        first = gateway.manage("issue_token", "bob").stdout.strip()
    with loaded(gateway):
        second = gateway.manage("rotate_token", first.split("_")[1], "--overlap", "0s").stdout.strip()
    assert [gateway.chat(token=token).status_code for token in (first, second)] == [403, 200]


@pytest.mark.parametrize("tool_id", [*(f"only-{method}" for method in ALL_METHODS), ODD])
def test_the_snippets_work_as_pasted(gateway: RunningGateway, ada: httpx.Client, tool_id: str) -> None:
    with loaded(gateway):
        answer = send(ada, f"{client_path(ada, tool_id)}issue/", {"expiry": "30"})
    assert_answered(tool_id, ran("bash", "-c", snippet(answer, "curl")))
    assert_answered(tool_id, ran(sys.executable, "-c", snippet(answer, "python")))


def ran(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_answered(tool_id: str, said: str) -> None:
    expected = {
        "only-embed": "vectors",
        "only-models": "lmstudio_fake",
        "only-getHealth": "components",
        "only-chatStream": "[DONE]",
    }
    assert expected.get(tool_id, "providerInfo") in said


def test_the_page_of_what_a_client_may_do_knows_the_running_gateway(ada: httpx.Client) -> None:
    pk = client_path(ada, "bob").rstrip("/").rpartition("/")[2]
    shown = ada.get(f"/admin/clients/client/{pk}/explain/").text
    assert "Everything that it may call works." in shown
    assert "lmstudio_fake, embed-3" in shown
    assert "No gateway runs in this process" not in shown
