"""The content of a call as it is kept: cut to size and sealed, for this call alone. Pure.

Only who holds the encryption keys and names the call can open it; a ciphertext moved to another call does not open.
"""

from typing import Any

import msgspec

from clients.types import Client
from gateway.asked import Asked, canonical
from providers.secrets import KeyRing
from providers.types import ToolCall

DAY_S = 86_400
_encode = msgspec.json.Encoder().encode


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """`request`: JSON as `gateway.asked` writes it. `answer`: text; `tool_calls`: JSON, "" of none.

    `request_bytes`, `answer_bytes`: how long each was before it was cut.
    """

    request: str
    answer: str
    tool_calls: str
    request_bytes: int
    answer_bytes: int

    @property
    def request_is_cut(self) -> bool:
        return len(self.request.encode()) < self.request_bytes

    @property
    def answer_is_cut(self) -> bool:
        return len(self.answer.encode()) + len(self.tool_calls.encode()) < self.answer_bytes

    def __repr__(self) -> str:
        return "<Content •••>"


def is_wanted(client: Client, outcome: str) -> bool:
    return client.capture == "all" or (client.capture == "failures" and outcome != "ok")


def content_of(asked: Asked, answer: str, tool_calls: tuple[ToolCall, ...], most_bytes: int) -> Content:
    """At most `most_bytes` of UTF-8 in all. When both sides are long, half goes to each."""
    request = canonical(asked)
    text = answer.encode("utf-8", "replace")
    calls = _encode(tool_calls) if tool_calls else b""
    said = len(text) + len(calls)
    for_answer = min(said, max(most_bytes // 2, most_bytes - len(request)))
    kept_text = _cut(text, for_answer)
    return Content(
        request=_cut(request, most_bytes - for_answer),
        answer=kept_text,
        tool_calls=_cut(calls, for_answer - len(kept_text.encode())),
        request_bytes=len(request),
        answer_bytes=said,
    )


def _cut(data: bytes, most: int) -> str:
    """Never within a character."""
    return data[:most].decode("utf-8", "ignore")


def seal(content: Content, call_id: str, keys: KeyRing) -> bytes:
    return keys.seal_bytes(msgspec.msgpack.encode(content), bound_to=_bound(call_id))


def unseal(sealed: bytes, call_id: str, keys: KeyRing) -> Content:
    """Raises `SealError`."""
    return msgspec.msgpack.decode(keys.open_bytes(sealed, bound_to=_bound(call_id)), type=Content)


def reseal(sealed: bytes, call_id: str, keys: KeyRing) -> bytes:
    """Under the newest key, without a look at it. Raises `SealError`."""
    return keys.seal_bytes(keys.open_bytes(sealed, bound_to=_bound(call_id)), bound_to=_bound(call_id))


def _bound(call_id: str) -> str:
    return f"content of call {call_id}"


def messages_of(content: Content) -> list[tuple[str, str]]:
    """`(who, text)` for people, in order; a request that was cut, as far as it goes, as one."""
    try:
        parts: Any = msgspec.json.decode(content.request)
    except msgspec.DecodeError:
        return [("request", content.request)]
    return [_message(part) if isinstance(part, dict) else ("input", str(part)) for part in parts]


def _message(message: dict[str, Any]) -> tuple[str, str]:
    """Plain text as it is; anything besides, all of it as JSON."""
    plain = isinstance(message.get("content"), str) and not message.get("toolCalls")
    text = message["content"] if plain else msgspec.json.format(_encode(message)).decode()
    return message["role"], text
