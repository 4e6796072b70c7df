"""One call, one way. The stages in order; read this first.

accept → identify → permit → parse happen at the edge, where the client's dialect is known; what follows
is the same for every dialect. Respond and the journal's outcome are the edge's again, through `Trail.close`.
"""

from collections.abc import AsyncIterator
from typing import Protocol

from clients.limits import Reservation
from clients.permissions import may_call, may_come_from
from clients.types import Caller, Client, RateLimit
from gateway.decided import ConcurrencyState
from gateway.errors import Refusal
from gateway.sanitise import sanitise
from gateway.trail import Trail
from providers.routing import Ask, Plan, able
from providers.stream import ProviderStream
from providers.types import (
    Capability,
    ChatReply,
    ChatRequest,
    Delta,
    EmbedReply,
    EmbedRequest,
    Event,
    FinishReason,
)

TOO_MANY = "Too many requests; slow down."


class Wanted(Protocol):
    """What every dialect's decoded body tells."""

    @property
    def provider(self) -> str | None: ...
    @property
    def model(self) -> str | None: ...


async def chat(trail: Trail, wanted: Wanted, request: ChatRequest) -> ChatReply:
    planned = choose(trail, wanted, request, "chat")
    reserve(trail)
    await record_intent(trail)
    target, reply = await trail.gateway.providers.chat(planned, request, trail.run)
    trail.answered(planned, target)
    trail.usage, trail.provider_trace_id = reply.usage, reply.trace_id
    trail.finish_reason = reply.finish_reason
    trail.note_answer(reply.content, reply.tool_calls)
    return reply


async def embed(trail: Trail, wanted: Wanted, request: EmbedRequest) -> EmbedReply:
    planned = choose(trail, wanted, request, "embed")
    reserve(trail)
    await record_intent(trail)
    target, reply = await trail.gateway.providers.embed(planned, request, trail.run)
    trail.answered(planned, target)
    trail.usage, trail.provider_trace_id = reply.usage, reply.trace_id
    return reply


def admit_stream(trail: Trail, wanted: Wanted, request: ChatRequest) -> Plan:
    """The part of a stream that fails before anything is asked of a provider."""
    planned = choose(trail, wanted, request, "chatStream")
    reserve(trail)
    return planned


async def open_stream(trail: Trail, planned: Plan, request: ChatRequest) -> ProviderStream:
    """Returns with the provider's first event; retries and the next provider are over by then."""
    await record_intent(trail)
    target, stream = await trail.gateway.providers.stream(planned, request, trail.run)
    trail.answered(planned, target)
    trail.first_event_ms = round(trail.elapsed_ms())
    return stream


async def deltas(trail: Trail, stream: ProviderStream) -> AsyncIterator[tuple[Delta, ...]]:
    """The sanitised deltas of each batch, in order; usage and the provider's id are noted on the trail."""
    chunk_chars = trail.runtime.policy.stream_chunk_chars
    async for batch in stream.batches():
        ready: tuple[Delta, ...] = ()
        for event in batch:
            _note(trail, event)
            result = sanitise(event, chunk_chars)
            if result.removed or result.dropped or result.split:
                trail.note_sanitised(result)
            ready += result.deltas
        if ready:
            yield ready


def finish_of(batch_reason: FinishReason | None, has_tool_calls: bool) -> FinishReason:
    """A provider that never said why it stopped has stopped, or called a tool."""
    return batch_reason or ("tool_calls" if has_tool_calls else "stop")


def permit(caller: Caller, method: str, peer: str) -> None:
    """Raises `Refusal` when the caller may not call `method`, or not from there."""
    if not may_come_from(caller.client, peer):
        raise Refusal("FORBIDDEN", "Address not allowed")
    permit_method(caller, method)


def permit_method(caller: Caller, method: str) -> None:
    if not may_call(caller.client, method):
        raise Refusal("FORBIDDEN", f"Client not permitted to call {method}")


def choose(trail: Trail, wanted: Wanted, request: ChatRequest | EmbedRequest, capability: Capability) -> Plan:
    """Raises `RoutingError`."""
    assert trail.caller is not None, "permit comes before choose"
    client = trail.caller.client
    trail.stage = "routing"
    trail.note_asked(request)
    ask = Ask(
        capability=capability,
        request=request,
        provider=wanted.provider,
        model=wanted.model,
        allowed_providers=client.allowed_providers,
        allowed_models=client.allowed_models,
    )
    gateway = trail.gateway
    trail.choice = gateway.choices.choose(ask, trail.runtime.catalog, gateway.observations.providers)
    planned, trail.unable = able(ask, trail.choice.require())
    return planned


def reserve(trail: Trail) -> None:
    """Counts the call against its client's limits. Raises `Refusal`."""
    assert trail.caller is not None, "permit comes before reserve"
    trail.stage = "limits"
    client = trail.caller.client
    if client.max_concurrency is not None:
        trail.entered = trail.gateway.concurrency.enter(client.tool_id, client.max_concurrency)
        trail.concurrency = ConcurrencyState(most=client.max_concurrency, granted=trail.entered)
        if not trail.entered:
            raise Refusal("RATE_LIMIT", TOO_MANY, reason="TOO_MANY_AT_ONCE")
    trail.limit = limit_of(trail, client)
    trail.reservation = trail.gateway.limiter.reserve(client.tool_id, trail.limit)
    require_granted(trail.reservation)


def look_at_limits(trail: Trail) -> None:
    """What `reserve` would say now; nothing is counted. Raises `Refusal`."""
    assert trail.caller is not None, "permit comes before the limits"
    trail.stage = "limits"
    client = trail.caller.client
    if client.max_concurrency is not None:
        free = trail.gateway.concurrency.running(client.tool_id) < client.max_concurrency
        trail.concurrency = ConcurrencyState(most=client.max_concurrency, granted=free)
        if not free:
            raise Refusal("RATE_LIMIT", TOO_MANY, reason="TOO_MANY_AT_ONCE")
    trail.limit = limit_of(trail, client)
    trail.reservation = trail.gateway.limiter.peek(client.tool_id, trail.limit)
    require_granted(trail.reservation)


def limit_of(trail: Trail, client: Client) -> RateLimit | None:
    """A client's own limit replaces the default, also when that is off."""
    return client.rate_limit if client.rate_limit is not None else trail.runtime.policy.rate_limit


def require_granted(reserved: Reservation | None) -> None:
    if reserved is not None and not reserved.granted:
        raise Refusal("RATE_LIMIT", TOO_MANY, retry_after_ms=reserved.retry_after_ms)


async def record_intent(trail: Trail) -> None:
    """From here on the call cannot vanish. Raises `JournalError`; then no provider is called."""
    trail.stage = "record"
    await trail.record_intent()
    trail.stage = "attempts"


def _note(trail: Trail, event: Event) -> None:
    if event.usage is not None:
        trail.usage = event.usage
    if event.trace_id is not None and trail.provider_trace_id is None:
        trail.provider_trace_id = event.trace_id
    if event.finish_reason is not None:
        trail.finish_reason = event.finish_reason
