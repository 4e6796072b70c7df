"""What a call asked, as text: the canonical form of a request, its prompt, and their digests. Pure.

Canonical is the JSON of the messages (of an embed call: of the inputs) as they were decoded: every member of a
message, also those at null, names sorted, no blanks, UTF-8. The prompt is the text of the last user message; of an
embed call the inputs, each on a line of its own.
"""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from providers.types import ChatRequest, EmbedRequest, Message
from telemetry.digests import DigestKey

Asked = ChatRequest | EmbedRequest
_encode = msgspec.json.Encoder(order="sorted").encode


class Digests(NamedTuple):
    """ "" where there is nothing to digest."""

    request: str = ""
    prompt: str = ""


def canonical(asked: Asked) -> bytes:
    return _encode(asked.messages if isinstance(asked, ChatRequest) else asked.inputs)


def prompt_of(asked: Asked) -> str:
    if isinstance(asked, EmbedRequest):
        return "\n".join(asked.inputs)
    for message in reversed(asked.messages):
        if message.role == "user":
            return message.text()
    return ""


def digests_of(asked: Asked, key: DigestKey) -> Digests:
    return Digests(key.digest(canonical(asked)), key.of_text(prompt_of(asked)))


class _Body(msgspec.Struct):
    """What of a whole request body is digested; its other members do not matter."""

    messages: tuple[Message, ...] = ()
    inputs: tuple[str, ...] = ()


LINE_ENDS = ("\n", "\r\n", "\r")


def forms_of(text: str) -> Iterator[bytes]:
    """What a pasted text may have been when it was sent.

    A form turns all line ends into CR LF, and pasting loses or adds blanks at both ends: tried are those that are
    frequent. A text in quotes, as JSON writes one, is taken to the letter. A text that is JSON may also be the messages
    or inputs of a request, or the whole body of one.
    """
    for texts in (_as_sent(text), _quoted_in(text)):
        yield from (form.encode("utf-8", "surrogatepass") for form in texts if form.strip())
    yield from (canonical(asked) for asked in _requests_in(text))


def _as_sent(text: str) -> Iterator[str]:
    yield text
    plain = text.replace("\r\n", "\n")
    for end in LINE_ENDS:
        lines = plain.replace("\n", end)
        yield from (lines, lines.lstrip(), lines.rstrip())
        bare = lines.strip()
        yield from (bare + behind for behind in ("", " ", end, end + end, " " + end))
        yield from (" " + bare, end + bare, f" {bare} ", end + bare + end)


def _quoted_in(text: str) -> Iterator[str]:
    try:
        yield msgspec.json.decode(text.strip().encode("utf-8", "surrogatepass"), type=str)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return


def _requests_in(text: str) -> Iterator[Asked]:
    """A list alone is the member that it stands for."""
    raw = text.strip().encode("utf-8", "surrogatepass")
    wholes = [raw] if raw.startswith(b"{") else [b'{"messages": %b}' % raw, b'{"inputs": %b}' % raw]
    for whole in wholes:
        try:
            body = msgspec.json.decode(whole, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        if body.messages:
            yield ChatRequest(messages=body.messages)
        if body.inputs:
            yield EmbedRequest(inputs=body.inputs)
