"""What of a request is digested, and what a pasted text may have been."""

import json

import msgspec
import pytest

from gateway.asked import canonical, digests_of, forms_of, prompt_of
from providers.types import ChatRequest, EmbedRequest, ImagePart, Message, TextPart
from telemetry.digests import DigestKey

KEY = DigestKey("a key")


def chat(*messages: Message) -> ChatRequest:
    return ChatRequest(messages=messages)


def test_a_request_is_its_messages_as_json_with_every_member_in_order() -> None:
    asked = chat(Message(role="user", content="é"))
    expected = [{"content": "é", "role": "user", "toolCallId": None, "toolCalls": []}]
    assert canonical(asked) == json.dumps(expected, separators=(",", ":"), ensure_ascii=False).encode()
    assert canonical(EmbedRequest(inputs=("a", "b"))) == b'["a","b"]'


def test_the_prompt_is_the_last_user_message_or_the_inputs_line_by_line() -> None:
    image = ImagePart(url="https://example.org/x.png")
    asked = chat(
        Message(role="user", content="first"),
        Message(role="user", content=(TextPart(text="last, "), image, TextPart(text="in two parts"))),
        Message(role="assistant", content="answer"),
    )
    assert prompt_of(asked) == "last, in two parts"
    assert prompt_of(chat(Message(role="system", content="only"))) == ""
    assert prompt_of(EmbedRequest(inputs=("a", "b"))) == "a\nb"


def test_a_request_without_a_prompt_has_no_digest_of_one() -> None:
    digests = digests_of(chat(Message(role="system", content="only")), KEY)
    assert digests.prompt == ""
    assert digests.request.startswith("hmac-sha256:")


@pytest.mark.parametrize(
    "sent", ["one", "a\nb", "a\nb\n", "a\r\nb", "  [odd\u2028 blanks", "{not json", "[[[", '"x"']
)
@pytest.mark.parametrize("pasted", ["{}", "{}\r\n", " {} "])
def test_line_ends_of_a_form_and_blanks_around_do_not_matter(sent: str, pasted: str) -> None:
    form = pasted.format(sent.replace("\r\n", "\n").replace("\n", "\r\n"))
    forms = set(forms_of(form))
    assert sent.encode() in forms or sent.strip().encode() in forms
    if pasted == "{}":
        assert sent.encode() in forms


def submitted(pasted: str) -> str:
    """As a browser sends what stands in a text field."""
    return pasted.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")


@pytest.mark.parametrize("pasted", ["exactly", "without what is around it"])
@pytest.mark.parametrize(
    "sent",
    [
        "hello ", " hello", "\nhello", "hello\n", "hello\n\n", "hello \n", "hello\r\n", "\r\nhello\r\n", " hello ",
        "a\rb", "a\r\nb\r\n", " a\nb", "a\nb ", "a\r\nb ",
    ],
)  # fmt: skip
def test_blanks_and_line_ends_around_what_was_sent_do_not_hide_it(sent: str, pasted: str) -> None:
    form = submitted(sent if pasted == "exactly" else sent.strip())
    assert sent.encode() in set(forms_of(form))


@pytest.mark.parametrize("sent", ["a\r\nb\nc", "\t  hello\n\n\n", "plain", "é \u2028 \U0001f600"])
def test_a_text_in_quotes_is_taken_to_the_letter(sent: str) -> None:
    assert sent.encode() in set(forms_of(f" {json.dumps(sent)}\r\n"))


def test_a_long_text_has_few_forms_and_none_is_kept() -> None:
    forms = forms_of(submitted("word\n" * 200_000))
    assert sum(1 for _ in forms) < 50


def test_messages_inputs_and_whole_bodies_are_understood_as_json() -> None:
    message = {"role": "user", "content": "hello"}
    whole = canonical(chat(Message(role="user", content="hello")))
    for text in (
        json.dumps([message]),
        json.dumps({"requestId": "r", "messages": [message], "temperature": 0.5}, indent=2),
        json.dumps([message | {"toolCalls": []}], indent=1).replace("\n", "\r\n"),
    ):
        assert whole in set(forms_of(text)), text
    inputs = canonical(EmbedRequest(inputs=("a", "b")))
    for text in ('[ "a", "b" ]', '{"inputs": ["a", "b"], "callerTool": "bob"}'):
        assert inputs in set(forms_of(text)), text
    for text in ("[]", "{}", "[1]", '{"messages": 5}', "[" * 5_000, msgspec.json.encode([[]]).decode()):
        assert {form.strip() for form in forms_of(text)} == {text.encode()}
