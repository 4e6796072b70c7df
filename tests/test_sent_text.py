"""Was this text sent? The record answers by keyed digests, to whom it may, and keeps nothing of the question."""

import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conftest import BOB, RunningGateway
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client as Browser

from gateway.asked import digests_of
from gateway.console.sent_text import SHOWN
from providers.types import ChatRequest, EmbedRequest, Message
from telemetry.digests import DigestKey
from telemetry.models import RequestLog

PAGE = "/admin/telemetry/requestlog/sent-text/"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def key() -> DigestKey:
    return DigestKey(settings.ENCRYPTION_KEYS[0])


def recorded(gateway: RunningGateway, answer: Any) -> dict[str, Any]:
    (row,) = gateway.wait_for_records(1, call_id=answer.headers["x-llm-caller-call-id"])
    return row


def test_the_record_has_digests_of_what_was_asked_and_answered(shared: RunningGateway) -> None:
    text = "Grüße, 中 \u2028"
    asked = digests_of(ChatRequest(messages=(Message(role="user", content=text),)), key())
    row = recorded(shared, shared.chat(text))
    assert (row["request_digest"], row["prompt_digest"]) == asked
    assert row["answer_digest"] == key().of_text(f"echo: {text}")
    with shared.stream(text) as response:
        response.read()
    streamed = recorded(shared, response)
    names = ("request_digest", "prompt_digest", "answer_digest")
    assert [streamed[name] for name in names] == [row[name] for name in names]


def test_an_embed_call_has_a_prompt_of_lines_and_no_answer_in_words(shared: RunningGateway) -> None:
    answer = shared.post("/mcp/embed", {"requestId": "e", "callerTool": "bob", "inputs": ["a", "b"]})
    row = recorded(shared, answer)
    assert row["prompt_digest"] == key().of_text("a\nb")
    assert row["request_digest"] == digests_of(EmbedRequest(inputs=("a", "b")), key()).request
    assert row["answer_digest"] == ""


def test_a_stream_that_broke_off_has_the_text_that_was_sent(shared: RunningGateway) -> None:
    with shared.stream("x", model="error-in-stream", provider="lmstudio_fake") as response:
        said = response.read().decode()
    assert '"error"' in said
    row = recorded(shared, response)
    assert row["outcome"] != "ok"
    assert row["answer_digest"] == key().of_text("".join(_contents(said)))


def test_control_characters_that_were_removed_are_not_in_the_digest(shared: RunningGateway) -> None:
    with shared.stream("x", model="controls", provider="lmstudio_fake") as response:
        said = response.read().decode()
    assert recorded(shared, response)["answer_digest"] == key().of_text("".join(_contents(said)))


def test_a_call_that_was_refused_keeps_digests_of_what_was_decoded(shared: RunningGateway) -> None:
    nobody = recorded(shared, shared.chat("refused text", provider="nobody"))
    assert nobody["prompt_digest"] == key().of_text("refused text")
    assert nobody["answer_digest"] == ""
    invalid = recorded(shared, shared.chat("never decoded", colour="red"))
    failed = recorded(shared, shared.chat("x", provider="lmstudio_fake", model="status-500"))
    assert [invalid["request_digest"], invalid["prompt_digest"], failed["answer_digest"]] == ["", "", ""]


def _contents(stream: str) -> list[str]:
    from conftest import parse_frames

    frames = [frame for frame in parse_frames(stream.encode()) if isinstance(frame, dict)]
    return [frame["delta"].get("content", "") for frame in frames if frame.get("type") == "delta"]


@pytest.fixture
def olga(db: None) -> Browser:
    call_command("collectstatic", interactive=False, verbosity=0)
    return logged_in("auditors")


def logged_in(role: str) -> Browser:
    user = User.objects.create_user(f"one of {role}", "", "a long password 1", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    browser = Browser()
    browser.force_login(user)
    return browser


def call(**columns: Any) -> RequestLog:
    facts: dict[str, Any] = {
        "call_id": uuid.uuid4(), "tool_id": "bob", "token_id": "T1", "method": "chat", "peer": "127.0.0.1",
        "outcome": "ok", "status": 200, "started_at": AT, "duration_ms": 12,
    }  # fmt: skip
    return RequestLog.objects.create(**(facts | columns))


def asked(browser: Browser, text: str, **more: str) -> str:
    answer = browser.post(PAGE, {"text": text, **more})
    assert answer.status_code == 200
    assert "no-store" in answer.headers["cache-control"]
    return " ".join(answer.content.decode().split())


def test_olga_finds_the_calls_that_carried_a_text(olga: Browser) -> None:
    text = "line one\nline two"
    prompt = call(prompt_digest=key().of_text(text))
    answer = call(answer_digest=key().of_text(text), tool_id="charlie")
    call(prompt_digest=key().of_text("another"))
    page = asked(olga, text.replace("\n", "\r\n"))
    assert "was in 2 calls" in page
    assert str(prompt.call_id) in page
    assert str(answer.call_id) in page
    assert "line one" not in page, "the text is not shown again"
    assert "No call on record had this text" in asked(olga, "line one")
    assert "was in 1 call of client charlie:" in asked(olga, text, tool_id="charlie")


def test_an_answer_names_the_client_and_the_period_that_it_is_about(olga: Browser) -> None:
    """A narrowed question has a narrowed answer: else "No" would say more than was looked at."""
    call(prompt_digest=key().of_text("t"), tool_id="carol")
    call(tool_id="bob")
    for more, said in (
        ({"tool_id": "bob"}, "No call of client bob had this text, 1 character long"),
        ({"since": "2026-01-03"}, "No call from 2026-01-03 on (UTC) had"),
        ({"until": "2026-01-01"}, "No call up to and including 2026-01-01 (UTC) had"),
        (
            {"tool_id": " carol ", "since": "2025-11-20", "until": "2025-11-25"},
            "No call of client carol from 2025-11-20 to 2025-11-25 (UTC) had",
        ),
    ):
        page = asked(olga, "t", **more)
        assert said in page, more
        assert "on record had" not in page, more
    page = asked(olga, "t", tool_id="carol", since="2026-01-02", until="2026-01-02")
    assert "was in 1 call of client carol from 2026-01-02 to 2026-01-02 (UTC):" in page


def test_a_client_that_nobody_knows_is_doubted_and_not_answered_for(olga: Browser) -> None:
    call(prompt_digest=key().of_text("t"), tool_id="carol")
    page = asked(olga, "t", tool_id="carrol")
    assert "There is no client called “carrol”, and no call of one is on record. Is it misspelt?" in page
    assert "had this text" not in page
    assert "&lt;b&gt;" in asked(olga, "t", tool_id="<b>")


def test_a_whole_request_is_found_by_its_messages(olga: Browser) -> None:
    digests = digests_of(ChatRequest(messages=(Message(role="system", content="s"),)), key())
    call(request_digest=digests.request)
    page = asked(olga, '{"callerTool": "bob", "messages": [{"role": "system", "content": "s"}]}')
    assert "was in 1 call:" in page
    assert ">request<" in page


def test_texts_of_before_a_new_key_are_found_while_the_old_one_is_configured(
    olga: Browser, settings: Any
) -> None:
    call(prompt_digest=key().of_text("of old"))
    old, newest = settings.ENCRYPTION_KEYS[0], "n" + uuid.uuid4().hex
    settings.ENCRYPTION_KEYS = [newest, old]
    assert "was in 1 call:" in asked(olga, "of old")
    settings.ENCRYPTION_KEYS = [newest]
    assert "No call on record" in asked(olga, "of old")


def test_a_period_is_whole_days_and_ends_after_it_begins(olga: Browser) -> None:
    call(prompt_digest=key().of_text("t"))
    inside = [
        ("2026-01-02", "2026-01-02"),
        ("", "2026-01-02"),
        ("2026-01-02", ""),
        ("0001-01-01", "9999-12-31"),
    ]
    for since, until in inside:
        assert "was in 1 call " in asked(olga, "t", since=since, until=until), (since, until)
    for since, until in (("2026-01-03", ""), ("", "2026-01-01")):
        assert "<strong>No.</strong>" in asked(olga, "t", since=since, until=until), (since, until)
    page = asked(olga, "canary", since="2026-01-03", until="2026-01-02")
    assert "It ends before it begins." in page
    assert "canary" not in page
    assert "more than blanks" in asked(olga, " \r\n ")


def test_more_calls_than_a_page_has_are_told_of(olga: Browser) -> None:
    for n in range(SHOWN + 1):
        call(prompt_digest=key().of_text("often"), started_at=AT + timedelta(seconds=n))
    page = asked(olga, "often")
    assert f"more than {SHOWN} calls" in page
    assert page.count("/change/") == SHOWN


def test_calls_are_listed_by_when_they_began_the_last_one_first(olga: Browser) -> None:
    """One that took long is stored behind others that began later."""
    ids = [uuid.UUID(int=n) for n in (1, 2, 3, 4)]
    for call_id, seconds in zip(ids, (5, 9, 0, 5), strict=True):
        call(call_id=call_id, prompt_digest=key().of_text("t"), started_at=AT + timedelta(seconds=seconds))
    call(answer_digest=key().of_text("t"), started_at=AT + timedelta(seconds=7), call_id=uuid.UUID(int=5))
    page = asked(olga, "t")
    assert [int(number, 16) for number in re.findall(r"-00000000000(\d)</a>", page)] == [2, 5, 4, 1, 3]


@pytest.mark.parametrize("sent", ["hello ", "\nhello", "hello\r\n", '"a\\r\\nb\\nc"'])
def test_what_was_sent_with_blanks_or_odd_line_ends_is_found(olga: Browser, sent: str) -> None:
    text = sent if sent[0] != '"' else "a\r\nb\nc"
    call(prompt_digest=key().of_text(text))
    assert "was in 1 call:" in asked(olga, sent.strip())


def test_operators_may_ask_and_viewers_may_not(olga: Browser) -> None:
    assert logged_in("operators").get(PAGE).status_code == 200
    viewer = logged_in("viewers")
    assert viewer.get(PAGE).status_code == 403
    assert viewer.post(PAGE, {"text": "x"}).status_code == 403
    assert "Was this text sent?" not in viewer.get("/admin/telemetry/requestlog/").content.decode()
    assert PAGE in olga.get("/admin/telemetry/requestlog/").content.decode()
    assert BOB not in asked(olga, BOB)
