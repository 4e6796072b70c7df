"""The plain routes: `/livez`, `/readyz`, `/metrics`."""

import asyncio
from typing import Any

from gateway import live, pipeline
from gateway.edge.front import TRAIL, Front
from gateway.edge.identify import identify, note_failure, tokens_in
from gateway.edge.respond import (
    CALL_ID,
    JSON,
    Message,
    Receive,
    Scope,
    Send,
    encode_json,
    send_body,
    send_problem,
)
from gateway.errors import Refusal, problem_for
from gateway.runtime import new_call_id
from gateway.trail import Trail

READ_ONLY = ("GET", "HEAD")


def require_read(scope: Scope) -> None:
    if scope["method"] not in READ_ONLY:
        raise Refusal("METHOD_NOT_ALLOWED", "Method not allowed", headers=((b"allow", b"GET, HEAD"),))


class Probe:
    """`/livez`: the event loop turns. `/readyz`: the first round of probes is over and no drain has begun."""

    def __init__(self, front: Front, *, readiness: bool) -> None:
        self._front, self._readiness = front, readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            require_read(scope)
        except Refusal as refusal:
            await send_problem(send, problem_for(refusal), new_call_id())
            return
        gateway = self._front.gateway
        ready = gateway is not None and gateway.observations.complete and not gateway.draining
        ok = ready or not self._readiness
        body = encode_json({"status": "ok" if ok else "unavailable"})
        await send_body(send, 200 if ok else 503, body, [JSON])


class MetricsEndpoint:
    """With a token: by its grant of `getHealth`. Without: Django decides whether a staff member asks."""

    def __init__(self, for_staff: Any) -> None:
        self._for_staff = for_staff

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        trail: Trail = scope[TRAIL]
        try:
            # Django would ask for a CSRF token first, and whoever asks otherwise has no account to begin with.
            if not tokens_in(scope["headers"]) and scope["method"] in READ_ONLY:
                await self._for_staff(scope, receive, _noting(trail, scope, send))
                return
            caller = identify(trail, scope)
            trail.method = "getHealth"
            pipeline.permit(caller, trail.method, trail.peer)
            require_read(scope)
            accept = _accept(scope)
            # Files are read for it, and a text of some thousand lines is made: not on the event loop.
            body, kind = await asyncio.get_running_loop().run_in_executor(None, live.metrics, accept)
            trail.close(status=200, bytes_out=len(body))
        except Exception as error:  # the outermost edge of a call
            problem = trail.problem(error)
            trail.close(status=problem.status, bytes_out=0, problem=problem)
            await send_problem(send, problem, trail.call_id)
            return
        headers = [(b"content-type", kind.encode()), (CALL_ID, trail.call_id.encode())]
        await send_body(send, 200, body, headers)


def _accept(scope: Scope) -> str:
    return ",".join(value.decode("latin-1") for name, value in scope["headers"] if name == b"accept")


def _noting(trail: Trail, scope: Scope, send: Send) -> Send:
    """Who turns out to be no member of staff had no token either."""

    async def noting(message: Message) -> None:
        if message.get("status") == 401:
            note_failure(trail, scope, "missing")
        await send(message)

    return noting
