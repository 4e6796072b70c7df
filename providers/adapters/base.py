"""What an adapter is: class facts and pure translations. No I/O happens here.

The admin's choices, the table in the docs and the test matrix are derived from the class facts.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, ClassVar, TypeVar, cast

import httpx
import msgspec

from providers.errors import UpstreamError
from providers.types import (
    UNREPORTED,
    ChatReply,
    ChatRequest,
    EmbedReply,
    EmbedRequest,
    Event,
    Provider,
    Target,
    Usage,
)

MAX_TOKENS_COUNTED = 2**53 - 1
"""The largest count that JSON's readers agree on (RFC 8259 §6); the record's columns hold it as well."""
MAX_RETRY_AFTER_MS = 60_000
MAX_MODELS = 10_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NUMBER = re.compile(r"\d{1,12}(\.\d{1,9})?", re.ASCII)
T = TypeVar("T")


class EventReader:
    """Turns one server-sent event of a provider's stream into an `Event`. May keep state for one stream."""

    def read(self, name: str, data: bytes) -> Event | None:
        """Raises `UpstreamError` for an error event or one of the wrong shape."""
        raise UnsupportedError


class UnsupportedError(Exception):
    """An adapter was asked for a capability that its kind does not declare: a defect of the planner."""


class Adapter:
    """One kind of provider. Stateless: one instance serves every provider of its kind."""

    kind: ClassVar[str]
    label: ClassVar[str]
    capabilities: ClassVar[frozenset[str]]
    default_base_url: ClassVar[str | None] = None
    default_key_env: ClassVar[str | None] = None
    description: ClassVar[str] = ""

    def unsupported(self, request: ChatRequest | EmbedRequest) -> str | None:
        """The JSON path of the first field that this kind cannot honour."""
        return None

    def build_chat(self, request: ChatRequest, target: Target, *, stream: bool) -> httpx.Request:
        raise UnsupportedError

    def read_chat(self, body: bytes) -> ChatReply:
        raise UnsupportedError

    def events(self) -> EventReader:
        raise UnsupportedError

    def build_embed(self, request: EmbedRequest, target: Target) -> httpx.Request:
        raise UnsupportedError

    def read_embed(self, body: bytes, count: int) -> EmbedReply:
        """`count`: how many inputs were sent. Raises `UpstreamError` when the vectors do not match them."""
        raise UnsupportedError

    def build_discovery(self, provider: Provider) -> httpx.Request:
        raise UnsupportedError

    def read_models(self, body: bytes) -> tuple[str, ...]:
        """Model ids as the provider lists them, at most `MAX_MODELS`, each once; none that is empty or has control
        characters, which nobody could ask for."""
        entries = decode(_ModelList, body).data or ()
        ids = (entry.id for entry in entries[:MAX_MODELS])
        return tuple(dict.fromkeys(one for one in ids if one and not _CONTROL.search(one)))

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """What an answer with an error status means. The provider's text is not kept."""
        hint = retry_after_ms(headers)
        if status in (401, 403):
            return UpstreamError("AUTH", status=status)
        if status == 429:
            return UpstreamError("RATE_LIMIT", status=status, retry_after_ms=hint)
        if status == 408 or status >= 500:
            return UpstreamError(
                "TEMPORARY", reason="UPSTREAM_ERROR_STATUS", status=status, retry_after_ms=hint
            )
        return UpstreamError("PERMANENT", status=status)


class _ModelEntry(msgspec.Struct):
    id: str


class _ModelList(msgspec.Struct):
    """`data` is null where there are no models: Ollama encodes an empty list of Go's so."""

    data: list[_ModelEntry] | None


_encoder = msgspec.json.Encoder()


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(kind: type[T], body: bytes) -> T:
    """Raises `UpstreamError` (TEMPORARY) when a provider's answer is not JSON of that shape."""
    try:
        result: T = _decoder(cast(Any, kind)).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE") from None
    return result


def post(url: httpx.URL, headers: httpx.Headers, payload: dict[str, Any]) -> httpx.Request:
    return httpx.Request("POST", url, headers=headers, content=_encoder.encode(payload))


@lru_cache(maxsize=1024)
def endpoint(base_url: str, path: str) -> httpx.URL:
    """The base URL may end in a slash or not."""
    return httpx.URL(f"{base_url.rstrip('/')}/{path}")


def clean_id(value: object) -> str | None:
    """A provider's id made safe to store: printable, at most 200 characters; None when nothing is left."""
    if not isinstance(value, str):
        return None
    return _CONTROL.sub("", value)[:200] or None


def tokens(inputs: int | None, outputs: int | None, total: int | None = None) -> Usage:
    """From counts that may be missing, negative or absurd. The total may be more than its parts, which some providers
    do not count all of (thinking), but never less."""
    if inputs is None and outputs is None and total is None:
        return UNREPORTED
    count_in, count_out = _counted(inputs), _counted(outputs)
    return Usage(
        input_tokens=count_in,
        output_tokens=count_out,
        total_tokens=_counted(max(count_in + count_out, total or 0)),
    )


def _counted(tokens: int | None) -> int:
    return min(max(tokens or 0, 0), MAX_TOKENS_COUNTED)


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """The provider's hint in ms, clamped to 60 s (RFC 9110 §10.2.3: seconds or a date; `retry-after-ms`)."""
    precise = headers.get("retry-after-ms", "").strip()
    if _NUMBER.fullmatch(precise):
        return min(round(float(precise)), MAX_RETRY_AFTER_MS)
    text = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(text):
        return min(round(float(text) * 1000), MAX_RETRY_AFTER_MS)
    try:
        date = parsedate_to_datetime(text)
        # The asctime form (RFC 9110 §5.6.7) names no zone; every HTTP date is UTC.
        until = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time()
    except (ValueError, OverflowError, TypeError):
        return None
    return min(max(round(until * 1000), 0), MAX_RETRY_AFTER_MS)
