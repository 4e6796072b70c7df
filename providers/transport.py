"""The only file that opens sockets: httpx requests handed straight to the aiohttp engine.

Errors leave here as `UpstreamError` or `DeadlineError`. The engine reports refused connections, DNS
failures and resets all as one httpx exception, so they are told apart by its `__cause__`.
"""

import asyncio
import socket
import zlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from providers.egress import EgressPolicy
from providers.errors import DeadlineError, UpstreamError
from providers.names import LookUp, Names

MAX_ANSWER_BYTES = 64 * 1024 * 1024
INFLATE_BYTES = 64 * 1024
"""How much a compressed body may grow by before whoever reads it has counted it."""
REST_S = 0.1
REST_BYTES = 64 * 1024
"""How long, and how much, of a stream is read behind its end, so that its connection can serve the next call."""
_GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS

EGRESS_REFUSED = "address not allowed for providers"


class EgressRefused(OSError):
    """The resolved address is one that providers may not be reached at.

    Always the same text: when all of a name's addresses are refused, the dialler then raises the first.
    """

    def __init__(self) -> None:
        super().__init__(EGRESS_REFUSED)


class Transport:
    """One per process, built on its event loop, closed on drain.

    `engine` is the seam: tests hand in an `httpx.MockTransport`.
    """

    def __init__(self, engine: httpx.AsyncBaseTransport) -> None:
        self._engine = engine
        self._finishing: set[asyncio.Task[None]] = set()

    async def send(self, request: httpx.Request, *, connect_ms: int, head_ms: float) -> httpx.Response:
        """Returns once the response's head is there; the body is still to be read.

        Raises `DeadlineError("connect" | "firstEvent")` and `UpstreamError`, also for a URL or a header that
        cannot be sent at all.
        """
        # For the engine, `connect` is the socket alone; `pool` is all until there is a connection, the name included.
        connect_s = connect_ms / 1000
        request.extensions["timeout"] = {"connect": connect_s, "pool": connect_s, "read": None}
        try:
            async with asyncio.timeout(head_ms / 1000):
                response = await self._engine.handle_async_request(request)
        except TimeoutError:
            raise DeadlineError("firstEvent") from None
        except (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, ValueError) as error:
            raise classify(error) from None
        if 300 <= response.status_code < 400:
            await close(response)
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_REDIRECT", status=response.status_code)
        return response

    def finish(self, response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
        """Beside everything else, closes the response of a stream that has said its last, once its body has ended:
        the last chunk is often a moment behind the last event. `chunks`: as `stream_body` gave them."""
        task = asyncio.ensure_future(_finish(response, chunks))
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def close(self) -> None:
        if self._finishing:
            await asyncio.wait(self._finishing)
        await self._engine.aclose()


async def _finish(response: httpx.Response, chunks: AsyncIterator[bytes]) -> None:
    size = 0
    try:
        async with asyncio.timeout(REST_S):
            async for chunk in chunks:
                size += len(chunk)
                if size > REST_BYTES:
                    break
    except (TimeoutError, UpstreamError):
        pass  # its connection serves no other call then
    finally:
        await close(response)


async def stream_body(response: httpx.Response) -> AsyncIterator[bytes]:
    """Chunks as they arrive, decompressed where a provider compressed unasked. The caller closes the response."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    chunks = _raw(response)
    if encoding in ("", "identity"):
        async for chunk in chunks:
            yield chunk
    elif encoding in ("gzip", "x-gzip", "deflate"):
        async for chunk in _inflated(chunks):
            yield chunk
    else:
        raise UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE")


async def _raw(response: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.stream:  # type: ignore[union-attr]  # the engine's stream is async
            yield chunk
    except (httpx.HTTPError, aiohttp.ClientError) as error:
        raise classify(error) from None


async def _inflated(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """In small pieces, so that a bomb meets the reader's cap before it meets the memory."""
    inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        async for chunk in chunks:
            pending = chunk
            while pending:
                piece = inflater.decompress(pending, INFLATE_BYTES)
                if piece:
                    yield piece
                pending = inflater.unconsumed_tail
    except zlib.error:
        raise UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE") from None


async def close(response: httpx.Response) -> None:
    """Ends the exchange: an unread body means the connection is cut, which stops the provider's work."""
    try:
        await response.stream.aclose()  # type: ignore[union-attr]
    except (httpx.HTTPError, aiohttp.ClientError):
        return


def classify(error: Exception) -> UpstreamError:
    """Which of our errors an engine error stands for."""
    cause = error.__cause__ if isinstance(error, httpx.HTTPError) else error
    if isinstance(cause, aiohttp.ClientConnectorError) and EGRESS_REFUSED in str(cause.os_error):
        return UpstreamError("CONFIG", reason="EGRESS_REFUSED")
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return DeadlineError("connect")
    if isinstance(cause, aiohttp.ClientConnectorDNSError):
        return UpstreamError("TEMPORARY", reason="UPSTREAM_DNS_FAILURE")
    if isinstance(cause, aiohttp.ClientSSLError):
        return UpstreamError("TEMPORARY", reason="UPSTREAM_TLS_FAILURE")
    if isinstance(cause, aiohttp.ClientConnectorError):
        return UpstreamError("TEMPORARY", reason="UPSTREAM_UNREACHABLE")
    if isinstance(
        cause, httpx.UnsupportedProtocol | httpx.InvalidURL | aiohttp.InvalidURL | UnicodeError
    ) or isinstance(error, httpx.UnsupportedProtocol):
        return UpstreamError("CONFIG", reason="BASE_URL_INVALID")
    if isinstance(cause, ValueError) and not isinstance(cause, aiohttp.ClientError):
        return UpstreamError("CONFIG", reason="REQUEST_NOT_SENDABLE")
    if isinstance(cause, aiohttp.ClientResponseError | aiohttp.ClientPayloadError):
        return UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE")
    if isinstance(error, httpx.TimeoutException) and not isinstance(cause, aiohttp.ClientConnectionError):
        return DeadlineError("connect")
    return UpstreamError("TEMPORARY", reason="UPSTREAM_DISCONNECTED")


def open_transport(egress: EgressPolicy, *, look_up: LookUp = socket.getaddrinfo) -> Transport:
    """Needs a running event loop. There is no limit of connections."""

    def guarded_socket(info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        if not egress.permits(str(address[0])):
            raise EgressRefused
        return socket.socket(family=family, type=kind, proto=protocol)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=30,
            ttl_dns_cache=10,
            resolver=Names(look_up),
            socket_factory=guarded_socket,
        )
        return aiohttp.ClientSession(
            connector=connector,
            # Streams and short answers gain little from compression, and would have to be undone here.
            headers={"Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            skip_auto_headers=("User-Agent",),
            max_line_size=32 * 1024,
            max_field_size=32 * 1024,
            trust_env=False,
        )

    return Transport(AiohttpTransport(client=session, trust_env=False))
