"""Anything that speaks OpenAI's chat completions and embeddings (vLLM, llama.cpp, Ollama, Groq, …).

Wire format: OpenAI API reference, "Chat Completions", "Embeddings" and "Models". Vendors of this dialect
leave fields out or null them, so every field that is not needed is optional here.
"""

from functools import lru_cache
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
    EmbedReply,
    EmbedRequest,
    Event,
    FinishReason,
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

FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None

    def text(self) -> str | None:
        """Some vendors send the arguments as an object where the dialect says text."""
        if isinstance(self.arguments, dict):
            return msgspec.json.encode(self.arguments).decode()
        return self.arguments


class _ToolCall(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Part(msgspec.Struct):
    type: str | None = None
    text: str | None = None


class _Message(msgspec.Struct):
    role: str | None = None
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None

    def text(self) -> str | None:
        """What was said, or why not. Mistral's reasoning models send parts: their thoughts, then the text."""
        content = self.content
        if isinstance(content, list):
            content = "".join(part.text or "" for part in content if part.type == "text")
        return content or self.refusal


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _StreamChoice(msgspec.Struct):
    delta: _Message | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None

    def usage(self) -> Usage:
        return tokens(self.prompt_tokens, self.completion_tokens, self.total_tokens)


class _Answer(msgspec.Struct):
    choices: list[_Choice]
    id: str | None = None
    usage: _Usage | None = None


class _Chunk(msgspec.Struct):
    choices: list[_StreamChoice] | None = None
    id: str | None = None
    usage: _Usage | None = None
    # Its shape differs by vendor: an object, a text. Not `Raw | None`, which takes nothing but null.
    error: msgspec.Raw = msgspec.Raw(b"null")


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int | None = None


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    id: str | None = None
    usage: _Usage | None = None


class OpenAICompatible(Adapter):
    kind = "openai-compatible"
    label = "OpenAI-compatible"
    capabilities = frozenset({"chat", "chatStream", "embed"})
    description = "Any server with OpenAI's chat completions: vLLM, llama.cpp, Ollama, Groq, Mistral, …"
    max_tokens_field = "max_tokens"

    def build_chat(self, request: ChatRequest, target: Target, *, stream: bool) -> httpx.Request:
        payload: dict[str, Any] = {
            "model": target.model,
            "messages": [encode_message(message) for message in request.messages],
        }
        if request.temperature is not None:
            payload["temperature"] = request.temperature
        if request.max_tokens is not None:
            payload[self.max_tokens_field] = request.max_tokens
        if request.top_p is not None:
            payload["top_p"] = request.top_p
        if request.stop:
            payload["stop"] = request.stop
        if request.seed is not None:
            payload["seed"] = request.seed
        if request.tools:
            payload["tools"] = encode_tools(request)
        if request.tool_choice is not None:
            payload["tool_choice"] = encode_tool_choice(request.tool_choice)
        if request.response_format is not None:
            payload["response_format"] = self.encode_format(request.response_format)
        if stream:
            payload["stream"] = True
            payload["stream_options"] = {"include_usage": True}
        return post(endpoint(target.provider.base_url, "chat/completions"), headers(target.provider), payload)

    def encode_format(self, wanted: ResponseFormat) -> dict[str, Any]:
        if wanted.type != "json_schema":
            return {"type": wanted.type}
        schema: dict[str, Any] = {"name": wanted.name or "response", "schema": wanted.schema}
        if wanted.strict is not None:
            schema["strict"] = wanted.strict
        return {"type": "json_schema", "json_schema": schema}

    def read_chat(self, body: bytes) -> ChatReply:
        answer = decode(_Answer, body)
        if not answer.choices:
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE")
        choice = answer.choices[0]
        calls = tuple(
            ToolCall(id=call.id or f"call_{n}", name=call.function.name, arguments=call.function.text() or "")
            for n, call in enumerate(choice.message.tool_calls or ())
            if call.function is not None and call.function.name
        )
        return ChatReply(
            content=choice.message.text() or "",
            tool_calls=calls,
            finish_reason=finish(
                choice.finish_reason or ("tool_calls" if calls else "stop"),
                refused=bool(choice.message.refusal),
            ),
            usage=answer.usage.usage() if answer.usage else UNREPORTED,
            trace_id=clean_id(answer.id),
        )

    def events(self) -> EventReader:
        return _ChunkReader()

    def build_embed(self, request: EmbedRequest, target: Target) -> httpx.Request:
        payload: dict[str, Any] = {
            "model": target.model,
            "input": request.inputs,
            "encoding_format": "float",
        }
        if request.dimensions is not None:
            payload["dimensions"] = request.dimensions
        return post(endpoint(target.provider.base_url, "embeddings"), headers(target.provider), payload)

    def read_embed(self, body: bytes, count: int) -> EmbedReply:
        answer = decode(_Vectors, body)
        placed = {n if v.index is None else v.index: v.embedding for n, v in enumerate(answer.data)}
        if len(answer.data) != count or set(placed) != set(range(count)):
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE")
        return EmbedReply(
            vectors=[placed[n] for n in range(count)],
            usage=answer.usage.usage() if answer.usage else UNREPORTED,
            trace_id=clean_id(answer.id),
        )

    def build_discovery(self, provider: Provider) -> httpx.Request:
        return httpx.Request("GET", endpoint(provider.base_url, "models"), headers=headers(provider))


class _ChunkReader(EventReader):
    """Keeps whether the model refused, for the finish reason comes in a later chunk, and is `stop`; and which tool
    calls have begun: some vendors give them no id, and a result needs one to answer to; others give all of them the
    same index (Ollama, Gemini).

    `_calls`: by the provider's index, the one under which its fragments are passed on. `_ids`: by that one.
    """

    def __init__(self) -> None:
        self._refused = False
        self._calls: dict[int, int] = {}
        self._ids: dict[int, str] = {}

    def read(self, name: str, data: bytes) -> Event | None:
        if data.strip() == b"[DONE]":
            return Event(done=True)
        chunk = decode(_Chunk, data)
        if bytes(chunk.error) != b"null":
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_STREAM_ERROR")
        choice = chunk.choices[0] if chunk.choices else None
        delta = choice.delta if choice else None
        self._refused = self._refused or bool(delta and delta.refusal)
        reason = choice.finish_reason if choice else None
        return Event(
            delta=self._delta(delta) if delta else None,
            finish_reason=finish(reason, refused=self._refused) if reason else None,
            usage=chunk.usage.usage() if chunk.usage else None,
            trace_id=clean_id(chunk.id),
        )

    def _delta(self, message: _Message) -> Delta | None:
        calls = tuple(self._call(n, call) for n, call in enumerate(message.tool_calls or ()))
        delta = Delta(role="assistant" if message.role else None, content=message.text(), tool_calls=calls)
        return delta or None

    def _call(self, place: int, call: _ToolCall) -> ToolCallDelta:
        place, function = place if call.index is None else call.index, call.function
        first = place not in self._calls or self._is_another(place, call)
        if first:
            self._calls[place] = index = max(self._ids) + 1 if place in self._ids else place
            self._ids[index] = call.id or f"call_{index}"
        index = self._calls[place]
        return ToolCallDelta(
            index=index,
            id=self._ids[index] if first else call.id,
            name=function.name if function else None,
            arguments=function.text() if function else None,
        )

    def _is_another(self, place: int, call: _ToolCall) -> bool:
        """A call has a name where it begins. A new id alone says nothing: some give one to every fragment."""
        named = call.function is not None and call.function.name
        return bool(call.id and named and call.id != self._ids[self._calls[place]])


def finish(reason: str, *, refused: bool) -> FinishReason:
    return "content_filter" if refused else FINISH.get(reason, "other")


def headers(provider: Provider) -> httpx.Headers:
    return _headers(provider.api_key.reveal() if provider.api_key else None)


@lru_cache(maxsize=256)
def _headers(key: str | None) -> httpx.Headers:
    """Made once per key: normalising headers is a good part of making a request."""
    base = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
    if key is not None:
        base["authorization"] = f"Bearer {key}"
    return httpx.Headers(base)


def encode_message(message: Message) -> dict[str, Any]:
    encoded: dict[str, Any] = {"role": message.role, "content": message.content}
    if isinstance(message.content, tuple):
        encoded["content"] = [
            {"type": "text", "text": part.text}
            if isinstance(part, TextPart)
            else {"type": "image_url", "image_url": {"url": part.as_url()}}
            for part in message.content
        ]
    if message.tool_calls:
        encoded["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        encoded["tool_call_id"] = message.tool_call_id
    return encoded


def encode_tools(request: ChatRequest) -> list[dict[str, Any]]:
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "parameters": tool.parameters}
            | ({"description": tool.description} if tool.description is not None else {}),
        }
        for tool in request.tools
    ]


def encode_tool_choice(choice: str | NamedTool) -> str | dict[str, Any]:
    if isinstance(choice, NamedTool):
        return {"type": "function", "function": {"name": choice.name}}
    return choice
