"""How a provider's stream ends: what is still read behind its end, and silence where no end is told."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from test_attempt import REQUEST, plan_of, target
from test_attempt_edges import timed

from providers.attempt import Caller, Run
from providers.egress import EgressPolicy
from providers.errors import DeadlineError
from providers.transport import Transport, open_transport
from providers.types import Event, Target

HELLO = b'data: {"choices": [{"delta": {"content": "hello"}}]}\n\n'
FINISH = b'data: {"choices": [{"delta": {"content": ""}, "finish_reason": "stop"}]}\n\n'
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}\n\n'
DONE = b"data: [DONE]\n\n"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Behind:
    """A provider on a real socket that says what it has to say, and then does `after`."""

    def __init__(self, after: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.after, self.connections, self.lost = after, 0, asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while (await reader.readuntil(b"\r\n\r\n")) and await reader.read(65536):
                writer.write(HEAD + chunk(HELLO) + chunk(FINISH) + chunk(DONE))
                await self.after(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            self.lost.set()
        finally:
            writer.close()


async def a_moment_later(writer: asyncio.StreamWriter) -> None:
    await writer.drain()
    await asyncio.sleep(0.02)
    writer.write(chunk(b""))


async def for_ever(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(chunk(b": more\n\n"))
        await writer.drain()
        await asyncio.sleep(0.01)


async def stream_from(behind: Behind, count: int) -> float:
    """How long the slowest of so many streams took, one after the other."""
    server = await asyncio.start_server(behind, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    caller, slowest = Caller(open_transport(EgressPolicy())), 0.0
    try:
        for _ in range(count):
            began = time.monotonic()
            run = Run(retry_attempts=1, started=began, total_ms=5000)
            _, stream = await caller.stream(plan_of(target("a", base_url=url)), REQUEST, run)
            assert "".join([text async for text in said(stream.batches())]) == "hello"
            await stream.close()
            slowest = max(slowest, time.monotonic() - began)
            await asyncio.wait(caller.transport._finishing)
    finally:
        await caller.transport.close()
        server.close()
        await server.wait_closed()
    return slowest


async def said(batches: AsyncIterator[list[Event]]) -> AsyncIterator[str]:
    async for batch in batches:
        for event in batch:
            yield (event.delta and event.delta.content) or ""


async def test_a_last_chunk_that_comes_late_costs_neither_the_connection_nor_time() -> None:
    behind = Behind(a_moment_later)
    await stream_from(behind, 4)
    assert behind.connections == 1


async def test_a_provider_that_never_stops_behind_its_end_is_cut_soon() -> None:
    behind = Behind(for_ever)
    assert await stream_from(behind, 1) < 0.1, "nobody waits for it"
    async with asyncio.timeout(1):
        await behind.lost.wait()


class Silent(httpx.AsyncByteStream):
    """Says these, each after its pause in seconds, and then nothing for ever."""

    def __init__(self, *pieces: tuple[float, bytes]) -> None:
        self.pieces, self.closed = pieces, False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for pause, piece in self.pieces:
            await asyncio.sleep(pause)
            yield piece
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        self.closed = True


async def heard(source: Silent, asked: Target) -> list[str]:
    caller = Caller(Transport(httpx.MockTransport(lambda _: httpx.Response(200, stream=source))))
    run = Run(retry_attempts=1, started=time.monotonic(), total_ms=10_000)
    _, stream = await caller.stream(plan_of(asked), REQUEST, run)
    try:
        return [text async for text in said(stream.batches())]
    finally:
        await stream.close()
        await caller.transport.close()
        assert source.closed


@pytest.mark.parametrize("pieces", [(HELLO, FINISH), (HELLO, FINISH, USAGE), (HELLO + FINISH,)])
async def test_silence_after_the_finish_reason_is_the_end(pieces: tuple[bytes, ...]) -> None:
    source = Silent(*((0, piece) for piece in pieces))
    assert "".join(await heard(source, timed("a", idle_ms=100))) == "hello"


async def test_after_the_finish_reason_nobody_waits_for_the_whole_idle_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("providers.stream.AFTER_FINISH_S", 0.05)
    began = time.monotonic()
    await heard(Silent((0, HELLO), (0, FINISH), (0, USAGE)), timed("a", idle_ms=1500))
    assert time.monotonic() - began < 1


async def test_a_finish_reason_that_comes_with_text_every_time_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("providers.stream.AFTER_FINISH_S", 0.05)
    early = b'data: {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}\n\n'
    source = Silent((0, early), (0.2, early), (0, FINISH), (0, DONE))
    assert "".join(await heard(source, timed("a", idle_ms=1500))) == "xx"


async def test_silence_before_any_finish_reason_is_still_a_failure() -> None:
    with pytest.raises(DeadlineError, match="IDLE_TIMEOUT"):
        await heard(Silent((0, HELLO), (0, USAGE)), timed("a", idle_ms=100))
