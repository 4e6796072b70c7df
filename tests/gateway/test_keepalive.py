"""A sign of life goes between two frames or not at all, however slowly the client reads."""

import asyncio
from types import SimpleNamespace
from typing import Any

from gateway.edge.respond import PIECE_BYTES
from gateway.edge.sse import KEEPALIVE, StreamedAnswer, frame

FRAME = frame("x" * 3 * PIECE_BYTES)


class SlowClient:
    """Takes one piece each time it is let."""

    def __init__(self) -> None:
        self.got = b""
        self.reads = asyncio.Semaphore(0)
        self.asked = asyncio.Semaphore(0)

    async def send_body(self, data: bytes, *, more_body: bool) -> None:
        assert len(data) <= PIECE_BYTES
        self.asked.release()
        await self.reads.acquire()
        self.got += data

    async def until_asked(self) -> None:
        async with asyncio.timeout(5):
            await self.asked.acquire()


def answer_to(client: SlowClient, keepalive_ms: int = 5) -> StreamedAnswer:
    policy = SimpleNamespace(keepalive_ms=keepalive_ms)
    trail: Any = SimpleNamespace(runtime=SimpleNamespace(policy=policy))
    consumer: Any = client
    return StreamedAnswer(trail, consumer)


async def past_keepalives(client: SlowClient) -> None:
    """Several of them have been due, and none was handed out."""
    try:
        async with asyncio.timeout(0.03):
            await client.asked.acquire()
    except TimeoutError:
        return
    raise AssertionError("something was sent beside what is not out yet")


async def test_a_keepalive_is_never_written_into_a_frame() -> None:
    client = SlowClient()
    answer = answer_to(client)
    answer._arm()
    sending = asyncio.ensure_future(answer._send(FRAME))
    for _ in range(4):
        await client.until_asked()
        await past_keepalives(client)
        client.reads.release()
    async with asyncio.timeout(5):
        await sending
    assert client.got == FRAME
    await client.until_asked()
    client.reads.release()
    await client.until_asked()
    assert client.got == FRAME + KEEPALIVE, "the client that has read it all is shown that it goes on"
    answer._stop_beating()


async def test_a_frame_waits_for_a_keepalive_that_is_not_read_yet() -> None:
    client = SlowClient()
    answer = answer_to(client)
    answer._arm()
    await client.until_asked()
    sending = asyncio.ensure_future(answer._send(FRAME))
    await past_keepalives(client)
    for _ in range(5):
        client.reads.release()
    async with asyncio.timeout(5):
        await sending
    assert client.got == KEEPALIVE + FRAME
    answer._stop_beating()


async def test_only_a_frame_of_which_a_part_is_out_is_torn() -> None:
    for pieces, torn in ((0, False), (1, True)):
        client = SlowClient()
        answer = answer_to(client, keepalive_ms=60_000)
        sending = asyncio.ensure_future(answer._send(FRAME))
        await client.until_asked()
        for _ in range(pieces):
            client.reads.release()
            await client.until_asked()
        sending.cancel()
        await asyncio.wait((sending,))
        assert (answer._torn, client.got) == (torn, FRAME[: pieces * PIECE_BYTES])
        answer._stop_beating()
