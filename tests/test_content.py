"""Content of calls: kept only where a client's setting says so, sealed, and opened for a recorded reason."""

import json
import uuid
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from conftest import RunningGateway, chat_body, parse_frames, provider_entry, registry, running_gateway
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.test import Client as Browser
from django.utils import timezone
from fake_provider import FakeProvider

from gateway.capture import Content, content_of, messages_of, seal, unseal
from gateway.models import ConfigChange
from providers.secrets import KeyRing
from providers.types import ChatRequest, Message
from telemetry.models import CapturedContent, ContentAccess, LegalHold, RequestLog

HOSTILE = "<script>alert(1)</script> {{ 7|add:1 }} \u202e"
WHY = "complaint 4711 of Bob"


def client(tool_id: str, **more: Any) -> dict[str, Any]:
    return {
        "toolId": tool_id,
        "token": f"{tool_id}-token",
        "allowedMethods": ["chat", "chatStream", "embed"],
        **more,
    }


def kept(gateway: RunningGateway) -> dict[str, tuple[str, Content, float]]:
    """Call id → client, content, days."""
    code = (
        "import json; from telemetry.models import CapturedContent as C; "
        "print(json.dumps([[str(c.call_id), c.tool_id, bytes(c.ciphertext).hex(), "
        "(c.expires_at - c.stored_at).total_seconds()] for c in C.objects.all()]))"
    )
    rows = json.loads(gateway.manage("shell", "-v", "0", "-c", code).stdout)
    keys = KeyRing(settings.ENCRYPTION_KEYS)
    return {
        call_id: (tool, unseal(bytes.fromhex(sealed), call_id, keys), seconds / 86_400)
        for call_id, tool, sealed, seconds in rows
    }


def test_it_is_kept_as_each_client_s_setting_says(tmp_path: Path, fake: FakeProvider) -> None:
    providers = {"providers": {"lmstudio_fake": provider_entry(fake.url)}}
    clients = registry(client("all", capture="all", captureDays=7), client("some", capture="failures"))
    env = {"LLM_CALLER_CAPTURE_MAX_BYTES": "2000"}
    ids: dict[str, str] = {}
    with running_gateway(tmp_path, providers, clients, env) as gateway:

        def ask(name: str, path: str, tool: str, body: dict[str, Any]) -> bytes:
            headers = {"X-LLM-Caller-Token": f"{tool}-token"}
            with gateway.client.stream("POST", path, json=body, headers=headers) as response:
                data = response.read()
            ids[name] = response.headers["x-llm-caller-call-id"]
            return data

        named = {"provider": "lmstudio_fake"}
        ask("chat", "/mcp/chat", "all", chat_body("what was asked"))
        ask("stream", "/mcp/chatStream", "all", chat_body("streamed"))
        broken = ask("broken", "/mcp/chatStream", "all", chat_body("b", model="error-in-stream", **named))
        ask("tools", "/mcp/chatStream", "all", chat_body("t", model="tools", **named))
        ask("embed", "/mcp/embed", "all", {"requestId": "e", "callerTool": "all", "inputs": ["one", "two"]})
        ask("long", "/mcp/chat", "all", chat_body("ü" * 5_000))
        ask("invalid", "/mcp/chat", "all", chat_body("i", colour="red"))
        ask("good", "/mcp/chat", "some", chat_body("g"))
        ask("failed", "/mcp/chat", "some", chat_body("f", model="status-500", **named))
        ask("refused", "/mcp/chat", "some", chat_body("r", provider="nobody"))
        ask("bob's", "/mcp/chat", "bob", chat_body("never kept", model="status-500", **named))
        assert gateway.stop() == 0
        found = kept(gateway)
    names = {call_id: name for name, call_id in ids.items()}
    by_name = {names[call_id]: told for call_id, told in found.items()}
    assert set(by_name) == {"chat", "stream", "broken", "tools", "embed", "long", "failed", "refused"}
    assert {name for name, told in by_name.items() if told[0] == "some"} == {"failed", "refused"}
    assert {told[2] for told in by_name.values()} == {7, 30}
    said = {name: (messages_of(told[1]), told[1].answer) for name, told in by_name.items()}
    assert said["chat"] == ([("user", "what was asked")], "echo: what was asked")
    assert said["stream"] == ([("user", "streamed")], "echo: streamed")
    frames = [
        frame for frame in parse_frames(broken) if isinstance(frame, dict) and frame.get("type") == "delta"
    ]
    assert said["broken"][1] == "".join(frame["delta"].get("content", "") for frame in frames)
    assert said["embed"] == ([("input", "one"), ("input", "two")], "")
    assert said["failed"] == ([("user", "f")], "")
    assert "weather" in by_name["tools"][1].tool_calls
    long = by_name["long"][1]
    assert (long.request_is_cut, long.answer_is_cut) == (True, True)
    assert 1_990 < len(long.request.encode()) + len(long.answer.encode()) <= 2_000


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


def stored(text: str = HOSTILE, *, keys: KeyRing | None = None, days: float = 30, most: int = 9_000) -> str:
    """A call with content; its id."""
    call_id, now = str(uuid.uuid4()), timezone.now()
    content = content_of(
        ChatRequest(messages=(Message(role="user", content=text),)), f"echo: {text}", (), most
    )
    keys = keys or KeyRing(settings.ENCRYPTION_KEYS)
    sealed = seal(content, call_id, keys)
    CapturedContent.objects.create(
        call_id=call_id, tool_id="bob", key_id=keys.newest_id, ciphertext=sealed, size=len(sealed), stored_at=now,
        expires_at=now + timedelta(days=days),
    )  # fmt: skip
    return call_id


def page(call_id: str) -> str:
    return f"/admin/telemetry/content/{call_id}/"


def test_olga_opens_content_for_a_reason_that_is_on_record(olga: Browser) -> None:
    call_id = stored()
    asked = olga.get(page(call_id))
    assert "alert(1)" not in asked.content.decode()
    assert "Nobody so far." in asked.content.decode()
    assert not ContentAccess.objects.exists(), "looking at the question opens nothing"
    opened = olga.post(page(call_id), {"reason": WHY})
    text = opened.content.decode()
    assert "no-store" in opened.headers["cache-control"]
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt; {{ 7|add:1 }} \u202e") == 2
    assert "<script>alert" not in text
    row = ContentAccess.objects.get()
    assert (row.who, str(row.call_id), row.reason) == ("one of auditors", call_id, WHY)
    assert WHY in text
    olga.post(page(call_id), {"reason": "once more, for the appeal"})
    assert ContentAccess.objects.count() == 2
    assert not LogEntry.objects.exists()
    listed = olga.get("/admin/telemetry/contentaccess/").content.decode()
    assert WHY in listed
    assert "alert(1)" not in listed + olga.get("/admin/telemetry/capturedcontent/").content.decode()


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "too short",
        "  blanks    ",
        "." * 10,
        "\u2800" * 20,
        "a.b.c.d.e.f.g.h.i.",
        "x" * 501,
        "nul \0 in the middle",
    ],
)
def test_without_a_reason_nothing_is_shown(olga: Browser, reason: str) -> None:
    call_id = stored()
    answer = olga.post(page(call_id), {"reason": reason})
    assert answer.status_code == 200
    assert "alert(1)" not in answer.content.decode()
    assert "errorlist" in answer.content.decode()
    assert not ContentAccess.objects.exists()


def test_operators_and_viewers_do_not_open_content(olga: Browser) -> None:
    call_id = stored()
    now = timezone.now()
    call = RequestLog.objects.create(
        call_id=call_id, tool_id="bob", token_id="t", method="chat", peer="", outcome="ok", status=200,
        started_at=now, duration_ms=1,
    )  # fmt: skip
    of_the_call = f"/admin/telemetry/requestlog/{call.pk}/change/"
    assert page(call_id) in olga.get(of_the_call).content.decode()
    for role in ("operators", "viewers"):
        browser = logged_in(role)
        told = browser.get(of_the_call).content.decode()
        assert "is kept encrypted until" in told
        assert page(call_id) not in told
        assert browser.get(page(call_id)).status_code == 403
        assert browser.post(page(call_id), {"reason": WHY}).status_code == 403
    assert Browser().post(page(call_id), {"reason": WHY}).status_code == 302
    root = Browser()
    root.force_login(User.objects.create_superuser("root", "", "root's password 1"))
    assert "alert(1)" in root.post(page(call_id), {"reason": WHY}).content.decode()
    assert [row.who for row in ContentAccess.objects.all()] == ["root"]


def ada() -> Browser:
    browser = Browser()
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    return browser


ERASE = {"erase": "Erase the content", "erasing-reason": "Bob's customer asked for it", "erasing-sure": "on"}


def test_a_superuser_erases_content_before_its_days_end_and_it_is_on_record(olga: Browser) -> None:
    call_id, other, root = stored(), stored(), ada()
    call = RequestLog.objects.create(
        call_id=call_id, tool_id="bob", token_id="t", method="chat", peer="", outcome="ok", status=200,
        started_at=timezone.now(), duration_ms=1, prompt_digest="hmac-sha256:x:y",
    )  # fmt: skip
    assert "Erase the content" in root.get(page(call_id)).content.decode()
    answer = root.post(page(call_id), ERASE, follow=True)
    assert "The content is erased." in answer.content.decode()
    assert [str(row.call_id) for row in CapturedContent.objects.all()] == [other]
    assert RequestLog.objects.get(pk=call.pk).prompt_digest == "hmac-sha256:x:y"
    change = ConfigChange.objects.get(table="kept content")
    assert (change.author, change.action, change.reason) == ("ada", "removed", ERASE["erasing-reason"])
    assert (change.row, change.before["client"]) == (f"content of call {call_id}", "bob")
    assert not ContentAccess.objects.exists(), "erasing opens nothing"
    told = olga.get(f"/admin/gateway/configchange/{change.pk}/change/").content.decode()
    assert ERASE["erasing-reason"].replace("'", "&#x27;") in told
    assert call_id in olga.get("/admin/gateway/configchange/?table=kept+content").content.decode()
    assert olga.get(page(call_id)).status_code == 404
    assert root.post(page(call_id), ERASE).status_code == 404


@pytest.mark.parametrize("lacking", ["erasing-reason", "erasing-sure"])
def test_without_a_reason_and_a_tick_nothing_is_erased(olga: Browser, lacking: str) -> None:
    call_id, typed = stored(), {name: value for name, value in ERASE.items() if name != lacking}
    told = ada().post(page(call_id), typed | {"reason": WHY}).content.decode()
    assert told.count("errorlist") == 1
    assert "alert(1)" not in told
    assert (CapturedContent.objects.count(), ConfigChange.objects.filter(table="kept content").count()) == (
        1,
        0,
    )
    assert not ContentAccess.objects.exists()


def test_what_a_legal_hold_keeps_is_not_erased(olga: Browser) -> None:
    call_id, root = stored(), ada()
    LegalHold.objects.create(reason="case 7", tool_id="bob")
    assert "A legal hold keeps this content" in root.get(page(call_id)).content.decode()
    assert (
        "A legal hold keeps this content. Release"
        in root.post(page(call_id), ERASE, follow=True).content.decode()
    )
    assert CapturedContent.objects.count() == 1
    assert not ConfigChange.objects.filter(table="kept content").exists()


@pytest.mark.parametrize("role", ["auditors", "operators", "viewers"])
def test_nobody_else_erases_content(db: None, role: str) -> None:
    call_id, browser = stored(), logged_in(role)
    assert browser.post(page(call_id), ERASE).status_code == 403
    assert "Erase the content" not in browser.get(page(call_id)).content.decode()
    assert CapturedContent.objects.count() == 1


def test_what_is_over_or_was_never_kept_is_not_found(olga: Browser) -> None:
    for call_id in (stored(days=-1), str(uuid.uuid4())):
        assert olga.get(page(call_id)).status_code == 404
        assert olga.post(page(call_id), {"reason": WHY}).status_code == 404
    assert not ContentAccess.objects.exists()


def test_cut_content_is_told_to_be_and_a_lost_key_as_well(olga: Browser) -> None:
    cut = olga.post(page(stored("x" * 5_000, most=2_000)), {"reason": WHY}).content.decode()
    assert cut.count("Cut: it was") == 2
    lost = olga.post(page(stored(keys=KeyRing(["another" * 8]))), {"reason": WHY}).content.decode()
    assert "No encryption key opens this content" in lost
    moved = stored()
    CapturedContent.objects.filter(call_id=moved).update(call_id=(other := uuid.uuid4()))
    assert "No encryption key opens" in olga.post(page(str(other)), {"reason": WHY}).content.decode()
    assert ContentAccess.objects.count() == 3, "trying to open is on record too"


def test_rotating_keys_takes_content_along(olga: Browser, settings: Any) -> None:
    old, newest = settings.ENCRYPTION_KEYS[0], "n" + uuid.uuid4().hex * 2
    ids = [stored(f"text {n}") for n in range(120)]
    lost = stored(keys=KeyRing(["another" * 8]))
    settings.ENCRYPTION_KEYS = [newest, old]
    said, complained = StringIO(), StringIO()
    call_command("rotate_keys", stdout=said, stderr=complained)
    assert "The content of 120 call(s) encrypted under the newest key." in said.getvalue()
    assert "The content of 1 call(s) opens under no key" in complained.getvalue()
    settings.ENCRYPTION_KEYS = [newest]
    assert "echo: text 7" in olga.post(page(ids[7]), {"reason": WHY}).content.decode()
    assert CapturedContent.objects.exclude(key_id=KeyRing([newest]).newest_id).get().call_id == uuid.UUID(
        lost
    )
    again = StringIO()
    call_command("rotate_keys", stdout=again, stderr=StringIO())
    assert "content" not in again.getvalue()


def test_what_a_legal_hold_keeps_says_so_and_opens_beyond_its_days(olga: Browser) -> None:
    call_id = stored(days=-1)
    row = CapturedContent.objects.get()
    listed = f"/admin/telemetry/capturedcontent/{row.pk}/change/"
    assert olga.get(page(call_id)).status_code == 404
    LegalHold.objects.create(reason="case 7", tool_id="bob")
    call = RequestLog.objects.create(
        call_id=call_id, tool_id="bob", started_at=timezone.now(), status=200, duration_ms=1
    )
    for place in (listed, f"/admin/telemetry/requestlog/{call.pk}/change/"):
        assert "A legal hold keeps it longer" in olga.get(place).content.decode()
    assert "and beyond, by a legal hold" in olga.post(page(call_id), {"reason": WHY}).content.decode()
