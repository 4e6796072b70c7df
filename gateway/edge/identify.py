"""From a request's headers to its caller: the one place that reads tokens."""

import time
from collections.abc import Iterable

from clients.types import Caller
from gateway.edge.respond import Header, Scope
from gateway.errors import Refusal
from gateway.trail import Trail

TOKEN_HEADER = b"x-llm-caller-token"


def identify(trail: Trail, scope: Scope) -> Caller:
    """Raises `Refusal`: no token, two tokens, an unknown one, or too many failures from this address."""
    found = tokens_in(scope["headers"])
    if len(found) > 1:
        note_failure(trail, scope, "ambiguous")
        raise Refusal("BAD_REQUEST", "Two different client tokens", reason="AMBIGUOUS_TOKEN")
    if not found:
        note_failure(trail, scope, "missing")
        raise Refusal("UNAUTHORIZED", "Missing client token")
    token = found.pop().decode("utf-8", "surrogateescape")
    caller = trail.runtime.directory.identify(token)
    if caller is None:
        note_failure(trail, scope, trail.runtime.directory.why_not(token))
        raise _unknown(trail, token)
    trail.caller, trail.presented = caller, token
    return caller


def tokens_in(headers: Iterable[Header]) -> set[bytes]:
    """The different tokens that a request carries."""
    found: set[bytes] = set()
    for name, value in headers:
        if name == TOKEN_HEADER:
            found.add(value.strip())
        elif name == b"authorization":
            scheme, _, credentials = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                found.add(credentials.strip())
    found.discard(b"")
    return found


def note_failure(trail: Trail, scope: Scope, kind: str) -> None:
    """`kind` is on record, whatever the client is told."""
    trail.gateway.metrics.count(f"failed_authentication_{kind}")
    trail.gateway.failed_authentication.note(
        address=trail.peer or "unknown", kind=kind, route=scope["path"], now=time.time()
    )


def _unknown(trail: Trail, token: str) -> Refusal:
    gateway = trail.gateway
    retry_after_ms = gateway.failures.note(trail.peer)
    gateway.metrics.count("token_failures")
    if retry_after_ms is None:
        return Refusal("FORBIDDEN", "Unknown client token")
    gateway.log.warn(
        "Too many failed tokens",
        trace_id=trail.call_id,
        metadata={
            "peer": trail.peer,
            "tokenHash": trail.runtime.directory.token_hash(token),
            "retryAfterMs": retry_after_ms,
        },
    )
    return Refusal("RATE_LIMIT", "Too many requests; slow down.", retry_after_ms=retry_after_ms)
