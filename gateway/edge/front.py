"""The accept stage, before any route: Host, peer network, and for API calls the media type.

Server-neutral: what a server already enforced while reading is enforced again here where it is cheap,
so that the application is safe under any ASGI server.
"""

import re
from collections.abc import Sequence
from typing import Any

from clients.permissions import parse_address, peer_address, within
from gateway.edge.respond import Message, Receive, Scope, Send, send_problem
from gateway.edge.target import has_needless_escape
from gateway.edge.unidentified import Sent, note_refusal
from gateway.errors import Problem, Refusal, problem_for
from gateway.runtime import Gateway, Policy, new_call_id
from gateway.trail import Trail

TRAIL = "llm_caller.trail"
PEER = "llm_caller.peer"
OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""The only routes that the network rule does not cover."""
API_PREFIX = "/mcp/"
API_PATHS = frozenset({"/health", "/metrics"})
PLAYGROUND = "/admin/playground/call"
BODY_PATHS = frozenset({"/mcp/chat", "/mcp/chatStream", "/mcp/embed", PLAYGROUND})
"""The routes that take a body of JSON."""
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")
_ODD_PATH = re.compile(r"//|/\.\.?(?:/|$)|[\x00-\x1f\x7f\\]")
OUTSIDE, WHILE_DRAINING = "refused_outside", "refused_draining"
BAD_HOST = Refusal("BAD_REQUEST", "Unknown host", reason="UNKNOWN_HOST")
NOT_READY = Problem(code="OVERLOADED", message="The service is starting.", reason="STARTING")
DRAINING = Problem(
    code="OVERLOADED",
    message="The service is shutting down.",
    reason="DRAINING",
    retry_after_ms=1000,
    headers=((b"connection", b"close"),),
)


class Outside(Refusal):
    """From an address that is not allowed: counted apart from those who come with a wrong token."""


class Front:
    """ASGI middleware around all routes. `gateway` is set once the process has started."""

    def __init__(self, routes: Any) -> None:
        self._routes = routes
        self.gateway: Gateway | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _refuse_other(scope, receive, send)
            return
        gateway = self.gateway
        path = scope["path"]
        if gateway is None:
            await send_problem(send, NOT_READY, new_call_id())
            return
        try:
            accept(gateway, scope, path)
        except Refusal as refusal:
            event = OUTSIDE if isinstance(refusal, Outside) else ""
            await _refuse(gateway, scope, send, problem_for(refusal), event)
            return
        if gateway.draining and path not in OPEN_PATHS:
            await _refuse(gateway, scope, send, DRAINING, WHILE_DRAINING)
            return
        await self._routes(scope, receive, send)


async def _refuse(gateway: Gateway, scope: Scope, send: Send, problem: Problem, event: str) -> None:
    """`event`: see `note_refusal`."""
    call_id, peer, sent = new_call_id(), scope.get(PEER, ""), Sent.of(scope)
    note_refusal(problem, call_id, peer, sent, event=event, metrics=gateway.metrics, log=gateway.log)
    await send_problem(send, problem, call_id)


def accept(gateway: Gateway, scope: Scope, path: str) -> None:
    """Puts the peer's address, and for API calls a `Trail`, into the scope. Raises `Refusal`."""
    policy = gateway.runtime.policy
    hosts: list[bytes] = []
    forwarded: list[bytes] = []
    media: list[bytes] = []
    parents: list[bytes] = []
    encoded = False
    scheme = b""
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value)
        elif name == b"content-type":
            media.append(value)
        elif name == b"content-encoding":
            encoded = True
        elif name == b"x-forwarded-for":
            forwarded.append(value)
        elif name == b"x-forwarded-proto":
            scheme = value
        elif name == b"traceparent":
            parents.append(value)
    require_host(hosts, policy)
    scope[PEER] = peer = peer_of(scope, forwarded, policy)
    if _ODD_PATH.search(path) or has_needless_escape(scope.get("raw_path") or b""):
        # The router would read `//mcp/chat` and `/mcp/ch%61t` as `/mcp/chat`; only one spelling of a path is a route.
        raise Refusal("NOT_FOUND", "No such path")
    if path in OPEN_PATHS:
        scope[PEER] = ""
        return
    if encoded:
        raise Refusal("UNSUPPORTED_MEDIA_TYPE", "Content encodings are not supported")
    if path in BODY_PATHS and scope["method"] == "POST":
        require_media_type(media)
    if scheme:
        believe_scheme(scope, scheme, policy)
    require_network(peer, policy)
    if path.startswith(API_PREFIX) or path in API_PATHS:
        scope[TRAIL] = trail = Trail(gateway, peer)
        trail.join(parents)


def require_host(hosts: Sequence[bytes], policy: Policy) -> None:
    """Exactly one Host, and a known one (RFC 9112 §3.2)."""
    if len(hosts) != 1:
        raise BAD_HOST
    match = _HOST.fullmatch(hosts[0].decode("latin-1"))
    if match is None or not ("*" in policy.allowed_hosts or match[1].lower() in policy.allowed_hosts):
        raise BAD_HOST


def peer_of(scope: Scope, forwarded: Sequence[bytes], policy: Policy) -> str:
    client = scope.get("client")
    peer = client[0] if client else ""
    if forwarded and policy.trusted_proxies:
        hops = [value.decode("latin-1") for value in forwarded]
        peer = peer_address(peer, hops, policy.trusted_proxies)
    return str(peer)


def require_network(peer: str, policy: Policy) -> None:
    if not within(parse_address(peer), policy.allowed_networks):
        raise Outside("FORBIDDEN", "Loopback access only" if policy.loopback_only else "Address not allowed")


def believe_scheme(scope: Scope, scheme: bytes, policy: Policy) -> None:
    """A trusted proxy says how it was spoken to; Django then neither redirects nor withholds secure cookies."""
    client = scope.get("client")
    if client and within(parse_address(client[0]), policy.trusted_proxies):
        scope["scheme"] = "https" if scheme.strip().lower() == b"https" else "http"


def require_media_type(media: Sequence[bytes]) -> None:
    """One Content-Type, and that of JSON in UTF-8."""
    kind, _, parameters = (media[0] if len(set(media)) == 1 else b"").partition(b";")
    if kind.strip().lower() != b"application/json":
        raise Refusal("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json")
    charset = parameters.lower().partition(b"charset=")[2].strip(b'" ')
    if charset and charset.partition(b";")[0].strip(b'" ') not in (b"utf-8", b"utf8", b"us-ascii"):
        raise Refusal("UNSUPPORTED_MEDIA_TYPE", "The body must be UTF-8")


async def _refuse_other(scope: Scope, receive: Receive, send: Send) -> None:
    """There are no WebSockets here."""
    if scope["type"] == "websocket":
        message: Message = await receive()
        if message["type"] == "websocket.connect":
            await send({"type": "websocket.close", "code": 1008})
