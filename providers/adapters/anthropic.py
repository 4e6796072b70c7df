"""Anthropic's Messages API (API reference: "Messages", "Streaming", "Structured outputs", "Errors").

What differs from the common shape: the system prompt is a field of its own, `max_tokens` is required,
content is a list of blocks, tool results travel in user messages, and there are no embeddings.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import httpx
import msgspec

from providers.adapters.base import (
    Adapter,
    EventReader,
    clean_id,
    decode,
    endpoint,
    post,
    tokens,
)
from providers.errors import UpstreamError
from providers.types import (
    UNREPORTED,
    ChatReply,
    ChatRequest,
    Delta,
    EmbedRequest,
    Event,
    FinishReason,
    ImagePart,
    Message,
    NamedTool,
    Provider,
    ResponseFormat,
    Target,
    TextPart,
    ToolCall,
    ToolCallDelta,
    Usage,
)

VERSION = "2023-06-01"
DEFAULT_MAX_TOKENS = 4096
FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
ERRORS = {
    "billing_error": UpstreamError("PERMANENT"),
    "authentication_error": UpstreamError("AUTH"),
    "permission_error": UpstreamError("AUTH"),
    "rate_limit_error": UpstreamError("RATE_LIMIT"),
    "invalid_request_error": UpstreamError("PERMANENT"),
    "not_found_error": UpstreamError("PERMANENT"),
    "request_too_large": UpstreamError("PERMANENT"),
}


EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "error",
    }
)


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None

    def inputs(self) -> int | None:
        """Input tokens are counted in three parts: fresh, written to the cache, read from it."""
        parts = (self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens)
        known = [part for part in parts if part is not None]
        return sum(known) if known else None

    def after(self, earlier: "_Usage") -> "_Usage":
        """The counts of a stream are cumulative; one that is left out stands as it was."""
        known = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(earlier, **known)


class _Block(msgspec.Struct):
    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Answer(msgspec.Struct):
    content: list[_Block]
    id: str | None = None
    stop_reason: str | None = None
    usage: _Usage | None = None


class _Delta(msgspec.Struct):
    type: str | None = None
    text: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class _Error(msgspec.Struct):
    type: str | None = None


class _Start(msgspec.Struct):
    id: str | None = None
    usage: _Usage | None = None


class _Kind(msgspec.Struct):
    """All that is asked of an event: new types of any shape may come and are to be ignored."""

    type: str


class _Event(msgspec.Struct):
    type: str
    index: int = 0
    message: _Start | None = None
    content_block: _Block | None = None
    delta: _Delta | None = None
    usage: _Usage | None = None
    error: _Error | None = None


class Anthropic(Adapter):
    kind = "anthropic"
    label = "Anthropic"
    capabilities = frozenset({"chat", "chatStream"})
    default_base_url = "https://api.anthropic.com"
    default_key_env = "ANTHROPIC_API_KEY"
    description = "Anthropic's Messages API: chat and streams, no embeddings."

    def unsupported(self, request: ChatRequest | EmbedRequest) -> str | None:
        if isinstance(request, EmbedRequest):
            return "inputs"
        if request.temperature is not None and request.temperature > 1:
            return "temperature"
        if request.response_format is not None and request.response_format.type == "json_object":
            return "responseFormat"
        if request.response_format is not None and request.response_format.strict is False:
            return "responseFormat.strict"
        for n, message in enumerate(request.messages):
            if message.role == "system" and any(
                isinstance(part, ImagePart) for part in message.content or ()
            ):
                return f"messages[{n}].content"
            for k, call in enumerate(message.tool_calls or ()):
                if not _is_object(call.arguments):
                    return f"messages[{n}].toolCalls[{k}].arguments"
        if all(message.role == "system" for message in request.messages):
            return "messages"
        return None

    def build_chat(self, request: ChatRequest, target: Target, *, stream: bool) -> httpx.Request:
        payload: dict[str, Any] = {
            "model": target.model,
            "max_tokens": request.max_tokens or DEFAULT_MAX_TOKENS,
            "messages": encode_messages(request.messages),
        }
        system = "\n\n".join(m.text() for m in request.messages if m.role == "system")
        if system:
            payload["system"] = system
        if request.temperature is not None:
            payload["temperature"] = request.temperature
        if request.top_p is not None:
            payload["top_p"] = request.top_p
        if request.stop:
            payload["stop_sequences"] = request.stop
        if request.tools:
            payload["tools"] = encode_tools(request)
        if request.tool_choice is not None and (request.tools or request.tool_choice != "none"):
            payload["tool_choice"] = encode_tool_choice(request.tool_choice)
        if request.response_format is not None and request.response_format.type == "json_schema":
            payload["output_config"] = {"format": encode_format(request.response_format)}
        if stream:
            payload["stream"] = True
        return post(_endpoint(target.provider, "messages"), headers(target.provider), payload)

    def read_chat(self, body: bytes) -> ChatReply:
        answer = decode(_Answer, body)
        usage = answer.usage
        return ChatReply(
            content="".join(block.text or "" for block in answer.content if block.type == "text"),
            tool_calls=tuple(
                ToolCall(id=block.id or "", name=block.name or "", arguments=_text(block.input))
                for block in answer.content
                if block.type == "tool_use"
            ),
            finish_reason=FINISH.get(answer.stop_reason or "end_turn", "other"),
            usage=tokens(usage.inputs(), usage.output_tokens) if usage else UNREPORTED,
            trace_id=clean_id(answer.id),
        )

    def events(self) -> EventReader:
        return _MessageEvents()

    def build_discovery(self, provider: Provider) -> httpx.Request:
        url = _endpoint(provider, "models").copy_add_param("limit", "1000")
        return httpx.Request("GET", url, headers=headers(provider))


class _MessageEvents(EventReader):
    """Keeps the usage and which content block is which tool call; text blocks have no index for us.

    `_unsaid`: the input that a tool call began with, as long as none has followed in pieces.
    """

    def __init__(self) -> None:
        self._usage = _Usage()
        self._calls: dict[int, int] = {}
        self._unsaid: dict[int, str] = {}

    def read(self, name: str, data: bytes) -> Event | None:
        if decode(_Kind, data).type not in EVENTS:
            return None
        event = decode(_Event, data)
        if event.type == "error":
            error = ERRORS.get((event.error.type if event.error else None) or "")
            if error is None:
                raise UpstreamError("TEMPORARY", reason="UPSTREAM_STREAM_ERROR")
            raise UpstreamError(error.classification, reason="UPSTREAM_STREAM_ERROR")
        if event.type == "message_start" and event.message:
            return self._started(event.message)
        if event.type == "content_block_start" and event.content_block:
            return self._block(event.index, event.content_block)
        if event.type == "content_block_delta" and event.delta:
            return self._delta(event.index, event.delta)
        if event.type == "content_block_stop":
            return self._block_ended(event.index)
        if event.type == "message_delta":
            return self._ended(event)
        return Event(done=True) if event.type == "message_stop" else None

    def _started(self, start: _Start) -> Event:
        """The counts so far are passed on: of a stream that breaks off they are all that is ever known."""
        usage: Usage | None = None
        if start.usage:
            self._usage = start.usage
            usage = tokens(start.usage.inputs(), start.usage.output_tokens)
        return Event(delta=Delta(role="assistant"), trace_id=clean_id(start.id), usage=usage)

    def _block(self, index: int, block: _Block) -> Event | None:
        if block.type == "text" and block.text:
            return Event(delta=Delta(content=block.text))
        if block.type != "tool_use":
            return None
        place = self._calls.setdefault(index, len(self._calls))
        given = _text(block.input)
        self._unsaid[index] = given if given != "null" else "{}"
        call = ToolCallDelta(index=place, id=block.id, name=block.name, arguments="")
        return Event(delta=Delta(tool_calls=(call,)))

    def _delta(self, index: int, delta: _Delta) -> Event | None:
        if delta.type == "text_delta" and delta.text:
            return Event(delta=Delta(content=delta.text))
        if delta.type == "input_json_delta" and delta.partial_json and index in self._calls:
            self._unsaid.pop(index, None)
            call = ToolCallDelta(index=self._calls[index], arguments=delta.partial_json)
            return Event(delta=Delta(tool_calls=(call,)))
        return None

    def _block_ended(self, index: int) -> Event | None:
        """A tool called without input has no text in the stream; in a whole answer it is `{}`. And some servers of
        this dialect put the whole input where the block begins."""
        arguments = self._unsaid.pop(index, None)
        if arguments is None:
            return None
        return Event(delta=Delta(tool_calls=(ToolCallDelta(index=self._calls[index], arguments=arguments),)))

    def _ended(self, event: _Event) -> Event:
        usage: Usage | None = None
        if event.usage:
            self._usage = event.usage.after(self._usage)
            usage = tokens(self._usage.inputs(), self._usage.output_tokens)
        reason = event.delta.stop_reason if event.delta else None
        return Event(usage=usage, finish_reason=FINISH.get(reason, "other") if reason else None)


def _text(raw: msgspec.Raw) -> str:
    """JSON as it came: the decoder does not look into it. Raises `UpstreamError` when it is not UTF-8."""
    try:
        return bytes(raw).decode()
    except UnicodeDecodeError:
        raise UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE") from None


def _endpoint(provider: Provider, path: str) -> httpx.URL:
    """The base URL is written with and without `/v1`; the API lives below it."""
    has_version = provider.base_url.rstrip("/").endswith("/v1")
    return endpoint(provider.base_url, path if has_version else f"v1/{path}")


def headers(provider: Provider) -> httpx.Headers:
    base = {"content-type": "application/json", "anthropic-version": VERSION}
    if provider.api_key is not None:
        base["x-api-key"] = provider.api_key.reveal()
    return httpx.Headers(base)


def encode_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Without the system messages; the results of parallel tool calls share one user message."""
    encoded: list[dict[str, Any]] = []
    spoken = [message for message in messages if message.role != "system"]
    for is_result, group in groupby(spoken, key=lambda message: message.role == "tool"):
        if is_result:
            encoded.append({"role": "user", "content": [_result(message) for message in group]})
        else:
            encoded += [{"role": message.role, "content": _content(message)} for message in group]
    return encoded


def _result(message: Message) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": _content(message)}


def _content(message: Message) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str) and not message.tool_calls:
        return message.content
    parts: Sequence[TextPart | ImagePart]
    if isinstance(message.content, str):
        parts = (TextPart(text=message.content),) if message.content else ()
    else:
        parts = message.content or ()
    blocks = [
        {"type": "text", "text": part.text} if isinstance(part, TextPart) else _image(part) for part in parts
    ]
    for call in message.tool_calls or ():
        arguments = msgspec.Raw((call.arguments.strip() or "{}").encode())
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return blocks


def _image(part: ImagePart) -> dict[str, Any]:
    inline = part.inline()
    if inline is None:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    return {"type": "image", "source": {"type": "base64", "media_type": inline[0], "data": inline[1]}}


def encode_format(wanted: ResponseFormat) -> dict[str, Any]:
    """There is no field for a name here; JSON Schema has one for the same purpose."""
    schema = wanted.schema or {}
    if wanted.name is not None and "title" not in schema:
        schema = schema | {"title": wanted.name}
    return {"type": "json_schema", "schema": schema}


def encode_tools(request: ChatRequest) -> list[dict[str, Any]]:
    return [
        {"name": tool.name, "input_schema": tool.parameters}
        | ({"description": tool.description} if tool.description is not None else {})
        for tool in request.tools
    ]


def encode_tool_choice(choice: str | NamedTool) -> dict[str, Any]:
    if isinstance(choice, NamedTool):
        return {"type": "tool", "name": choice.name}
    return {"type": "any" if choice == "required" else choice}


def _is_object(text: str) -> bool:
    if not text.strip():
        return True
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
