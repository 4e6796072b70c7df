"""Mounts a DRF view in Channels' router without Django's request handler, which would enter threads.

Reads the body, builds Django's request from the scope, awaits the view, sends what it returned; and
gives the call up when the client goes away first.
"""

import asyncio
from collections.abc import Awaitable, Callable
from io import BytesIO
from typing import cast

from django.core.exceptions import TooManyFieldsSent
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.functional import cached_property

from gateway.edge.front import TRAIL
from gateway.edge.respond import Receive, Scope, Send, problem_body, problem_headers, send_body, send_problem
from gateway.edge.unidentified import Sent, note_refusal
from gateway.errors import Problem, Refusal, problem_for
from gateway.trail import Trail
from telemetry.journal import JournalError

TOO_LARGE = Refusal(
    "BODY_TOO_LARGE", "The body is larger than this service accepts", headers=((b"connection", b"close"),)
)
DRAINED = Problem(code="OVERLOADED", message="The service is shutting down.", reason="DRAINED")
WATCH_AFTER_S = 0.05
CLOSED_STATUS = 499
"""Recorded, never sent: the client closed the connection (nginx's number for it)."""
View = Callable[[HttpRequest], Awaitable[HttpResponse]]


class ClientGone(Exception):
    """The client closed the connection before its request was whole."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """Raises `Refusal` past `limit` bytes and `ClientGone` when the client leaves."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise TOO_LARGE
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def refused_unread(trail: Trail, problem: Problem, scope: Scope) -> None:
    """Notes it. A server that enforces the cap by itself does so before it comes to this."""
    gateway = trail.gateway
    sent = Sent.of(scope)
    note_refusal(problem, trail.call_id, trail.peer, sent, metrics=gateway.metrics, log=gateway.log)


class MountedView:
    """An ASGI application around one view."""

    def __init__(self, view: View) -> None:
        self._view = view

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trail: Trail = scope[TRAIL]
        try:
            body = await read_body(receive, trail.runtime.policy.max_body_bytes)
        except ClientGone:
            return
        except Refusal as refusal:
            problem = problem_for(refusal)
            refused_unread(trail, problem, scope)
            await send_problem(send, problem, trail.call_id)
            return
        task = cast("asyncio.Task[object]", asyncio.current_task())
        watch = Watch(receive, task)
        trail.gateway.running.add(task)
        try:
            response = await self._view(CallRequest(scope, body))
        except asyncio.CancelledError:
            await _cancelled(trail, send)
            return
        finally:
            trail.gateway.running.discard(task)
            watch.stop()
        await send_body(send, response.status_code, response.content, _headers(response))


class Watch:
    """Cancels a call whose client leaves. Begins after a moment: most fast calls end before it costs anything."""

    __slots__ = ("_listening", "_receive", "_task", "_timer")

    def __init__(self, receive: Receive, task: "asyncio.Task[object]") -> None:
        self._receive, self._task = receive, task
        self._listening: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_AFTER_S, self._begin)

    def _begin(self) -> None:
        self._listening = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self._task.cancel()

    def stop(self) -> None:
        self._timer.cancel()
        if self._listening is not None:
            self._listening.cancel()


class CallRequest(HttpRequest):
    """Django's request with what a DRF view of ours reads, and nothing built that it does not."""

    def __init__(self, scope: Scope, body: bytes) -> None:
        self.scope = scope
        self.method = scope["method"]
        self.path = self.path_info = scope["path"]
        # DRF takes no length, and a length of 0, for "nothing to parse"; an empty body is to be refused as JSON.
        self.META = {"CONTENT_LENGTH": str(len(body) or 1), "CONTENT_TYPE": "application/json"}
        self._stream = BytesIO(body)
        self._read_started = False

    @cached_property
    def GET(self) -> QueryDict:
        """Raises `Refusal` for more parameters than Django reads."""
        try:
            return QueryDict(self.scope["query_string"], encoding="utf-8")
        except TooManyFieldsSent:
            raise Refusal("BAD_REQUEST", "Too many query parameters", reason="VALIDATION_FAILED") from None


def _headers(response: HttpResponse) -> list[tuple[bytes, bytes]]:
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in response.items()
        if name != "Content-Length"
    ]


async def _cancelled(trail: Trail, send: Send) -> None:
    """The client has gone, or the drain's time is over."""
    trail.note_answer()  # nothing of one was sent
    drained = trail.gateway.drain_over
    problem = DRAINED if drained else None
    try:
        trail.close(
            status=DRAINED.status if drained else CLOSED_STATUS,
            bytes_out=0,
            problem=problem,
            outcome="DRAINED" if drained else "CLIENT_CLOSED",
        )
        if drained:
            await trail.recorded()
    except JournalError as error:
        problem = trail.problem(error) if drained else None
    if problem is not None:
        await send_body(
            send,
            problem.status,
            problem_body(problem, trail.call_id),
            [*problem_headers(problem, trail.call_id), (b"connection", b"close")],
        )
