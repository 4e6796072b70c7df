"""What travels between the gateway and a provider: requests, targets, events and replies.

Every struct is frozen. The JSON names (camelCase) are those of the native `/mcp` dialect, so that the
edge decodes straight into them; other dialects translate to and from these structs.
"""

import binascii
import re
from typing import Any, Literal

import msgspec

Capability = Literal["chat", "chatStream", "embed"]
CAPABILITIES: tuple[Capability, ...] = ("chat", "chatStream", "embed")
MOST_SCORE = 1_000_000
"""Of either sign: what is beyond would be neither compared nor shown as it was written."""
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "other"]


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked or answered: it prints nothing of itself, so that no log line or traceback can show it."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class Wire(Content, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Base of what a client may send: the one place where names are renamed and unknown fields refused."""


class TextPart(Wire, frozen=True, tag_field="type", tag="text"):
    text: str


_MEDIA_TYPE = re.compile(r"image/[a-z0-9][a-z0-9.+-]{0,60}", re.ASCII | re.IGNORECASE)
_DATA_URL = re.compile(r"data:([^;,]{0,80});base64,", re.IGNORECASE)


class ImagePart(Wire, frozen=True, tag_field="type", tag="image"):
    """Either `url` (http, https, or a data URL of base64), or `data` (base64) with its `media_type`."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None

    def __post_init__(self) -> None:
        if (self.url is None) == (self.data is None):
            raise ValueError("An image has either `url` or `data`")
        if (self.data is None) != (self.media_type is None):
            raise ValueError("An image given as `data` needs `mediaType`, and only that one has it")
        inline = self.inline()
        if inline is None:
            if self.url is not None and not self.url.lower().startswith(("http://", "https://")):
                # A provider on this machine might open file: and others as itself.
                raise ValueError(
                    "The `url` of an image begins with http://, https:// or data:image/…;base64,"
                )
            return
        media_type, data = inline
        if not _MEDIA_TYPE.fullmatch(media_type):
            raise ValueError("The media type of an image begins with image/")
        try:
            binascii.a2b_base64(data, strict_mode=True)
        except ValueError:
            raise ValueError("The data of an image is base64 (RFC 4648 §4)") from None

    def inline(self) -> tuple[str, str] | None:
        """`(media type, base64)` of an image that travels in the request; None of one to be fetched."""
        if self.data is not None:
            return self.media_type or "", self.data
        match = _DATA_URL.match(self.url or "")
        return (match[1].lower(), (self.url or "")[match.end() :]) if match else None

    def as_url(self) -> str:
        inline = self.inline()
        return f"data:{inline[0]};base64,{inline[1]}" if inline else self.url or ""


Part = TextPart | ImagePart


class ToolCall(Wire, frozen=True, omit_defaults=True):
    """`arguments` is JSON text exactly as the model wrote it; it may be invalid JSON."""

    id: str
    name: str
    arguments: str


class Message(Wire, frozen=True):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | tuple[Part, ...] | None = None
    tool_calls: tuple[ToolCall, ...] | None = ()
    tool_call_id: str | None = None

    def __post_init__(self) -> None:
        if self.tool_calls is None:
            # None at all, however it is said: digests of the same messages are the same.
            msgspec.structs.force_setattr(self, "tool_calls", ())
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("`content` may be null only beside an assistant's `toolCalls`")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("Only an assistant message carries `toolCalls`")
        if (self.tool_call_id is None) == (self.role == "tool"):
            raise ValueError("`toolCallId` belongs to, and is required on, a tool message")

    def text(self) -> str:
        """The textual content, parts joined in order."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or () if isinstance(part, TextPart))


class Tool(Wire, frozen=True):
    name: str
    parameters: msgspec.Raw
    description: str | None = None

    def __post_init__(self) -> None:
        if not bytes(self.parameters).lstrip().startswith(b"{"):
            raise ValueError("`parameters` is a JSON object")


class NamedTool(Wire, frozen=True):
    name: str


class ResponseFormat(Wire, frozen=True):
    type: Literal["text", "json_object", "json_schema"]
    # Not `Raw | None`: msgspec takes nothing but null for that.
    schema: dict[str, Any] | None = None
    name: str | None = None
    strict: bool | None = None

    def __post_init__(self) -> None:
        if (self.schema is None) == (self.type == "json_schema"):
            raise ValueError("`schema` belongs to, and is required by, type json_schema")
        if self.type != "json_schema" and self.name is not None:
            raise ValueError("`name` belongs to type json_schema")
        if self.type != "json_schema" and self.strict is not None:
            raise ValueError("`strict` belongs to type json_schema")


ToolChoice = Literal["auto", "none", "required"] | NamedTool


class ChatRequest(Content, frozen=True, kw_only=True):
    """What is asked of a model, without saying which one."""

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    response_format: ResponseFormat | None = None


class EmbedRequest(Content, frozen=True, kw_only=True):
    inputs: tuple[str, ...]
    dimensions: int | None = None


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens as the provider counted them; zeros with `reported=False` when it did not."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    reported: bool = True


UNREPORTED = Usage(reported=False)


class ToolCallDelta(Wire, frozen=True, omit_defaults=True):
    index: int
    id: str | None = None
    name: str | None = None
    arguments: str | None = None


class Delta(Wire, frozen=True, omit_defaults=True):
    """One increment of a streamed message, in the provider's order."""

    role: str | None = None
    content: str | None = None
    tool_calls: tuple[ToolCallDelta, ...] = ()

    def __bool__(self) -> bool:
        return self.role is not None or self.content is not None or bool(self.tool_calls)


class Event(Content, frozen=True, kw_only=True):
    """One event of a provider's stream; any of its parts may be absent.

    `garbled`: the event was mostly control characters, so there was nothing in it to read.
    """

    delta: Delta | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    trace_id: str | None = None
    done: bool = False
    garbled: bool = False


class ChatReply(Content, frozen=True, kw_only=True):
    content: str
    finish_reason: FinishReason
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage = UNREPORTED
    trace_id: str | None = None


class EmbedReply(Content, frozen=True, kw_only=True):
    """`vectors`: len(inputs) × dimensions, in the order of the inputs."""

    vectors: list[list[float]]
    usage: Usage = UNREPORTED
    trace_id: str | None = None


class Secret:
    """A credential that does not print itself. `reveal()` is called where the request is built, nowhere else."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "'•••'"

    __str__ = __repr__

    def __reduce__(self) -> Any:
        raise TypeError("A secret is not serialised")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds. `first_event` also bounds the wait for a whole non-streamed answer's head."""

    connect_ms: int
    first_event_ms: int
    idle_ms: int
    total_ms: int


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One configured provider as the request path sees it. `credential_missing` names what is not set."""

    name: str
    kind: str
    base_url: str
    default_model: str
    capabilities: frozenset[str]
    timeouts: Timeouts
    defaults: dict[str, str] = {}
    scores: dict[str, float] = {}
    models: tuple[str, ...] = ()
    enabled: bool = True
    api_key: Secret | None = None
    credential_missing: str | None = None
    max_concurrency: int | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A provider together with the model to ask it for."""

    provider: Provider
    model: str
