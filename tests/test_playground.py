"""The playground: who may use it, what it does to limits and record, and a person using it in a real browser."""

import json
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import RunningGateway, chat_body, parse_frames, provider_entry, registry, running_gateway
from django.core import signing
from fake_provider import FakeProvider
from playwright.sync_api import Page
from test_browser import complaints, gateway, log_in, page  # noqa: F401 - fixtures

from gateway.console.playground import MAX_MESSAGES, make_ticket

LIMITED = {
    "toolId": "dora",
    "token": "dora-token",
    "allowedMethods": ["chat"],
    "rateLimit": {"maxRequests": 2, "intervalMs": 60_000},
}


LOGIN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import Group, User
from gateway.sessions import SessionStore
User.objects.filter(username="ada").delete()
user = User.objects.create_user("ada", is_staff=True)
user.groups.add(Group.objects.get(name="operators"))
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print(session.session_key)
"""


def session_of(running: RunningGateway) -> str:
    """Ada's, as an operator; the cookie is in the client of the tests."""
    if "sessionid" not in running.client.cookies:
        key = running.manage("shell", "-v", "0", "-c", LOGIN).stdout.strip()
        running.client.cookies.set("sessionid", key)
    return running.client.cookies["sessionid"]


def ticket(running: RunningGateway, user: str = "ada") -> str:
    return make_ticket(user, session_of(running))


def play(
    running: RunningGateway, method: str, body: Any, *, tool: str = "bob", **more: Any
) -> httpx.Response:
    sent = {"ticket": ticket(running), "toolId": tool, "method": method, "body": body} | more
    return running.client.post("/admin/playground/call", json=sent)


def frames(answer: httpx.Response) -> list[Any]:
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8", answer.text
    told = parse_frames(answer.content)
    assert told[-1] == "[DONE]"
    return told[:-1]


def test_a_chat_is_answered_as_the_client_would_get_it_and_is_on_record(shared: RunningGateway) -> None:
    answer, trace = frames(play(shared, "chat", chat_body("hello")))
    assert (answer["type"], answer["status"]) == ("answer", 200)
    assert answer["body"]["message"]["content"] == "echo: hello"
    assert (trace["outcome"], trace["recorded"], len(trace["attempts"])) == ("ok", True, 1)
    assert trace["decided"]["routing"]["considered"][0]["provider"] == "lmstudio_fake"
    (row,) = shared.wait_for_records(1, call_id=trace["callId"])
    assert (row["tool_id"], row["token_id"], row["outcome"]) == ("bob", "playground:ada", "ok")


def test_a_stream_comes_as_the_client_would_get_it_with_the_trace_behind(shared: RunningGateway) -> None:
    told = frames(play(shared, "chatStream", chat_body("hello")))
    assert [frame["type"] for frame in told[-2:]] == ["completion", "trace"]
    assert "".join(f["delta"].get("content", "") for f in told if f["type"] == "delta") == "echo: hello"
    assert told[-1]["firstEventMs"] is not None


def test_embeddings_too(shared: RunningGateway) -> None:
    body = {"requestId": "e", "callerTool": "bob", "inputs": ["a", "b"]}
    answer, trace = frames(play(shared, "embed", body))
    assert len(answer["body"]["vectors"]) == 2
    assert trace["outcome"] == "ok"


@pytest.mark.parametrize(
    ("method", "body", "code", "stage"),
    [
        ("chat", chat_body(colour="red"), "BAD_REQUEST", "body"),
        ("chatStream", chat_body(provider="nobody"), "NOT_FOUND", "routing"),
        ("chat", chat_body(provider="lmstudio_fake", model="status-503"), "TEMPORARY", "attempts"),
        ("chatStream", chat_body(provider="lmstudio_fake", model="status-400"), "PERMANENT", "attempts"),
    ],
)
def test_what_goes_wrong_is_shown_with_the_place_where_it_went_wrong(
    shared: RunningGateway, method: str, body: Any, code: str, stage: str
) -> None:
    trace = frames(play(shared, method, body))[-1]
    assert (trace["outcome"], trace["decided"]["stage"]) == (code, stage)
    assert trace["problem"]["error"] == code


@pytest.mark.parametrize(
    ("tool", "more", "status"),
    [
        ("charlie", {}, 403),
        ("bob", {"provider": "nobody"}, 404),
        ("bob", {"provider": "lmstudio_fake", "model": "status-400"}, 422),
        ("bob", {"provider": "lmstudio_fake", "model": "status-503"}, 503),
        ("bob", {"provider": "lmstudio_fake", "model": "cut-after-3"}, 200),
    ],
)
def test_a_stream_is_on_record_with_the_status_that_its_client_would_have_got(
    shared: RunningGateway, tool: str, more: dict[str, str], status: int
) -> None:
    trace = frames(play(shared, "chatStream", chat_body(**more), tool=tool))[-1]
    (row,) = shared.wait_for_records(1, call_id=trace["callId"])
    assert (row["status"], row["outcome"]) == (status, trace["outcome"])


def test_a_stream_beyond_its_client_s_limit_is_on_record_as_429(tmp_path: Path, fake: FakeProvider) -> None:
    dora = LIMITED | {"allowedMethods": ["chatStream"]}
    with running_gateway(
        tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}, registry(dora)
    ) as it:
        for _ in range(3):
            frames(play(it, "chatStream", chat_body(), tool="dora"))
        rows = it.wait_for_records(3, tool_id="dora")
    assert sorted((row["status"], row["outcome"]) for row in rows) == [
        (200, "ok"), (200, "ok"), (429, "RATE_LIMIT"),
    ]  # fmt: skip


def test_why_sends_records_and_counts_nothing(tmp_path: Path, fake: FakeProvider) -> None:
    with running_gateway(
        tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}, registry(LIMITED)
    ) as it:
        before = len(fake.hits_for("echo"))
        for _ in range(5):
            (trace,) = frames(play(it, "chat", chat_body(), tool="dora", send=False))
            assert (trace["outcome"], trace["recorded"], trace["attempts"]) == ("ok", False, [])
            assert trace["decided"]["rate"]["remaining"] == 1
        (denied,) = frames(play(it, "chatStream", chat_body(), tool="dora", send=False))
        assert (denied["outcome"], denied["decided"]["stage"]) == ("FORBIDDEN", "permission")
        assert len(fake.hits_for("echo")) == before
        for _ in range(2):
            assert frames(play(it, "chat", chat_body(), tool="dora"))[0]["status"] == 200
        (full,) = frames(play(it, "chat", chat_body(), tool="dora", send=False))
        assert (full["outcome"], full["decided"]["stage"]) == ("RATE_LIMIT", "limits")
        assert it.chat(token="dora-token").status_code == 429
        assert len(it.wait_for_records(3, tool_id="dora")) == 3


def test_without_a_fresh_ticket_nobody_plays(shared: RunningGateway) -> None:
    def answered(given: str, **headers: str) -> tuple[int, str]:
        sent = {"ticket": given, "toolId": "bob", "method": "chat", "body": chat_body()}
        answer = shared.client.post("/admin/playground/call", json=sent, headers=headers)
        return answer.status_code, answer.json().get("reason", "")

    assert answered("") == (403, "TICKET")
    assert answered(ticket(shared) + "x") == (403, "TICKET")
    assert answered(signing.TimestampSigner(salt="else").sign("ada")) == (403, "TICKET")
    assert answered("ada:1:x", **{"X-LLM-Caller-Token": "bob-token"}) == (403, "TICKET")
    assert answered(make_ticket("ada", "another session")) == (403, "TICKET")
    assert answered(ticket(shared, user="somebody else")) == (403, "TICKET")
    assert answered(ticket(shared), Cookie="sessionid=") == (403, "TICKET")
    unknown = play(shared, "chat", chat_body(), tool="nobody")
    assert (unknown.status_code, unknown.json()["reason"]) == (404, "UNKNOWN_CLIENT")
    assert shared.client.get("/admin/playground/call").status_code == 405
    form = shared.client.post(
        "/admin/playground/call", content=json.dumps({}), headers={"Content-Type": "text/plain"}
    )
    assert form.status_code == 415


def test_a_ticket_opens_one_call(shared: RunningGateway) -> None:
    sent = {"ticket": ticket(shared), "toolId": "bob", "method": "chat", "body": chat_body()}
    assert shared.client.post("/admin/playground/call", json=sent).status_code == 200
    again = shared.client.post("/admin/playground/call", json=sent)
    assert (again.status_code, again.json()["reason"]) == (403, "TICKET")


@pytest.mark.parametrize(
    "done",
    [
        "session.flush()",
        "user.set_password('another password 1'); user.save()",
        "user.is_active = False; user.save()",
        "user.is_staff = False; user.save()",
        "user.groups.clear()",
        "user.delete()",
    ],
    ids=["logged out", "new password", "deactivated", "no staff", "lost role", "deleted"],
)
def test_a_ticket_is_void_at_once_when_its_holder_may_no_longer_play(
    shared: RunningGateway, done: str
) -> None:
    shared.client.cookies.clear()
    given = ticket(shared)
    assert play(shared, "chat", chat_body(), send=False).status_code == 200
    code = (
        "from django.contrib.auth.models import User; "
        "from gateway.sessions import SessionStore; "
        f"user, session = User.objects.get(username='ada'), SessionStore({session_of(shared)!r}); {done}"
    )
    shared.manage("shell", "-v", "0", "-c", code)
    sent = {"ticket": given, "toolId": "bob", "method": "chat", "body": chat_body()}
    refused = shared.client.post("/admin/playground/call", json=sent)
    assert (refused.status_code, refused.json()["reason"]) == (403, "TICKET")
    shared.client.cookies.clear()


def test_without_its_database_nobody_plays(shared: RunningGateway) -> None:
    sent = {"ticket": ticket(shared), "toolId": "bob", "method": "chat", "body": chat_body()}
    with shared.without_table("django_session"):
        refused = shared.client.post("/admin/playground/call", json=sent)
    assert (refused.status_code, refused.json()["reason"]) == (503, "DATABASE")
    assert shared.client.post("/admin/playground/call", json=sent).status_code == 200, (
        "the ticket is not used up"
    )


def test_a_body_without_end_of_depth_is_answered(shared: RunningGateway) -> None:
    deep = b'{"body":' + b"[" * 5000 + b"]" * 5000 + b"}"
    answer = shared.client.post(
        "/admin/playground/call", content=deep, headers={"Content-Type": "application/json"}, timeout=5
    )
    assert (answer.status_code, answer.json()["error"]) == (400, "BAD_REQUEST")


def test_leaving_the_page_ends_the_provider_s_work(tmp_path: Path, fake: FakeProvider) -> None:
    with running_gateway(tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}) as it:
        body = chat_body(provider="lmstudio_a", model="endless")
        sent = {"ticket": ticket(it), "toolId": "bob", "method": "chatStream", "body": body}
        with it.client.stream("POST", "/admin/playground/call", json=sent) as answer:
            call_id = answer.headers["x-llm-caller-call-id"]
            next(answer.iter_bytes())
        (row,) = it.wait_for_records(1, call_id=call_id)
        assert row["outcome"] == "CLIENT_CLOSED"


def test_a_disabled_client_is_called_disabled(tmp_path: Path, fake: FakeProvider) -> None:
    off = LIMITED | {"enabled": False}
    with running_gateway(
        tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}, registry(off)
    ) as it:
        trace = frames(play(it, "chat", chat_body(), tool="dora"))[-1]
    problem = trace["problem"]
    assert (problem["error"], problem["message"]) == ("FORBIDDEN", "The client dora is disabled")


@pytest.mark.browser
def test_ada_stops_an_answer_and_finds_it_in_the_record(page: Page, gateway: RunningGateway) -> None:
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/playground/")
    page.select_option("[name=toolId]", "bob")
    page.fill("[name=model]", "endless")
    page.select_option("[name=provider]", "lmstudio_gpu")
    page.click("[name=send]")
    page.wait_for_selector("#playground-answer:not(:empty)")
    page.click("[name=stop]")
    page.wait_for_selector("text=Stopped. The call is on record; what had come of the answer only where")
    link = page.get_attribute("#playground-trace a", "href")
    (row,) = gateway.wait_for_records(1, outcome="CLIENT_CLOSED")
    page.goto(f"{gateway.url}{link}")
    assert page.inner_text("#result_list tbody tr").count("bob") == 1
    assert row["call_id"].replace("-", "") in (link or "").replace("-", "")


@pytest.mark.browser
def test_ada_tries_a_call_and_reads_why(page: Page, gateway: RunningGateway) -> None:
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/playground/")
    page.select_option("[name=toolId]", "bob")
    page.click("[name=why]")
    page.wait_for_selector("text=This call would be made.")
    page.fill("[name=text]", "<b>hi</b>")
    page.click("[name=send]")
    page.wait_for_selector("text=Answered.")
    assert page.text_content("#playground-answer") == "echo: <b>hi</b>"
    assert "First choice" in (page.text_content("#playground-trace") or "")
    page.select_option("[name=toolId]", "charlie")
    page.click("[name=send]")
    page.wait_for_selector("text=Client not permitted to call chatStream")
    link = page.get_attribute("#playground-trace a", "href")
    until = time.monotonic() + 5
    while "FORBIDDEN" not in page.content() and time.monotonic() < until:
        page.goto(f"{gateway.url}{link}")
    assert "FORBIDDEN" in page.content()
    assert found == []


@pytest.mark.browser
def test_ada_plays_a_conversation_without_a_mouse(
    page: Page,
    gateway: RunningGateway,
    fake: FakeProvider,
) -> None:
    found = complaints(page)
    log_in(page, gateway)
    page.goto(f"{gateway.url}/admin/playground/")
    page.select_option("[name=toolId]", "bob")
    page.fill("[name=text]", "first")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.type("answered")
    for _ in range(2):
        page.focus("[name=add]")
        page.keyboard.press("Enter")
    page.keyboard.type("too much")
    page.focus("[aria-label='Role of message 3']")
    page.keyboard.type("system")
    page.fill("[aria-label='Message 3']", "be brief")
    page.focus("[aria-label='Remove message 2']")
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.value") == "be brief"
    page.fill("[name=system]", "be kind")
    page.click("[name=send]")
    page.wait_for_selector("text=Answered.")
    (sent,) = [hit.body["messages"] for hit in fake.hits if hit.path.endswith("/completions")]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("system", "be kind"),
        ("user", "first"),
        ("system", "be brief"),
        ("assistant", "too much"),
    ]
    for _ in range(MAX_MESSAGES - 3):
        page.click("[name=add]")
    assert page.is_disabled("[name=add]")
    page.select_option("[name=method]", "embed")
    page.fill("[name=text] >> nth=0", "a\nb")
    page.click("[name=send]")
    page.wait_for_selector("text=3 dimensions")
    assert page.locator(".message:visible").count() == 1
    assert found == []
