"""What a client may send is decided by the structs themselves, and a secret never shows itself (contract §1)."""

import copy
import logging
import pickle
import traceback
from typing import Any

import msgspec
import pytest

from providers.types import (
    ChatReply,
    ChatRequest,
    Delta,
    EmbedRequest,
    Event,
    ImagePart,
    Message,
    Provider,
    ResponseFormat,
    Secret,
    Target,
    TextPart,
    Timeouts,
    Tool,
    ToolCall,
    ToolCallDelta,
)

HIDDEN = "sk-hidden-from-everyone"
CALL = {"id": "c1", "name": "look", "arguments": "{}"}
SAID = {"role": "user", "content": "hello"}


def decoded(kind: Any, **fields: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(fields), type=kind)


def refused(kind: Any, **fields: Any) -> str:
    with pytest.raises(msgspec.ValidationError) as error:
        decoded(kind, **fields)
    return str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        SAID,
        {"role": "system", "content": ""},
        {
            "role": "user",
            "content": [{"type": "text", "text": "see"}, {"type": "image", "url": "https://x/y.png"}],
        },
        {"role": "assistant", "content": None, "toolCalls": [CALL]},
        {"role": "assistant", "toolCalls": [CALL]},
        {"role": "assistant", "content": "with words", "toolCalls": [CALL]},
        {"role": "tool", "content": "42", "toolCallId": "c1"},
    ],
)
def test_a_good_message_is_taken(fields: dict[str, Any]) -> None:
    assert decoded(Message, **fields).role == fields["role"]


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"role": "user", "content": None}, "`content` may be null"),
        ({"role": "assistant", "content": None}, "`content` may be null"),
        ({"role": "assistant", "content": None, "toolCalls": []}, "`content` may be null"),
        ({"role": "tool", "content": None, "toolCallId": "c1"}, "`content` may be null"),
        (SAID | {"toolCalls": [CALL]}, "Only an assistant"),
        (SAID | {"toolCallId": "c1"}, "`toolCallId` belongs to"),
        ({"role": "tool", "content": "42"}, "required on, a tool message"),
        ({"role": "narrator", "content": "hello"}, "Invalid enum value"),
        (SAID | {"name": "bob"}, "unknown field `name`"),
        (SAID | {"tool_calls": []}, "unknown field `tool_calls`"),
        ({"role": "user", "content": 7}, "Expected"),
        ({"role": "user", "content": [{"type": "audio", "text": "x"}]}, "Invalid value 'audio'"),
        ({"role": "user", "content": [{"text": "x"}]}, "missing required field `type`"),
        ({"content": "hello"}, "missing required field `role`"),
    ],
)
def test_a_bad_message_is_refused_with_what_is_wrong(fields: dict[str, Any], blamed: str) -> None:
    assert blamed in refused(Message, **fields)


def test_the_text_of_a_message_is_its_text_parts_in_order() -> None:
    parts = (TextPart(text="a"), ImagePart(url="https://x/y.png"), TextPart(text="b"))
    assert Message(role="user", content=parts).text() == "ab"
    assert Message(role="user", content="whole").text() == "whole"
    assert Message(role="assistant", tool_calls=(ToolCall(**CALL),)).text() == ""


def test_an_image_has_one_source_and_base64_has_its_type() -> None:
    assert decoded(ImagePart, type="image", url="https://x/y.png").as_url() == "https://x/y.png"
    inline = decoded(ImagePart, type="image", data="QUJD", mediaType="image/png")
    assert inline.as_url() == "data:image/png;base64,QUJD"
    assert "either `url` or `data`" in refused(ImagePart, type="image")
    both = refused(ImagePart, type="image", url="https://x", data="QUJD", mediaType="image/png")
    assert "either `url` or `data`" in both
    assert "needs `mediaType`" in refused(ImagePart, type="image", data="QUJD")


def test_a_tool_call_keeps_the_models_own_text_even_when_it_is_no_json() -> None:
    assert decoded(ToolCall, id="c1", name="look", arguments="{broken").arguments == "{broken"
    assert "arguments" in refused(ToolCall, id="c1", name="look")
    assert "Expected `str`" in refused(ToolCall, id="c1", name="look", arguments={})


def test_a_tool_takes_an_object_as_its_schema() -> None:
    assert bytes(decoded(Tool, name="look", parameters={"type": "object"}).parameters) == b'{"type":"object"}'
    for wrong in ("text", 7, [], None, True):
        assert "`parameters` is a JSON object" in refused(Tool, name="look", parameters=wrong)
    assert "missing required field `parameters`" in refused(Tool, name="look")


@pytest.mark.parametrize(
    ("fields", "blamed"),
    [
        ({"type": "json_schema"}, "`schema` belongs to"),
        ({"type": "json_object", "schema": {}}, "`schema` belongs to"),
        ({"type": "text", "schema": {}}, "`schema` belongs to"),
        ({"type": "json_schema", "schema": []}, "Expected `object | null`, got `array`"),
        ({"type": "xml"}, "Invalid enum value"),
    ],
)
def test_a_schema_comes_with_json_schema_and_with_nothing_else(fields: dict[str, Any], blamed: str) -> None:
    assert blamed in refused(ResponseFormat, **fields)
    assert decoded(ResponseFormat, type="json_schema", schema={}, name="n", strict=True).strict is True
    assert decoded(ResponseFormat, type="text").schema is None


def test_an_empty_delta_is_false_and_any_part_makes_it_true() -> None:
    assert not Delta()
    assert Delta(role="assistant")
    assert Delta(content="")
    assert Delta(tool_calls=(ToolCallDelta(index=0),))


def test_requests_cannot_be_changed_on_the_way() -> None:
    with pytest.raises(AttributeError):
        ChatRequest(messages=()).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("show", [repr, str, format, "{}".format, "{!r:>40}".format, "%s".__mod__, ascii])
def test_a_secret_does_not_print_itself(show: Any) -> None:
    for holder in holders():
        assert HIDDEN not in show(holder)


def holders() -> list[Any]:
    secret = Secret(HIDDEN)
    timeouts = Timeouts(connect_ms=1, first_event_ms=1, idle_ms=1, total_ms=1)
    provider = Provider(
        name="p",
        kind="openai",
        base_url="https://x/v1",
        default_model="m",
        capabilities=frozenset({"chat"}),
        timeouts=timeouts,
        api_key=secret,
    )
    return [secret, provider, Target(provider=provider, model="m"), [secret], {"key": secret}]


@pytest.mark.parametrize("write", [pickle.dumps, copy.deepcopy, msgspec.json.encode, msgspec.to_builtins])
def test_a_secret_is_not_serialised_and_the_refusal_does_not_show_it(write: Any) -> None:
    for holder in holders():
        with pytest.raises(TypeError) as error:
            write(holder)
        assert HIDDEN not in str(error.value)


def test_a_secret_has_no_fields_to_list() -> None:
    assert not hasattr(Secret(HIDDEN), "__dict__")
    assert Secret(HIDDEN).reveal() == HIDDEN


def test_a_secret_shows_neither_in_a_log_record_nor_in_a_traceback_with_locals() -> None:
    secret = holders()[1]
    record = logging.LogRecord("x", logging.ERROR, "f.py", 1, "failed: %s %r", (secret, secret), None)
    assert HIDDEN not in record.getMessage()
    try:
        raise ValueError(secret)
    except ValueError as error:
        shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    # The module's own constant is not a local; what is left is what the frames hold.
    assert HIDDEN not in "".join(shown.format())


def test_nothing_prints_what_was_asked_or_answered() -> None:
    """Promise 4: no log line, no traceback, no assertion may show a prompt through a `repr`."""
    secret = "PROMPT-7f3a"
    message = Message(
        role="user", content=(TextPart(text=secret), ImagePart(data="aGk=", media_type="image/png"))
    )
    call = ToolCall(id="c", name="f", arguments=secret)
    delta = Delta(content=secret, tool_calls=(ToolCallDelta(index=0, arguments=secret),))
    told = [
        message,
        call,
        delta,
        ChatRequest(messages=(message,), stop=(secret,)),
        EmbedRequest(inputs=(secret,)),
        Event(delta=delta),
        ChatReply(content=secret, finish_reason="stop", tool_calls=(call,)),
    ]
    for value in told:
        assert repr(value) == str(value) == f"{value}" == f"<{type(value).__name__}>"
    assert secret not in repr(told)
