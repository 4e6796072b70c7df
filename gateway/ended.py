"""What is told of a call that has ended: its line in the log, and what the exporter of spans is given."""

from typing import TYPE_CHECKING, Any

from providers.trace import Trace
from telemetry.logs import Level
from telemetry.spans import EndedCall

if TYPE_CHECKING:
    from gateway.trail import Trail

DISPATCH_FAILED = {
    "chat": "Chat dispatch failed",
    "chatStream": "Stream dispatch failed",
    "embed": "Embed dispatch failed",
}
COMPLETED = {
    "chat": "chat request completed",
    "chatStream": "chatStream completed",
    "embed": "embed request completed",
}
QUIET = frozenset({"models", "getHealth"})
CLIENT_ERRORS = frozenset({"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED"})


def log_end(trail: "Trail", duration_ms: float) -> None:
    """Writes the one line of the call (contract §5)."""
    level, message = _words(trail)
    metadata = _metadata(trail, duration_ms)
    trail.gateway.log.write(
        level, message, request_id=trail.request_id, trace_id=trail.trace_id, metadata=metadata
    )


def _words(trail: "Trail") -> tuple[Level, str]:
    method, outcome = trail.method, trail.outcome
    if outcome == "ok":
        return "debug" if method in QUIET else "info", COMPLETED.get(method, f"{method} request completed")
    if outcome == "RATE_LIMIT" and not trail.run.attempts:
        return "warn", "Rate limit exceeded"
    if outcome == "CLIENT_CLOSED":
        return "info", f"{method} closed by the client"
    if outcome in CLIENT_ERRORS:
        return "warn", f"{method} request refused"
    return "error", DISPATCH_FAILED.get(method, f"{method} failed")


def _metadata(trail: "Trail", duration_ms: float) -> dict[str, Any]:
    outcome, problem = trail.outcome, trail.refusal
    caller, attempts = trail.caller, trail.run.attempts
    assert caller is not None, "only identified calls are logged"
    metadata: dict[str, Any] = {
        "callId": trail.call_id,
        "toolId": caller.client.tool_id,
        "callerTool": trail.claimed_tool,
        "method": trail.method,
        "provider": attempts[-1].provider if attempts else None,
        "model": attempts[-1].model if attempts else None,
        "strategy": trail.strategy or None,
        "retries": max(len(attempts) - 1, 0),
        "durationMs": round(duration_ms, 1),
    }
    if problem is not None:
        metadata |= {"code": outcome, "reason": problem.reason, "retryAfterMs": problem.retry_after_ms}
    if outcome == "RATE_LIMIT" and not attempts:
        metadata["tokenHash"] = caller.token_hash
    if trail.reservation is not None:
        metadata["rateLimit"] = {
            "limit": trail.reservation.limit,
            "remaining": trail.reservation.remaining,
        }
    return metadata


def ended_call(trail: "Trail", trace: Trace, duration_ms: float) -> EndedCall:
    """The call as its span tells it, in `trace`."""
    assert trail.caller is not None, "only identified calls are exported"
    known, gateway = trail.runtime.catalog.providers, trail.gateway
    attempts = trail.run.attempts
    return EndedCall(
        method=trail.method,
        call_id=trail.call_id,
        tool_id=trail.caller.client.tool_id,
        outcome=trail.outcome,
        status=trail.status,
        started_at=trail.started_at,
        duration_ms=duration_ms,
        trace_id=trace.trace_id,
        parent=trace.parent,
        span=trace.span,
        sampled=trace.sampled,
        attempts=attempts,
        began=[(span, trail.started_at + at - trail.started) for span, at in trail.run.began],
        kinds={a.provider: known[a.provider].kind for a in attempts if a.provider in known},
        labels=gateway.metrics.labels_of(attempts[-1], gateway.offers) if attempts else ("", ""),
        first_event_ms=trail.first_event_ms,
        input_tokens=trail.usage.input_tokens,
        output_tokens=trail.usage.output_tokens,
        tokens_reported=trail.usage.reported,
        finish_reason=trail.finish_reason,
    )
