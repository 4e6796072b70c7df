"""Calls that work as pasted: one method, one token, in curl and in Python. Pure."""

import json
import shlex
from collections.abc import Collection
from typing import Any, NamedTuple

PREFERRED = ("chat", "chatStream", "embed", "models", "getHealth")
PATHS = {
    "chat": "/mcp/chat",
    "chatStream": "/mcp/chatStream",
    "embed": "/mcp/embed",
    "models": "/mcp/models",
    "getHealth": "/health",
}
WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
HEADER = "X-LLM-Caller-Token"


class Snippets(NamedTuple):
    method: str
    curl: str
    python: str


def base_url(public_url: str, host: str, port: int) -> str:
    """Where clients reach the gateway. A wildcard is no address to call; this machine's own stands for it."""
    if public_url:
        return public_url.rstrip("/")
    host = WILDCARDS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def snippets(methods: Collection[str], token: str, tool_id: str, url: str) -> Snippets | None:
    """For the most telling method that the client may call. None when it may call nothing."""
    method = next((name for name in PREFERRED if name in methods), None)
    if method is None:
        return None
    body, address = _body(method, tool_id), url + PATHS[method]
    return Snippets(method, _curl(address, token, body, method), _python(address, token, body, method))


def _body(method: str, tool_id: str) -> dict[str, Any] | None:
    if method in ("models", "getHealth"):
        return None
    envelope = {"requestId": "first-call", "callerTool": tool_id}
    if method == "embed":
        return envelope | {"inputs": ["Hello!"]}
    # Bounded: a small local model may go on for minutes when nothing stops it.
    return envelope | {"maxTokens": 40, "messages": [{"role": "user", "content": "Hello!"}]}


def _curl(address: str, token: str, body: dict[str, Any] | None, method: str) -> str:
    flags = "-sSN" if method == "chatStream" else "-sS"
    lines = [f"curl {flags} {shlex.quote(address)}", f"  -H {shlex.quote(f'{HEADER}: {token}')}"]
    if body is not None:
        lines.append("  -H 'Content-Type: application/json'")
        lines.append(f"  -d {shlex.quote(json.dumps(body))}")
    return " \\\n".join(lines)


def _python(address: str, token: str, body: dict[str, Any] | None, method: str) -> str:
    verb, stream = ("get" if body is None else "post"), method == "chatStream"
    lines = ["import requests", "", f"answer = requests.{verb}(", f"    {address!r},"]
    lines.append(f"    headers={{{HEADER!r}: {token!r}}},")
    if body is not None:
        lines.append(f"    json={body!r},")
    lines += ["    stream=True,"] * stream + ["    timeout=120,", ")"]
    if stream:
        lines += ["for line in answer.iter_lines():", "    print(line.decode())"]
    else:
        lines.append("print(answer.status_code, answer.json())")
    return "\n".join(lines)
