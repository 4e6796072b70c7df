"""Daphne, hardened: limits while reading, deadlines for slow clients, a drain on SIGTERM, JSON errors.

Daphne as shipped buffers any body before the application sees it, never gives up on a slow client, and drops
every call in flight when it is told to stop. Nothing in the product relies on Daphne beyond this file; under
another ASGI server the application keeps its own checks (`edge/front.py`, `edge/mount.py`).
"""

import asyncio
import signal
import sys
import time
from http import HTTPStatus
from io import BytesIO
from typing import Any

from daphne import http_protocol
from daphne.server import Server
from twisted.internet import reactor
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner
from twisted.web import http

from gateway.edge.front import Front
from gateway.edge.respond import PIECE_BYTES, problem_body, problem_headers
from gateway.edge.target import read_target
from gateway.edge.unidentified import Sent, note_refusal
from gateway.errors import Problem
from gateway.flow import Flow
from gateway.lifespan import Lifespan
from gateway.runtime import new_call_id
from telemetry.logs import log
from telemetry.metrics import METRICS

HEADER_DEADLINE_S = 10
BODY_DEADLINE_S = 30
IDLE_S = 75
LINGER_S = 2
LINGER_BYTES = 16 * 1024 * 1024
CUT_GRACE_S = 2
WRITE_STALL_S = 60
MAX_HEADER_BYTES = 32 * 1024
BACKLOG = 1024
MAX_LENGTH_DIGITS = 19

BAD_FRAMING = Problem(
    code="BAD_REQUEST", message="The request is not well-formed HTTP", reason="INVALID_HTTP"
)
SLOW_HEADER = Problem(code="REQUEST_TIMEOUT", message="The request's header did not arrive in time")
SLOW_BODY = Problem(code="REQUEST_TIMEOUT", message="The request's body did not arrive in time")
TOO_LARGE = Problem(code="BODY_TOO_LARGE", message="The body is larger than this service accepts")
REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Channel(http.HTTPChannel):
    """One connection. It is idle, reading a header, reading a body, or handling a request."""

    totalHeadersSize = MAX_HEADER_BYTES
    MAX_LENGTH = MAX_HEADER_BYTES
    maxHeaders = 100

    def __init__(self) -> None:
        super().__init__()
        self._deadline: Any = None
        self._refused = False
        self._idle = False
        self._discarded = 0
        self._lingering: Any = None

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.server.channels.add(self)
        self._arm(HEADER_DEADLINE_S, SLOW_HEADER)

    def dataReceived(self, data: bytes) -> None:
        if self._refused:
            self._discard(len(data))
            return
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if self._refused:
            return
        if self._idle:
            self._idle = False
            self._arm(HEADER_DEADLINE_S, SLOW_HEADER)
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(BAD_FRAMING)

    def headerReceived(self, line: bytes) -> bool:
        if self._refused:
            return False
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and len(value.strip()) > MAX_LENGTH_DIGITS:
            self.refuse(BAD_FRAMING)
            return False
        return bool(super().headerReceived(line))

    def allHeadersReceived(self) -> None:
        if self._refused:
            return
        if self.length is not None and self.length > self.factory.server.max_body_bytes:
            self.refuse(TOO_LARGE)
            return
        self._arm(BODY_DEADLINE_S, SLOW_BODY)
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        if not self._refused:
            super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        self._disarm()
        if not self._refused:
            super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        # Before the base class: it may begin with the next pipelined request at once.
        self._idle = True
        super().requestDone(request)

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        self._disarm()
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        self.factory.server.channels.discard(self)
        super().connectionLost(reason)

    def is_idle(self) -> bool:
        """Nothing of a request is here."""
        return not self.requests and not self._handlingRequest

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(BAD_FRAMING)

    def refuse(self, problem: Problem) -> None:
        """Answers and closes. What the client still sends is read and dropped for a moment, because closing
        with unread input would reset the connection and take the answer away from the client."""
        if self._refused:
            return
        self._refused = True
        self._disarm()
        call_id = new_call_id()
        note_refusal(problem, call_id, str(getattr(self.transport.getPeer(), "host", "")), self._sent())
        body = problem_body(problem, call_id)
        self.transport.write(
            b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"x-llm-caller-call-id: %b\r\nconnection: close\r\n\r\n%b"
            % (problem.status, REASONS[problem.status], len(body), call_id.encode(), body)
        )
        self.setTimeout(None)
        half_close = getattr(self.transport, "loseWriteConnection", None)
        if half_close is not None:
            half_close()
        self._lingering = reactor.callLater(LINGER_S, self.transport.abortConnection)  # type: ignore[attr-defined]

    def _sent(self) -> Sent:
        """As far as it has come. The base class has method and target from the first line until the body is whole."""
        headers = self.requests[-1].requestHeaders.getAllRawHeaders() if self.requests else ()
        found = [(name.lower(), value) for name, values in headers for value in values]
        target = read_target(getattr(self, "_path", b"")).path
        return Sent(getattr(self, "_command", b"").decode("latin-1"), target, found)

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded > LINGER_BYTES:
            self.transport.abortConnection()

    def _arm(self, seconds: float, problem: Problem) -> None:
        self._disarm()
        self._deadline = reactor.callLater(seconds, self.refuse, problem)  # type: ignore[attr-defined]

    def _disarm(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class Request(http_protocol.WebRequest):
    """One request. Its body stays in memory, below the cap."""

    flow: Flow | None = None
    _size = 0

    def gotLength(self, length: int | None) -> None:
        self.content = BytesIO()

    def parseCookies(self) -> None:
        """Django parses them where they are wanted."""

    def handleContentChunk(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self.channel.factory.server.max_body_bytes:
            self.channel.refuse(TOO_LARGE)
        elif not self.channel._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Without the base class's parsing of forms, which Django does."""
        target = read_target(path)
        self.method, self.uri, self.clientproto = command, target.path, version
        self.path = self.uri.split(b"?", 1)[0]
        # A missing or a second Host stays wrong, whatever the target says (RFC 9112 §3.2).
        if target.host is not None and len(self.requestHeaders.getRawHeaders(b"host", ())) == 1:
            self.requestHeaders.setRawHeaders(b"host", [target.host])
        self.args: dict[bytes, list[bytes]] = {}
        # From outside, these would set the root path, or switch to WebSockets, which there are none of.
        self.requestHeaders.removeHeader(b"daphne-root-path")
        self.requestHeaders.removeHeader(b"upgrade")
        self.process()

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """The base class has no words for 422 and 429."""
        super().setResponseCode(code, message or REASONS.get(code))

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start" and self.flow is None and self.channel is not None:
            self.flow = Flow()
            self.channel.registerProducer(self.flow, True)
        super().handle_reply(message)

    def finish(self) -> None:
        if self.flow is not None and self.channel is not None:
            self.channel.unregisterProducer()
        super().finish()

    def connectionLost(self, reason: Any) -> None:  # type: ignore[override]
        if self.flow is not None:
            self.flow.open.set()
        super().connectionLost(reason)

    def basic_error(self, status: int, status_text: bytes, body: str) -> None:
        """Daphne's own errors, as JSON. Their texts are replaced: they are meant for a browser."""
        internal = Problem(code="INTERNAL_ERROR", message="Internal error.")
        problem = internal if status >= 500 else BAD_FRAMING
        if self._response_started:
            if not self.finished:
                self.channel.transport.abortConnection()
            return
        call_id = new_call_id()
        encoded = problem_body(problem, call_id)
        headers = [*problem_headers(problem, call_id), (b"content-length", b"%d" % len(encoded))]
        self.handle_reply({"type": "http.response.start", "status": problem.status, "headers": headers})
        self.handle_reply({"type": "http.response.body", "body": encoded})


class Factory(http_protocol.HTTPFactory):
    def __init__(self, server: "GatewayServer") -> None:
        super().__init__(server)
        self.timeOut = IDLE_S

    def log(self, request: Any) -> None:
        """The gateway writes its own line per call."""

    def buildProtocol(self, addr: Any) -> Channel:  # type: ignore[override]
        channel = Channel()
        channel.factory = self
        channel.timeOut = self.timeOut
        channel.callLater = reactor.callLater  # type: ignore[attr-defined]
        channel.requestFactory = Request
        return channel


class GatewayServer(Server):
    """`run()` returns when the server has drained and stopped; its value is the process's exit code."""

    def __init__(
        self, application: Any, front: Front, *, host: str, port: int, max_body_bytes: int, drain_s: float
    ) -> None:
        super().__init__(application, endpoints=["unused"], request_buffer_size=1024 * 1024, server_name="")
        self._front, self._host, self._port = front, host, port
        self.max_body_bytes, self._drain_s = max_body_bytes, drain_s
        self.channels: set[Channel] = set()
        self._port_object: Any = None
        self._stopping: asyncio.Task[None] | None = None
        self._lifespan: Lifespan = Lifespan(application)
        self._exit_code = 0

    def run(self) -> int:
        self.connections: dict[Any, dict[str, Any]] = {}
        self.http_factory = Factory(self)
        globalLogBeginner.beginLoggingTo([lambda _: None], redirectStandardIO=False, discardBuffer=True)
        loop = reactor._asyncioEventloop  # type: ignore[attr-defined]
        asyncio.set_event_loop(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, signal.Signals(number).name)
        reactor.callWhenRunning(lambda: asyncio.ensure_future(self._start()))  # type: ignore[attr-defined]
        reactor.callLater(1, self.application_checker)  # type: ignore[attr-defined]
        reactor.run(installSignalHandlers=False)  # type: ignore[attr-defined]
        return self._exit_code

    async def _start(self) -> None:
        try:
            await self._lifespan.startup()
            self._port_object = reactor.listenTCP(  # type: ignore[attr-defined]
                self._port, self.http_factory, backlog=BACKLOG, interface=self._host
            )
        except CannotListenError as error:
            self._fail(f"cannot listen on {self._host}:{self._port}: {error.socketError.strerror}")
            await self._lifespan.shutdown()
            reactor.stop()  # type: ignore[attr-defined]
            return
        except Exception as error:  # the outermost edge of the start
            self._fail(f"cannot start: {error}")
            reactor.stop()  # type: ignore[attr-defined]
            return
        log.info("Listening", metadata={"host": self._host, "port": self._port})

    def _fail(self, message: str) -> None:
        self._exit_code = 1
        print(f"llm-caller: {message}", file=sys.stderr)

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """In slices, each written when the client has read what came before: a client that reads slowly is served
        to the end, one that reads nothing for a minute is cut off."""
        body = message.get("body", b"")
        for at in range(PIECE_BYTES, len(body), PIECE_BYTES):
            part = {"type": message["type"], "body": body[at - PIECE_BYTES : at], "more_body": True}
            if not await self._write(protocol, part):
                return
        if len(body) > PIECE_BYTES:
            message = {**message, "body": body[(len(body) - 1) // PIECE_BYTES * PIECE_BYTES :]}
        await self._write(protocol, message)

    async def _write(self, protocol: Any, message: dict[str, Any]) -> bool:
        """False when the client has gone, or does not read."""
        flow = protocol.flow
        if flow is not None and not flow.open.is_set():
            try:
                async with asyncio.timeout(WRITE_STALL_S):
                    await flow.open.wait()
            except TimeoutError:
                METRICS.count("clients_not_reading")
                if protocol.channel is not None:
                    protocol.channel.transport.abortConnection()
                return False
        details = self.connections.get(protocol)
        if details is None or "disconnected" in details:
            return False
        protocol.handle_reply(message)
        return True

    def _on_signal(self, name: str) -> None:
        if self._stopping is None:
            log.info("Draining", metadata={"signal": name, "seconds": self._drain_s})
            self._stopping = asyncio.ensure_future(self._drain())
        else:
            log.warn("Stopped before the drain was over", metadata={"signal": name})
            self._cut()

    def _cut(self) -> None:
        if self._front.gateway is not None:
            self._front.gateway.cut()

    async def _drain(self) -> None:
        """New connections are refused, calls in flight go on, the rest is cut after the drain's time."""
        if self._port_object is not None:
            self._port_object.stopListening()
        gateway = self._front.gateway
        if gateway is not None:
            gateway.draining = True
        until = time.monotonic() + self._drain_s
        while time.monotonic() < until and (gateway is None or not gateway.drain_over):
            for channel in [channel for channel in self.channels if channel.is_idle()]:
                channel.loseConnection()
            if not self.channels:
                break
            await asyncio.sleep(0.05)
        if self.channels:
            self._cut()
            await self._gone(CUT_GRACE_S)
        try:
            await self._lifespan.shutdown()
            log.info("Stopped")
        except Exception as error:  # the outermost edge of the stop: whatever fails in it, it ends
            self._fail(f"did not stop well: {error}")
        reactor.stop()  # type: ignore[attr-defined]

    async def _gone(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.channels and time.monotonic() < until:
            for channel in [channel for channel in self.channels if channel.is_idle()]:
                channel.loseConnection()
            await asyncio.sleep(0.02)
        for channel in list(self.channels):
            channel.transport.abortConnection()
