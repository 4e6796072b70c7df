"""What a decoder complains of, in the words of whoever wrote the JSON."""

from typing import Any

import msgspec
import pytest

from gateway.edge.json_body import invalid
from gateway.edge.native import ChatBody

GOOD = {"requestId": "r", "callerTool": "a", "messages": [{"role": "user", "content": "x"}]}


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("more", "path", "words"),
    [
        ({"requestId": "a\x7fb"}, "requestId", "No tabs, line ends or other control characters"),
        ({"requestId": ""}, "requestId", "At least 1 character"),
        ({"requestId": "r" * 201}, "requestId", "At most 200 characters"),
        ({"requestId": 5}, "requestId", "A string is expected, not an integer"),
        ({"temperature": 2.1}, "temperature", "At most 2"),
        ({"temperature": True}, "temperature", "A number or null is expected, not true or false"),
        ({"maxTokens": 0}, "maxTokens", "At least 1"),
        ({"maxTokens": 1.5}, "maxTokens", "An integer or null is expected, not a decimal number"),
        ({"seed": 2**70}, "seed", "At most 9,223,372,036,854,775,807"),
        ({"stop": ["x"] * 17}, "stop", "At most 16 entries"),
        ({"stop": {}}, "stop", "A string, an array or null is expected, not an object"),
        ({"messages": []}, "messages", "At least 1 entry"),
        ({"messages": [{"role": "canary", "content": "x"}]}, "messages[0].role",
         "This is none of the values that are allowed here"),
        (user([{"type": "canary"}]), "messages[0].content[0].type", "This is none of the values that are allowed here"),
        (user([{"type": 5}]), "messages[0].content[0].type", "A string is expected"),
        (user([{}]), "messages[0].content[0].type", "`type` is missing"),
        ({"responseFormat": {"type": "text", "strict": 1}}, "responseFormat.strict",
         "True, false or null is expected, not an integer"),
        ({"baseUrl": "canary"}, "baseUrl", "`baseUrl` is no field here"),
        ({"tools": [{"name": "x", "parameters": 1}]}, "tools[0].parameters", "`parameters` is a JSON object"),
    ],
)  # fmt: skip
def test_a_complaint_is_a_sentence_without_types_patterns_or_values(
    more: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(msgspec.json.encode(GOOD | more), type=ChatBody)
    (detail,) = invalid(error.value).details
    assert (detail.path, detail.message) == (path, words)
