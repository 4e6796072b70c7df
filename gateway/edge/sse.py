"""`/mcp/chatStream`: server-sent events from a Channels consumer that notices when its client leaves.

The stock consumer handles one message at a time, so it would stream on to the end. This one runs the
stream as a task beside the messages, and ends it when the connection does.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from channels.exceptions import StopConsumer
from channels.generic.http import AsyncHttpConsumer

from gateway import pipeline
from gateway.closing import STREAMED
from gateway.edge import native
from gateway.edge.front import TRAIL
from gateway.edge.identify import identify
from gateway.edge.mount import CLOSED_STATUS, DRAINED, TOO_LARGE, refused_unread
from gateway.edge.respond import CALL_ID, PIECE_BYTES, encode_json, problem_body, problem_headers
from gateway.errors import Problem, Refusal, problem_for
from gateway.sanitise import Assembly
from gateway.trail import Trail
from providers.errors import DeadlineError, UpstreamError
from providers.routing import Plan
from providers.stream import ProviderStream
from providers.types import ChatRequest, Delta, ToolCall
from telemetry.journal import JournalError

DONE = b"data: [DONE]\n\n"
KEEPALIVE = b": keepalive\n\n"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


def frame(value: Any) -> bytes:
    """One event. JSON has no raw line breaks, so nothing inside can end the frame."""
    return b"data: %b\n\n" % encode_json(value)


def _error_frame(problem: Problem, call_id: str) -> bytes:
    told = problem.body(call_id)
    return frame({key: told[key] for key in ("error", "message", "retryAfterMs", "traceId") if key in told})


class ChatStreamConsumer(AsyncHttpConsumer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._received: list[bytes] = []
        self._size = 0
        self._task: asyncio.Task[None] | None = None

    async def http_request(self, message: dict[str, Any]) -> None:
        if self._task is not None:
            return
        trail: Trail = self.scope[TRAIL]
        part = message.get("body", b"")
        self._size += len(part)
        self._received.append(part)
        if self._size > trail.runtime.policy.max_body_bytes:
            problem = problem_for(TOO_LARGE)
            refused_unread(trail, problem, self.scope)
            self._task = asyncio.ensure_future(self._refuse(trail, problem))
        elif not message.get("more_body", False):
            self._task = asyncio.ensure_future(self._run(trail, b"".join(self._received)))
            self._received = []

    async def http_disconnect(self, message: dict[str, Any]) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        raise StopConsumer

    async def _refuse(self, trail: Trail, problem: Problem) -> None:
        await self.send_response(
            problem.status,
            problem_body(problem, trail.call_id),
            headers=problem_headers(problem, trail.call_id),
        )

    async def _run(self, trail: Trail, body: bytes) -> None:
        task = asyncio.current_task()
        assert task is not None, "runs as a task of its own"
        trail.gateway.running.add(task)
        answer = StreamedAnswer(trail, self)
        try:
            try:
                await answer.run(body, self.scope)
            except Exception as error:  # the outermost edge of a call
                await answer.fail(error)
        except asyncio.CancelledError:  # also while it fails
            await answer.cut()
        finally:
            trail.gateway.running.discard(task)


Framed = Sequence[tuple[Delta, bytes]]


def _pieces(told: Framed) -> Iterator[Framed]:
    """Together no more than is sent at once, but for what is more by itself."""
    if sum([len(framed) for _, framed in told]) <= PIECE_BYTES:
        yield told
        return
    part: list[tuple[Delta, bytes]] = []
    size = 0
    for delta, framed in told:
        if part and size + len(framed) > PIECE_BYTES:
            yield part
            part, size = [], 0
        part.append((delta, framed))
        size += len(framed)
    yield part


class StreamedAnswer:
    """One stream towards one client. The status is open until the provider's first event, or until the
    commit time has passed; from then on what goes wrong is a frame.

    `_started`: the head is out. `_committed`: a client of `/mcp/chatStream` would have it.
    `_wire`: held while something is sent, so that nothing gets between its pieces.
    `_torn`: part of a frame is out, and nothing that looked like a frame could be trusted behind it.
    `_unread`: the client read too slowly for the total deadline. `_bytes_out`: those that were sent.
    `_completing`: the end is on record, and what tells the client of it is on its way.
    """

    def __init__(self, trail: Trail, consumer: AsyncHttpConsumer) -> None:
        self._trail, self._consumer = trail, consumer
        self._started = False
        self._committed = False
        self._bytes_out = 0
        self._beat: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None
        self._stream: ProviderStream | None = None
        self._assembly = Assembly()
        self._wire = asyncio.Lock()
        self._torn = self._unread = self._completing = False

    async def run(self, body: bytes, scope: Any) -> None:
        request, planned = self._admit(body, scope)
        try:
            self._stream = await self._open(planned, request)
            await self._relay(self._stream)
            await self._complete()
        finally:
            self._stop_beating()
            if self._stream is not None:
                await self._stream.close()

    def _admit(self, body: bytes, scope: Any) -> tuple[ChatRequest, Plan]:
        trail = self._trail
        caller = identify(trail, scope)
        trail.method = "chatStream"
        pipeline.permit(caller, trail.method, trail.peer)
        if scope["method"] != "POST":
            raise Refusal("METHOD_NOT_ALLOWED", "Method not allowed", headers=((b"allow", b"POST"),))
        decoded = native.decode(trail, native.ChatBody, body)
        request = decoded.request()
        return request, pipeline.admit_stream(trail, decoded, request)

    async def _open(self, planned: Plan, request: ChatRequest) -> ProviderStream:
        """Waits for the first event; past the commit time the client gets its 200 and keepalives meanwhile."""
        opening = asyncio.ensure_future(pipeline.open_stream(self._trail, planned, request))
        try:
            await asyncio.wait((opening,), timeout=self._trail.runtime.policy.stream_commit_ms / 1000)
            if not opening.done():
                await self._start()
                # Servers send the head with the first of the body, and the client should have its 200 now.
                await self._send(KEEPALIVE)
            return await opening
        except asyncio.CancelledError:
            opening.cancel()
            await asyncio.wait((opening,))
            if not opening.cancelled() and opening.exception() is None:
                await opening.result().close()
            raise

    async def _start(self) -> None:
        self._committed = True
        await self._send_head()

    async def _send_head(self) -> None:
        if self._started:
            return
        self._started = True
        headers = [*HEADERS, (CALL_ID, self._trail.call_id.encode())]
        await self._consumer.send_headers(status=200, headers=headers)
        self._arm()

    async def _relay(self, stream: ProviderStream) -> None:
        """From the first event to the last; how the provider's part of it ended is its attempt's."""
        run = self._trail.run
        try:
            await self._start()
            await self._forward(stream)
        except UpstreamError as error:
            # That the client read too slowly is not the provider's failure.
            run.stream_ended(None if self._unread else error, given_up=self._unread)
            raise
        except BaseException:
            run.stream_ended(given_up=True)
            raise
        run.stream_ended()

    async def _forward(self, stream: ProviderStream) -> None:
        async for deltas in pipeline.deltas(self._trail, stream):
            trace_id = self._trail.trace_id
            told = [(delta, self._delta_frame(delta, trace_id)) for delta in deltas]
            for part in _pieces(told):
                await self._send_by(stream.ends, b"".join([framed for _, framed in part]))
                # Of a client that leaves, what it was sent is on record.
                for delta, _ in part:
                    self._assembly.add(delta)

    async def _send_by(self, ends: float, data: bytes) -> None:
        """The total deadline also holds for a client that reads too slowly. Raises `DeadlineError`."""
        try:
            async with asyncio.timeout(max(ends - time.monotonic(), 0)):
                await self._send(data)
        except TimeoutError:
            self._unread = True
            raise DeadlineError("total") from None

    def _delta_frame(self, delta: Delta, trace_id: str) -> bytes:
        return frame(native.DeltaFrame(delta=delta, trace_id=trace_id))

    async def _complete(self) -> None:
        """The whole message and the end; the outcome is on record before they are sent."""
        trail, assembly, calls = self._trail, self._assembly, self._tool_calls()
        finish = pipeline.finish_of(trail.finish_reason, bool(calls))
        payload = native.Completion(
            message=native.encode_message(assembly.content, calls),
            usage=native.encode_usage(trail.usage),
            provider_info=native.encode_provider(trail, "chatStream", finish),
        )
        tail = frame(native.CompletionFrame(payload=payload, trace_id=trail.trace_id))
        self._close(status=200, bytes_out=self._bytes_out + len(tail) + len(DONE))
        await trail.recorded()
        self._stop_beating()
        self._completing = True
        await self._send(tail + self._end_of_stream(), more=False)

    def _tool_calls(self) -> tuple[ToolCall, ...]:
        return tuple(
            ToolCall(id=identity, name=name, arguments=arguments)
            for identity, name, arguments in self._assembly.tool_calls()
        )

    def _end_of_stream(self) -> bytes:
        """What closes a stream whose outcome is on record."""
        return DONE

    async def fail(self, error: Exception) -> None:
        """An ordinary answer while the status is open, else one error frame and the end."""
        await self._end(self._trail.problem(error))

    async def cut(self) -> None:
        """The client has gone: what had arrived is recorded. Or the drain's time is over: the client is told."""
        if self._trail.gateway.drain_over:
            await self._end(DRAINED, outcome="DRAINED")
            return
        with suppress(JournalError):  # it is counted, and there is nobody to tell
            self._close(status=CLOSED_STATUS, bytes_out=self._bytes_out, outcome="CLIENT_CLOSED")

    def _close(
        self, *, status: int, bytes_out: int, problem: Problem | None = None, outcome: str = ""
    ) -> None:
        """On record with the text that was sent, also of a stream that was cut. Raises `JournalError`."""
        self._trail.note_answer(self._assembly.content, self._tool_calls())
        self._trail.close(
            status=status, bytes_out=bytes_out, problem=problem, outcome=outcome, sent=self._bytes_out
        )

    async def _end(self, problem: Problem, outcome: str = "") -> None:
        if self._completing:  # whatever was said now would not be what is on record
            await self._send(b"", more=False)
            return
        trail = self._trail
        status = STREAMED if self._committed else problem.status
        answer = (
            _error_frame(problem, trail.call_id) if self._started else problem_body(problem, trail.call_id)
        )
        try:
            self._close(
                status=status, bytes_out=self._bytes_out + len(answer), problem=problem, outcome=outcome
            )
            await trail.recorded()
        except JournalError as error:
            problem = trail.problem(error)
            answer = _error_frame(problem, trail.call_id)
        if self._torn:
            await self._send(b"", more=False)
        elif self._started:
            await self._send(answer + self._end_of_stream(), more=False)
        else:
            await self._consumer.send_response(
                problem.status,
                problem_body(problem, trail.call_id),
                headers=problem_headers(problem, trail.call_id),
            )

    async def _send(self, data: bytes, *, more: bool = True) -> None:
        """In pieces that the server writes whole or not at all; whoever is cancelled between two has torn a frame."""
        async with self._wire:
            for end in range(PIECE_BYTES, len(data), PIECE_BYTES):
                await self._consumer.send_body(data[end - PIECE_BYTES : end], more_body=True)
                self._bytes_out += PIECE_BYTES
                self._torn = True
            rest = data if len(data) <= PIECE_BYTES else data[(len(data) - 1) // PIECE_BYTES * PIECE_BYTES :]
            await self._consumer.send_body(rest, more_body=more)
            self._bytes_out += len(rest)
            self._torn = False
        if more:
            self._arm()

    def _arm(self) -> None:
        """A comment goes out whenever nothing else has for the keepalive time."""
        if self._beat is not None:
            self._beat.cancel()
        seconds = self._trail.runtime.policy.keepalive_ms / 1000
        self._beat = asyncio.get_running_loop().call_later(seconds, self._due)

    def _due(self) -> None:
        """A client that is still reading what it was sent needs no sign of life."""
        if self._wire.locked():
            self._arm()
        else:
            self._beating = asyncio.ensure_future(self._send(KEEPALIVE))

    def _stop_beating(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        if self._beating is not None and not self._beating.done():
            self._beating.cancel()
