"""A finished call as spans, by the GenAI semantic conventions of OpenTelemetry. Pure; never content.

https://github.com/open-telemetry/semantic-conventions-genai. One span for the call, as a server saw it, and one for
each request to a provider, as its client saw it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from telemetry.families import OK, outcome_class

OPERATIONS = {"chat": "chat", "chatStream": "chat", "embed": "embeddings"}
"""`gen_ai.operation.name` by method; other methods ask no model and are no spans."""
SYSTEMS = {"openai": "openai", "anthropic": "anthropic"}
"""`gen_ai.provider.name` by kind of provider; of other kinds the kind itself."""
FAULTS = frozenset({"provider_error", "gateway_error"})
Value = str | int | float | bool | Sequence[str]


class Attempt(Protocol):
    @property
    def provider(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def classification(self) -> str | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def status(self) -> int | None: ...
    @property
    def duration_ms(self) -> int: ...


class EndedCall(msgspec.Struct, frozen=True, kw_only=True):
    """What the request path hands over. Times are epoch seconds, durations ms. `began`: of each attempt, its span and
    when. `kinds`: provider name → kind. `labels`: provider and model of the last attempt, as metrics are labelled."""

    method: str
    call_id: str
    tool_id: str
    outcome: str
    status: int
    started_at: float
    duration_ms: float
    trace_id: str
    parent: str
    span: str
    sampled: bool
    attempts: Sequence[Attempt]
    began: Sequence[tuple[str, float]]
    kinds: Mapping[str, str]
    labels: tuple[str, str]
    first_event_ms: int | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_reported: bool = False
    finish_reason: str | None = None


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """`start`, `end`: nanoseconds since 1970. `error`: whether it is to be shown as one."""

    name: str
    kind: Literal["server", "client"]
    trace_id: str
    span: str
    parent: str
    remote_parent: bool
    start: int
    end: int
    attributes: dict[str, Value]
    error: bool


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a histogram of the conventions. Durations in seconds."""

    name: str
    value: float
    attributes: dict[str, Value]


def spans_of(call: EndedCall) -> list[Span]:
    """None for calls that ask no model."""
    return [_call_span(call), *_attempt_spans(call)] if call.method in OPERATIONS else []


def _call_span(call: EndedCall) -> Span:
    attributes = _asked(call, call.attempts[-1] if call.attempts else None)
    attributes |= {
        "llm_caller.call.id": call.call_id,
        "llm_caller.client": call.tool_id,
        "llm_caller.outcome": call.outcome,
        "http.response.status_code": call.status,
    }
    if call.outcome == OK:
        attributes |= _answered(call)
    else:
        attributes["error.type"] = call.outcome
    return Span(
        name=_name(attributes),
        kind="server",
        trace_id=call.trace_id,
        span=call.span,
        parent=call.parent,
        remote_parent=True,
        start=_ns(call.started_at),
        end=_end_of(call),
        attributes=attributes,
        error=outcome_class(call.outcome, asked=bool(call.attempts)) in FAULTS,
    )


def _attempt_spans(call: EndedCall) -> Iterator[Span]:
    last, call_ends = len(call.attempts) - 1, _end_of(call)
    for place, (attempt, (span, began)) in enumerate(zip(call.attempts, call.began, strict=True)):
        attributes = _asked(call, attempt)
        # The attempt that answered with a stream goes on to the call's end.
        end = _ns(began + attempt.duration_ms / 1000)
        if attempt.classification is not None:
            attributes["error.type"] = attempt.reason or attempt.classification
        elif place == last:
            end = call_ends if call.method == "chatStream" else end
            attributes |= _answered(call)
        if attempt.status is not None:
            attributes["http.response.status_code"] = attempt.status
        yield Span(
            name=_name(attributes),
            kind="client",
            trace_id=call.trace_id,
            span=span,
            parent=call.span,
            remote_parent=False,
            start=_ns(began),
            # Its duration is in whole ms, and the call's is not.
            end=max(min(end, call_ends), _ns(began)),
            attributes=attributes,
            error=attempt.classification not in (None, "CANCELLED"),
        )


def measured(call: EndedCall) -> Iterator[Measured]:
    """Of calls that asked a provider."""
    if call.method not in OPERATIONS or not call.attempts:
        return
    attributes = _asked(call, call.attempts[-1])
    attributes["llm_caller.provider"], attributes["gen_ai.request.model"] = call.labels
    failed = {} if call.outcome == OK else {"error.type": call.outcome}
    yield Measured(
        name="gen_ai.client.operation.duration",
        value=call.duration_ms / 1000,
        attributes=attributes | failed,
    )
    if call.first_event_ms is not None:
        yield Measured(
            name="gen_ai.client.operation.time_to_first_chunk",
            value=call.first_event_ms / 1000,
            attributes=attributes,
        )
    if call.tokens_reported:
        for kind, tokens in (("input", call.input_tokens), ("output", call.output_tokens)):
            yield Measured(
                name="gen_ai.client.token.usage",
                value=tokens,
                attributes=attributes | {"gen_ai.token.type": kind},
            )


def _asked(call: EndedCall, attempt: Attempt | None) -> dict[str, Value]:
    attributes: dict[str, Value] = {"gen_ai.operation.name": OPERATIONS[call.method]}
    if call.method == "chatStream":
        attributes["gen_ai.request.stream"] = True
    if attempt is not None:
        kind = call.kinds.get(attempt.provider, "unknown")
        attributes["gen_ai.provider.name"] = SYSTEMS.get(kind, kind)
        attributes["gen_ai.request.model"] = attempt.model
        attributes["llm_caller.provider"] = attempt.provider
    return attributes


def _answered(call: EndedCall) -> dict[str, Value]:
    attributes: dict[str, Value] = {}
    if call.attempts:
        attributes["gen_ai.response.model"] = call.attempts[-1].model
    if call.tokens_reported:
        attributes["gen_ai.usage.input_tokens"] = call.input_tokens
        attributes["gen_ai.usage.output_tokens"] = call.output_tokens
    if call.first_event_ms is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = call.first_event_ms / 1000
    if call.finish_reason is not None:
        attributes["gen_ai.response.finish_reasons"] = [call.finish_reason]
    return attributes


def _name(attributes: Mapping[str, Value]) -> str:
    """Operation and model, as the conventions want it."""
    model = attributes.get("gen_ai.request.model")
    operation = str(attributes["gen_ai.operation.name"])
    return f"{operation} {model}" if model else operation


def _end_of(call: EndedCall) -> int:
    return _ns(call.started_at + call.duration_ms / 1000)


def _ns(epoch: float) -> int:
    return round(epoch * 1e9)
