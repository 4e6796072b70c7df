"""A gateway as `responses` plays it: it keeps the contract but for what a test changes."""

import json
from collections.abc import Callable
from typing import Any

import requests

URL, TOKEN = "http://gateway.test:4037", "llmc_uat-token-that-must-never-be-shown"
CALL_ID = "0190a6f2-7b1c-7d3e-8f4a-5b6c7d8e9f00"
MESSAGES = {
    "UNAUTHORIZED": "Missing client token",
    "FORBIDDEN": "Unknown client token",
    "RATE_LIMIT": "Too many requests; slow down.",
}
Body = dict[str, Any]
Change = Callable[[Body], Any]


class Played:
    """A gateway that keeps the contract but for what a test changes. `limit`: calls until a sleep."""

    def __init__(self) -> None:
        self.capabilities = ["chat", "chatStream", "embed"]
        self.changes: dict[str, Change] = {}
        self.refusals: dict[str, tuple[int, str]] = {}
        self.headers: dict[str, dict[str, str | None]] = {}
        self.events: Callable[[list[bytes]], list[bytes]] = list
        self.limit, self.counted, self.unready = 0, 0, 0
        self.seen: list[tuple[str, str]] = []
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.counted = 0

    def answer(self, request: requests.PreparedRequest) -> tuple[int, dict[str, str], bytes]:
        path = request.path_url.partition("?")[0]
        self.seen.append((str(request.method), request.path_url))
        status, body, headers = self.route(str(request.method), path, request)
        if self.is_regular(request):
            key = request.path_url if request.path_url in self.changes else path
            status, body = self.changed(key, status, body)
            headers |= self.headers.get(path, {})
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return status, {name: value for name, value in headers.items() if value is not None}, raw

    def is_regular(self, request: requests.PreparedRequest) -> bool:
        """The calls that are to succeed, told from the error rows by what they send."""
        sent = json.loads(request.body or "{}")
        odd = sent.get("provider", "lmstudio_gpu") != "lmstudio_gpu" or "model" in sent
        odd = odd or (request.method == "POST" and "requestId" not in sent)
        odd = odd or (request.method == "GET" and request.path_url == "/mcp/chat")
        token = request.headers.get("X-LLM-Caller-Token", TOKEN)
        plain = request.headers.get("Content-Type") == "text/plain"
        probe = request.path_url in ("/livez", "/readyz")
        return not (odd or plain or token != TOKEN) and (probe or "X-LLM-Caller-Token" in request.headers)

    def changed(self, path: str, status: int, body: Any) -> tuple[int, Any]:
        if path in self.refusals:
            status, code = self.refusals[path]
            return status, problem(code, MESSAGES.get(code, "What went wrong."))
        if path in self.changes and status == 200:
            replaced = self.changes[path](body)
            body = body if replaced is None else replaced
        return status, body

    def route(self, method: str, path: str, request: requests.PreparedRequest) -> tuple[int, Any, Any]:
        sent = json.loads(request.body or "{}")
        if path in ("/livez", "/readyz"):
            self.unready -= path == "/readyz"
            return (503 if path == "/readyz" and self.unready >= 0 else 200), {"status": "ok"}, json_headers()
        refused = refusal(method, path, request, sent)
        if refused is not None:
            return refused
        if method == "POST":
            self.counted += 1
            if self.limit and self.counted > self.limit:
                body = problem("RATE_LIMIT", MESSAGES["RATE_LIMIT"]) | {"retryAfterMs": 912}
                return 429, body, json_headers() | {"Retry-After": "1"}
        return self.serve(path, sent)

    def serve(self, path: str, sent: Body) -> tuple[int, Any, Any]:
        if path == "/mcp/chatStream":
            headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
            return 200, b"".join(self.events(good_events())), headers | {"X-LLM-Caller-Call-Id": CALL_ID}
        if path == "/metrics":
            headers = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
            return 200, METRICS, headers | {"X-LLM-Caller-Call-Id": CALL_ID}
        bodies: dict[str, Callable[[], Body]] = {
            "/mcp/chat": lambda: good_chat(sent),
            "/mcp/embed": lambda: good_embed(sent),
            "/mcp/models": lambda: good_models(self.capabilities),
            "/health": lambda: good_health(self.capabilities),
        }
        return 200, bodies[path](), json_headers()


METRICS = b"""# HELP llm_caller_calls_total Calls by method and outcome.
# TYPE llm_caller_calls_total counter
llm_caller_calls_total{method="chat",outcome="ok"} 2.0
llm_caller_call_duration_seconds_bucket{le="+Inf",method="chat"} 2.0
"""


def json_headers() -> dict[str, str]:
    return {"Content-Type": "application/json", "X-LLM-Caller-Call-Id": CALL_ID}


def problem(code: str, message: str, reason: str | None = None) -> Body:
    body = {"error": code, "message": message, "traceId": CALL_ID}
    return body if reason is None else body | {"reason": reason}


def refusal(method: str, path: str, request: requests.PreparedRequest, sent: Body) -> Any:
    """What the contract refuses, in its order; None when the call is good."""
    token = request.headers.get("X-LLM-Caller-Token")
    headers = json_headers()
    if path not in ("/mcp/chat", "/mcp/chatStream", "/mcp/embed", "/mcp/models", "/health", "/metrics"):
        return 404, problem("NOT_FOUND", "No such path"), headers
    if method == "POST" and request.headers.get("Content-Type") != "application/json":
        return 415, problem("UNSUPPORTED_MEDIA_TYPE", "The body must be application/json"), headers
    if token is None:
        return 401, problem("UNAUTHORIZED", "Missing client token"), headers | {"WWW-Authenticate": "Bearer"}
    if token != TOKEN:
        return 403, problem("FORBIDDEN", "Unknown client token"), headers
    if method == "GET" and path == "/mcp/chat":
        return 405, problem("METHOD_NOT_ALLOWED", "Method not allowed"), headers | {"Allow": "POST"}
    if method == "POST" and "requestId" not in sent:
        details = [{"path": "requestId", "message": "Object missing required field `requestId`"}]
        body = problem("BAD_REQUEST", "The request is not valid", "VALIDATION_FAILED")
        return 400, body | {"details": details}, headers
    if sent.get("provider", "lmstudio_gpu") != "lmstudio_gpu":
        return 404, problem("NOT_FOUND", "Unknown provider", "UNKNOWN_PROVIDER"), headers
    if "model" in sent:
        return 404, problem("NOT_FOUND", "Unknown model", "UNKNOWN_MODEL"), headers
    return None


def provider_info(capability: str, strategy: str = "capability-default", **more: Any) -> Body:
    routing = {"capability": capability, "strategy": strategy, "attempts": 1}
    return {"name": "lmstudio_gpu", "model": "gemma-3-270m", **more, "routing": routing}


def good_chat(sent: Body) -> Body:
    strategy = "caller-override" if "provider" in sent else "capability-default"
    return {
        "requestId": sent["requestId"],
        "traceId": "chatcmpl-8e2f",
        "message": {"role": "assistant", "content": "Hello there!"},
        "usage": {"inputTokens": 12, "outputTokens": 3, "totalTokens": 15},
        "providerInfo": provider_info("chat", strategy, finishReason="stop"),
    }


def good_embed(sent: Body) -> Body:
    return {
        "requestId": sent["requestId"],
        "traceId": CALL_ID,
        "vectors": [[0.25 * place, 1, -0.5] for place, _ in enumerate(sent["inputs"])],
        "usage": {"inputTokens": 8, "totalTokens": 8},
        "providerInfo": provider_info("embed"),
    }


def good_models(capabilities: list[str]) -> Body:
    defaults = dict.fromkeys(capabilities, "gemma-3-270m")
    models = [
        {"id": "gemma-3-270m", "ready": True, "defaults": capabilities},
        {"id": "other", "ready": False},
    ]
    provider = {"name": "lmstudio_gpu", "capabilities": capabilities, "defaults": defaults, "status": "ok"}
    provider |= {"scores": {"chat": 95}, "models": models}
    return {"provider": "lmstudio_gpu", "models": models, "providers": [provider]}


def good_health(capabilities: list[str]) -> Body:
    now = "2026-01-02T03:04:05.678Z"
    names = ["transport", "orchestrator", "audit", "database", "provider:lmstudio_gpu"]
    parts: list[Body] = [{"name": name, "status": "ok", "timestamp": now} for name in names]
    parts[-1]["capabilityCoverage"] = [{"capability": name, "status": "ok"} for name in capabilities]
    return {"status": "ok", "timestamp": now, "components": parts}


def event(value: Body) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta_event(**delta: str) -> bytes:
    return event({"type": "delta", "delta": delta, "traceId": "chatcmpl-8e2f"})


def good_completion(content: str = "Hello there!") -> Body:
    payload = {
        "message": {"role": "assistant", "content": content},
        "usage": {"inputTokens": 12, "outputTokens": 3, "totalTokens": 15},
        "providerInfo": provider_info("chatStream", finishReason="stop"),
    }
    return {"type": "completion", "payload": payload, "traceId": "chatcmpl-8e2f"}


def good_events() -> list[bytes]:
    """Comments, the role alone, text in pieces, the completion and the end."""
    return [
        b": keepalive\n\n",
        delta_event(role="assistant"),
        delta_event(content="Hello"),
        delta_event(content=" there!"),
        event(good_completion()),
        b"data: [DONE]\n\n",
    ]
