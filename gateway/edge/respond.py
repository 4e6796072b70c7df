"""Answers as ASGI messages. Every error body of the product is made here or by `Problem.body`."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import msgspec

from gateway.errors import Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json")
CALL_ID = b"x-llm-caller-call-id"
PIECE_BYTES = 64 * 1024
"""What is no longer than this the server writes whole or not at all, once the client has read what came before."""
encode_json = msgspec.json.Encoder().encode


async def send_body(send: Send, status: int, body: bytes, headers: Iterable[Header]) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_problem(send: Send, problem: Problem, call_id: str) -> None:
    await send_body(send, problem.status, problem_body(problem, call_id), problem_headers(problem, call_id))


def problem_body(problem: Problem, trace_id: str) -> bytes:
    return encode_json(problem.body(trace_id))


def problem_headers(problem: Problem, call_id: str) -> list[Header]:
    headers = [JSON, (CALL_ID, call_id.encode()), *problem.headers]
    if problem.retry_after_ms is not None:
        headers.append((b"retry-after", retry_after(problem.retry_after_ms)))
    if problem.code == "UNAUTHORIZED":
        headers.append((b"www-authenticate", b"Bearer"))
    return headers


def retry_after(milliseconds: int) -> bytes:
    """Whole seconds, rounded up (RFC 9110 §10.2.3 knows no fractions)."""
    return str(-(-milliseconds // 1000)).encode()
