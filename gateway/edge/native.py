"""The native `/mcp` dialect: the bodies a client sends, and the answers it gets (contract §1)."""

import re
from datetime import date
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from gateway.edge.json_body import invalid, refuse, require_json
from gateway.trail import Trail
from providers.types import (
    ChatReply,
    ChatRequest,
    Content,
    Delta,
    EmbedReply,
    EmbedRequest,
    FinishReason,
    Message,
    ResponseFormat,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
    Wire,
)

Name = Annotated[str, Meta(min_length=1, max_length=200)]
RequestId = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
Text = Annotated[str, Meta(min_length=1, max_length=500)]
StopText = Annotated[str, Meta(min_length=1)]
INT64 = 2**63 - 1


_TIMESTAMP = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)(?:T(\d\d)(?::?(\d\d)(?::?(\d\d)(?:[.,]\d{1,9})?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


def is_timestamp(text: str) -> bool:
    """A calendar date of ISO 8601, with or without a time and its zone. 24:00 and the leap second are times."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return False
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups())
    if hour > 24 or minute > 59 or second > 60 or (hour == 24 and (minute or second)):
        return False
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


class Envelope(Wire, frozen=True, kw_only=True):
    request_id: RequestId
    caller_tool: Name
    timestamp: str | None = None
    provider: Text | None = None
    model: Text | None = None

    def __post_init__(self) -> None:
        if self.timestamp is not None and not is_timestamp(self.timestamp):
            raise ValueError("`timestamp` is an ISO 8601 date and time such as 2026-01-31T12:00:00Z")


class ChatBody(Envelope, frozen=True, kw_only=True):
    messages: Annotated[tuple[Message, ...], Meta(min_length=1, max_length=10_000)]
    tools: tuple[Tool, ...] | None = None
    tool_choice: ToolChoice | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=INT64)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    stop: StopText | Annotated[tuple[StopText, ...], Meta(max_length=16)] | None = None
    seed: Annotated[int, Meta(ge=-INT64, le=INT64)] | None = None
    response_format: ResponseFormat | None = None

    def request(self) -> ChatRequest:
        return ChatRequest(
            messages=self.messages,
            tools=self.tools or (),
            tool_choice=self.tool_choice,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            top_p=self.top_p,
            stop=(self.stop,) if isinstance(self.stop, str) else self.stop or (),
            seed=self.seed,
            response_format=self.response_format,
        )


class EmbedBody(Envelope, frozen=True, kw_only=True):
    inputs: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2048)]
    dimensions: Annotated[int, Meta(ge=1, le=INT64)] | None = None

    def request(self) -> EmbedRequest:
        return EmbedRequest(inputs=self.inputs, dimensions=self.dimensions)


Body = TypeVar("Body", bound=Envelope)
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (ChatBody, EmbedBody)
}


def decode(trail: Trail, kind: type[Body], raw: bytes) -> Body:
    """Raises `Refusal` with the contract's reason. Notes on the trail who the request says it is."""
    trail.stage, trail.bytes_in = "body", len(raw)
    parsed = require_json(raw)
    try:
        body: Body = _DECODERS[kind].decode(raw)
    except msgspec.ValidationError as error:
        _note_envelope(trail, parsed)
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        refuse("INVALID_JSON", "The body is not valid JSON")
    trail.note_names(body.request_id, body.caller_tool)
    if trail.caller is not None and body.caller_tool != trail.caller.client.tool_id:
        trail.gateway.log.warn(
            "callerTool differs from the token's client",
            request_id=trail.request_id,
            trace_id=trail.call_id,
            metadata={"callerTool": trail.claimed_tool, "toolId": trail.caller.client.tool_id},
        )
    return body


def _note_envelope(trail: Trail, parsed: Any) -> None:
    """Of a request that is not valid, who it said it was is on record where that part is."""
    if not isinstance(parsed, dict):
        return
    names = []
    for name, kind in (("requestId", RequestId), ("callerTool", Name)):
        try:
            names.append(msgspec.convert(parsed.get(name), kind))
        except msgspec.ValidationError:
            names.append("")
    trail.note_names(*names)


class WireUsage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`reported` appears only when it is false; the counts always do."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    reported: bool = True


class AnswerMessage(Content, frozen=True, kw_only=True, rename="camel"):
    role: str = "assistant"
    content: str
    tool_calls: tuple[ToolCall, ...] | msgspec.UnsetType = msgspec.UNSET


class Routing(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    capability: str
    strategy: str
    attempts: int
    fallback_from: list[str] | msgspec.UnsetType = msgspec.UNSET


class ProviderInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    model: str
    finish_reason: FinishReason | msgspec.UnsetType = msgspec.UNSET
    routing: Routing


class ChatAnswer(Content, frozen=True, kw_only=True, rename="camel"):
    request_id: str
    trace_id: str
    message: AnswerMessage
    usage: WireUsage
    provider_info: ProviderInfo
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET


class EmbedAnswer(Content, frozen=True, kw_only=True, rename="camel"):
    request_id: str
    trace_id: str
    vectors: list[list[float]]
    usage: WireUsage
    provider_info: ProviderInfo
    retry_after_ms: int | msgspec.UnsetType = msgspec.UNSET


class DeltaFrame(Content, frozen=True, kw_only=True, rename="camel"):
    type: str = "delta"
    delta: Delta
    trace_id: str


class Completion(Content, frozen=True, kw_only=True, rename="camel"):
    message: AnswerMessage
    usage: WireUsage
    provider_info: ProviderInfo


class CompletionFrame(Content, frozen=True, kw_only=True, rename="camel"):
    type: str = "completion"
    payload: Completion
    trace_id: str


def encode_usage(usage: Usage) -> WireUsage:
    return WireUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
        reported=usage.reported,
    )


def encode_message(content: str, calls: tuple[ToolCall, ...]) -> AnswerMessage:
    return AnswerMessage(content=content, tool_calls=calls or msgspec.UNSET)


def encode_provider(trail: Trail, capability: str, finish: FinishReason | None = None) -> ProviderInfo:
    """Who answered, and how it came to be asked."""
    target = trail.target
    assert target is not None, "only answered calls have a provider"
    others = [name for name in trail.run.failed() if name != target.provider.name]
    routing = Routing(
        capability=capability,
        strategy=trail.strategy,
        attempts=len(trail.run.attempts),
        fallback_from=others or msgspec.UNSET,
    )
    return ProviderInfo(
        name=target.provider.name,
        model=target.model,
        finish_reason=finish or msgspec.UNSET,
        routing=routing,
    )


def retry_hint(trail: Trail) -> int | msgspec.UnsetType:
    """The last hint a provider gave on the way to this answer, in ms."""
    hints = [a.retry_after_ms for a in trail.run.attempts if a.retry_after_ms is not None]
    return hints[-1] if hints else msgspec.UNSET


def chat_answer(trail: Trail, reply: ChatReply) -> ChatAnswer:
    return ChatAnswer(
        request_id=trail.echoed_id,
        trace_id=trail.trace_id,
        message=encode_message(reply.content, reply.tool_calls),
        usage=encode_usage(reply.usage),
        provider_info=encode_provider(trail, "chat", reply.finish_reason),
        retry_after_ms=retry_hint(trail),
    )


def embed_answer(trail: Trail, reply: EmbedReply) -> EmbedAnswer:
    return EmbedAnswer(
        request_id=trail.echoed_id,
        trace_id=trail.trace_id,
        vectors=reply.vectors,
        usage=encode_usage(reply.usage),
        provider_info=encode_provider(trail, "embed"),
        retry_after_ms=retry_hint(trail),
    )
