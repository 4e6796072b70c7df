"""Content as it is kept: cut to size, opened by nobody but who has the key and names the call."""

import secrets

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.types import Client
from gateway.capture import content_of, is_wanted, messages_of, reseal, seal, unseal
from gateway.environment import SettingsError
from gateway.reload import build_policy
from providers.secrets import KeyRing, SealError
from providers.types import ChatRequest, EmbedRequest, ImagePart, Message, TextPart, ToolCall

OLD, NEW = "old" + secrets.token_hex(16), "new" + secrets.token_hex(16)
CALLS = (ToolCall(id="c", name="weather", arguments='{"city": "Bern"}'),)


def chat(text: str) -> ChatRequest:
    return ChatRequest(messages=(Message(role="user", content=text),))


@pytest.mark.parametrize(
    ("setting", "outcome", "wanted"),
    [
        ("off", "ok", False), ("off", "TEMPORARY", False), ("failures", "ok", False), ("failures", "RATE_LIMIT", True),
        ("failures", "CLIENT_CLOSED", True), ("all", "ok", True), ("all", "AUTH", True),
    ],
)  # fmt: skip
def test_a_client_s_setting_says_of_which_calls(setting: str, outcome: str, wanted: bool) -> None:
    client = Client(tool_id="bob", enabled=True, methods=frozenset(), capture=setting)
    assert is_wanted(client, outcome) == wanted


@pytest.mark.parametrize("value", ["1023", "524289", "many"])
def test_a_size_that_the_journal_s_writer_could_not_read_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("LLM_CALLER_CAPTURE_MAX_BYTES", value)
    with pytest.raises(SettingsError, match="a whole number from 1024 to 524288"):
        build_policy()


def test_what_fits_is_kept_whole() -> None:
    content = content_of(chat("Grüße"), "Hallo", CALLS, 4_096)
    assert (content.request_is_cut, content.answer_is_cut) == (False, False)
    assert messages_of(content) == [("user", "Grüße")]
    assert content.answer == "Hallo"
    assert msgspec.json.decode(content.tool_calls)[0]["name"] == "weather"


@given(st.text(max_size=400), st.text(max_size=400), st.integers(200, 900))
def test_what_does_not_fit_is_cut_between_characters_and_told_to_be(asked: str, said: str, most: int) -> None:
    content = content_of(chat(asked), said, (), most)
    kept = len(content.request.encode()) + len(content.answer.encode())
    whole = content.request_bytes + content.answer_bytes
    assert kept <= most
    assert kept > min(most, whole) - 8, "a character is the most that is lost by cutting"
    assert content.answer_is_cut == (content.answer != said)
    assert content.request_is_cut or messages_of(content) == [("user", asked)]
    if content.request_bytes <= most // 2:
        assert not content.request_is_cut, "a short side is not cut for a long one"
    if content.answer_bytes <= most // 2:
        assert not content.answer_is_cut


def test_parts_that_are_not_plain_text_are_shown_as_json() -> None:
    parts = (TextPart(text="look"), ImagePart(url="https://example.org/x.png"))
    request = ChatRequest(
        messages=(
            Message(role="user", content=parts),
            Message(role="assistant", content=None, tool_calls=CALLS),
            Message(role="tool", content="22 °C", tool_call_id="c"),
        )
    )
    shown = messages_of(content_of(request, "", (), 4_096))
    assert [who for who, _ in shown] == ["user", "assistant", "tool"]
    assert "https://example.org/x.png" in shown[0][1]
    assert "weather" in shown[1][1]
    assert shown[2][1] == "22 °C"
    embed = content_of(EmbedRequest(inputs=("a", "b")), "", (), 4_096)
    assert messages_of(embed) == [("input", "a"), ("input", "b")]
    cut = content_of(chat("x" * 900), "", (), 100)
    assert messages_of(cut) == [("request", cut.request)]


def test_it_opens_for_its_call_and_under_its_key_only() -> None:
    content = content_of(chat("secret text"), "answer", (), 4_096)
    sealed = seal(content, "call-1", KeyRing([OLD]))
    assert b"secret text" not in sealed
    assert "secret text" not in repr(content)
    assert unseal(sealed, "call-1", KeyRing([NEW, OLD])) == content
    for call_id, keys in (("call-2", [OLD]), ("call-1", [NEW])):
        with pytest.raises(SealError):
            unseal(sealed, call_id, KeyRing(keys))
    with pytest.raises(SealError):
        unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), "call-1", KeyRing([OLD]))
    moved = reseal(sealed, "call-1", KeyRing([NEW, OLD]))
    assert unseal(moved, "call-1", KeyRing([NEW])) == content
