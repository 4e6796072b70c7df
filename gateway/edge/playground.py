"""The playground's calls: an operator calls as one of the clients, through the same pipeline as any call.

One route, one answer: server-sent events with what the client would have got, then the decision trace. With
`send` false nothing is counted, recorded or sent; the trace alone tells what would happen. Who may do so
was decided by Django when it signed the ticket (`gateway/console/playground.py`), and is asked again when the
ticket is redeemed (`player.py`).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
from django.core import signing

from clients.types import Caller, Client
from gateway import pipeline
from gateway.decided import Decided
from gateway.edge import native
from gateway.edge.front import PEER, PLAYGROUND, TRAIL, Front
from gateway.edge.player import may_play
from gateway.edge.respond import Receive, Scope, Send, send_problem
from gateway.edge.sse import DONE, ChatStreamConsumer, StreamedAnswer, frame
from gateway.errors import Problem, Refusal, problem_for
from gateway.sessions import session_of
from gateway.trail import Trail
from providers.attempt import Attempt
from providers.routing import Plan
from providers.types import ChatRequest

PATH = PLAYGROUND.removeprefix("/")
TICKET_SALT = "gateway.playground"
TICKET_S = 15
TOO_OLD = Refusal("FORBIDDEN", "The page is too old; reload it", reason="TICKET")
TOKEN_PREFIX = "playground:"  # noqa: S105 - stands in the record where other calls have a token's id
Method = Literal["chat", "chatStream", "embed"]


class Play(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What the page sends. `body`: the request exactly as the client would send it."""

    ticket: str
    tool_id: str
    method: Method
    body: msgspec.Raw
    send: bool = True

    def __repr__(self) -> str:
        return f"<a call to play as {self.tool_id!r}>"


class Trace(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was decided and done. `outcome`: as on record, or what it would be when nothing was sent."""

    type: str = "trace"
    call_id: str
    recorded: bool
    outcome: str
    decided: Decided
    attempts: tuple[Attempt, ...] = ()
    first_event_ms: int | None = None
    duration_ms: int
    problem: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(Play).decode


class UsedTickets:
    """Each ticket opens one call. Those that are past their time need not be remembered."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def take(self, ticket: str) -> bool:
        now = time.monotonic()
        self._until = {known: until for known, until in self._until.items() if until > now}
        if ticket in self._until:
            return False
        self._until[ticket] = now + TICKET_S + 1
        return True


_used = UsedTickets()


class Playground:
    """The route. Gives the call its `Trail`; everything of a gateway's call begins with one."""

    def __init__(self, front: Front) -> None:
        self._front, self._consumer = front, PlaygroundConsumer.as_asgi()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = self._front.gateway
        assert gateway is not None, "the front answers by itself until there is one"
        trail = scope[TRAIL] = Trail(gateway, scope[PEER])
        trail.join(())
        if scope["method"] != "POST":
            refusal = Refusal("METHOD_NOT_ALLOWED", "Method not allowed", headers=((b"allow", b"POST"),))
            await send_problem(send, problem_for(refusal), trail.call_id)
            return
        await self._consumer(scope, receive, send)


class PlaygroundConsumer(ChatStreamConsumer):
    async def _run(self, trail: Trail, body: bytes) -> None:
        try:
            play = await read(body, session_of(self.scope["headers"]))
            client = require_client(trail, play)
        except Exception as error:  # the outermost edge of a call that is not one yet
            await self._refuse(trail, trail.problem(error))
            return
        trail.method = play.method
        trail.caller = Caller(client=client, token_id=acting_as(play), token_hash="")
        task = asyncio.current_task()
        assert task is not None, "runs as a task of its own"
        trail.gateway.running.add(task)
        answer = PlayedAnswer(trail, self, play)
        try:
            try:
                await answer.play(self.scope)
            except Exception as error:  # the outermost edge of a call
                await answer.fail(error)
        except asyncio.CancelledError:  # also while it fails
            await answer.cut()
        finally:
            trail.gateway.running.discard(task)


async def read(body: bytes, session: str) -> Play:
    """Raises `Refusal` for a body of another shape, or without a ticket that is valid in this session."""
    try:
        play = _decode(body)
        signer(session).unsign(play.ticket, max_age=TICKET_S)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("BAD_REQUEST", "The request is not valid", reason="VALIDATION_FAILED") from None
    except signing.BadSignature:
        raise TOO_OLD from None
    if not await may_play(session, holder(play.ticket)) or not _used.take(play.ticket):
        raise TOO_OLD
    return play


def signer(session: str) -> signing.TimestampSigner:
    """The session's key is part of what is signed with, and of nothing that is sent."""
    return signing.TimestampSigner(salt=f"{TICKET_SALT}.{session}")


def holder(ticket: str) -> str:
    return ticket.rsplit(":", 3)[0]


def require_client(trail: Trail, play: Play) -> Client:
    client = trail.runtime.directory.clients.get(play.tool_id)
    if client is None:
        raise Refusal("NOT_FOUND", "There is no such client", reason="UNKNOWN_CLIENT")
    return client


def acting_as(play: Play) -> str:
    return f"{TOKEN_PREFIX}{holder(play.ticket)}"[:64]


class PlayedAnswer(StreamedAnswer):
    """The answer to the page: begun at once, because every error is part of what the page shows."""

    def __init__(self, trail: Trail, consumer: Any, play: Play) -> None:
        super().__init__(trail, consumer)
        self._play = play

    async def play(self, scope: Scope) -> None:
        body = bytes(self._play.body)
        try:
            await self._send_head()
            if not self._play.send:
                await self._simulate(body)
            elif self._play.method == "chatStream":
                await self.run(body, scope)
            else:
                await self._whole(body)
        finally:
            self._stop_beating()

    def _admit(self, body: bytes, scope: Any) -> tuple[ChatRequest, Plan]:
        self._permit()
        decoded = native.decode(self._trail, native.ChatBody, body)
        request = decoded.request()
        return request, pipeline.admit_stream(self._trail, decoded, request)

    def _permit(self) -> None:
        """Without the client's networks: they are about where it calls from, not about an operator."""
        caller = self._trail.caller
        assert caller is not None, "set before the answer is begun"
        if not caller.client.enabled:
            # Callers are told nothing of the kind; here nobody sent a token, and an operator may know.
            raise Refusal(
                "FORBIDDEN", f"The client {caller.client.tool_id} is disabled", reason="CLIENT_DISABLED"
            )
        pipeline.permit_method(caller, self._play.method)

    async def _whole(self, body: bytes) -> None:
        """Chat and embeddings: one frame with status and body as the client would get them."""
        trail = self._trail
        ask: Callable[[bytes], Awaitable[Any]] = self._chat if self._play.method == "chat" else self._embed
        try:
            self._permit()
            content, problem = await ask(body), None
        except Exception as error:  # what the client would be told
            trail.note_answer()  # nothing of one is sent
            problem = trail.problem(error)
            content = problem.body(trail.call_id)
        told = frame({"type": "answer", "status": problem.status if problem else 200, "body": content})
        trail.close(status=problem.status if problem else 200, bytes_out=len(told), problem=problem)
        await trail.recorded()
        await self._send(told + self._end_of_stream(), more=False)

    async def _chat(self, body: bytes) -> native.ChatAnswer:
        decoded = native.decode(self._trail, native.ChatBody, body)
        return native.chat_answer(self._trail, await pipeline.chat(self._trail, decoded, decoded.request()))

    async def _embed(self, body: bytes) -> native.EmbedAnswer:
        decoded = native.decode(self._trail, native.EmbedBody, body)
        return native.embed_answer(self._trail, await pipeline.embed(self._trail, decoded, decoded.request()))

    async def _simulate(self, body: bytes) -> None:
        trail = self._trail
        problem: Problem | None = None
        try:
            self._permit()
            kind: type[native.ChatBody] | type[native.EmbedBody]
            kind = native.EmbedBody if self._play.method == "embed" else native.ChatBody
            decoded = native.decode(trail, kind, body)
            pipeline.choose(trail, decoded, decoded.request(), self._play.method)
            pipeline.look_at_limits(trail)
        except Exception as error:  # what the client would be told
            problem = trail.problem(error)
        trail.outcome, trail.refusal = problem.code if problem else "ok", problem
        await self._send(self._trace(recorded=False) + DONE, more=False)

    def _end_of_stream(self) -> bytes:
        return self._trace(recorded=True) + DONE

    def _trace(self, *, recorded: bool) -> bytes:
        trail = self._trail
        return frame(
            Trace(
                call_id=trail.call_id,
                recorded=recorded,
                outcome=trail.outcome,
                decided=trail.decided(trail.outcome),
                attempts=tuple(trail.run.attempts),
                first_event_ms=trail.first_event_ms,
                duration_ms=round(trail.elapsed_ms()),
                problem=trail.refusal.body(trail.call_id) if trail.refusal else None,
            )
        )
