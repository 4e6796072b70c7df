"""From a request's headers to its caller: the one place that reads tokens."""

from collections.abc import Iterable

from clients.types import Caller
from gateway.edge.respond import Header
from gateway.errors import Refusal
from gateway.trail import Trail

TOKEN_HEADER = b"x-llm-caller-token"
MAX_TOKEN_BYTES = 4096


def identify(trail: Trail, headers: Iterable[Header]) -> Caller:
    """Raises `Refusal`: no token, two tokens, an unknown one, or too many failures from this address."""
    token = find_token(headers)
    if token is None:
        raise Refusal("UNAUTHORIZED", "Missing client token")
    caller = trail.runtime.directory.identify(token)
    if caller is None:
        raise _unknown(trail, token)
    trail.caller = caller
    return caller


def find_token(headers: Iterable[Header]) -> str | None:
    """The token, or None. Raises `Refusal` when the request carries two different ones."""
    found: set[bytes] = set()
    for name, value in headers:
        if name == TOKEN_HEADER:
            found.add(value.strip())
        elif name == b"authorization":
            scheme, _, credentials = value.strip().partition(b" ")
            if scheme.lower() == b"bearer":
                found.add(credentials.strip())
    found.discard(b"")
    if len(found) > 1:
        raise Refusal("BAD_REQUEST", "Two different client tokens", reason="AMBIGUOUS_TOKEN")
    return next(iter(found)).decode("utf-8", "surrogateescape") if found else None


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
