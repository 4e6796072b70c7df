"""The edges of attempts: deadlines that no trickle can stretch, providers that are not called, calls given up."""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from test_attempt import OK, REQUEST, Stage, plan_of, target

from providers.attempt import Caller, Run
from providers.errors import UpstreamError
from providers.stream import ProviderStream
from providers.transport import MAX_ANSWER_BYTES, Transport
from providers.types import Target

EVENT = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
COMMENT = b": ping\n\n"


def timed(name: str, **timeouts: int) -> Target:
    one = target(name)
    changed = msgspec.structs.replace(one.provider.timeouts, **timeouts)
    return msgspec.structs.replace(one, provider=msgspec.structs.replace(one.provider, timeouts=changed))


class Trickle(httpx.AsyncByteStream):
    """Sends one piece every `gap` seconds."""

    def __init__(self, pieces: list[bytes], gap: float) -> None:
        self.pieces, self.gap = pieces, gap

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            await asyncio.sleep(self.gap)
            yield piece


async def streamed(pieces: list[bytes], gap: float, asked: Target) -> tuple[str, float]:
    """The reason that reading the stream to its end failed with, and after how many seconds."""

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=Trickle(pieces, gap))

    began = time.monotonic()
    caller = Caller(Transport(httpx.MockTransport(answer)))
    run = Run(retry_attempts=1, started=began, total_ms=5000)
    stream: ProviderStream | None = None
    try:
        _, stream = await caller.stream(plan_of(asked), REQUEST, run)
        async for _ in stream.batches():
            pass
    except UpstreamError as error:
        return str(error.reason), time.monotonic() - began
    finally:
        if stream is not None:
            await stream.close()
    raise AssertionError("the stream ended well")


async def test_comments_do_not_stretch_the_wait_for_the_first_event() -> None:
    reason, seconds = await streamed([COMMENT] * 200, 0.02, timed("a", first_event_ms=200))
    assert reason == "FIRST_EVENT_TIMEOUT"
    assert seconds < 0.5


async def test_comments_do_not_stretch_the_silence_between_events() -> None:
    reason, seconds = await streamed([EVENT, *[COMMENT] * 200], 0.02, timed("a", idle_ms=200))
    assert reason == "IDLE_TIMEOUT"
    assert seconds < 0.6


async def test_an_event_that_says_nothing_is_no_silence() -> None:
    pieces = [EVENT, *[b"data: {}\n\n"] * 20]
    reason, seconds = await streamed(pieces, 0.02, timed("a", idle_ms=150))
    assert reason == "UPSTREAM_DISCONNECTED"
    assert seconds > 0.4


async def test_a_body_may_come_as_late_as_a_first_event_when_its_head_came_at_once() -> None:
    whole = msgspec.json.encode(OK)
    stage = Stage(a=[httpx.Response(200, stream=Trickle([whole], 0.3))])
    _, reply = await stage.chat(timed("a", idle_ms=100, first_event_ms=1000))
    assert reply.content == "hi"
    stage = Stage(a=[httpx.Response(200, stream=Trickle([whole[:5], whole[5:]], 0.3))] * 2)
    error = await stage.failure(timed("a", idle_ms=100, first_event_ms=1000))
    assert error.reason == "IDLE_TIMEOUT"


async def silent() -> httpx.Response:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_provider_s_own_total_ends_its_part_and_the_next_is_asked() -> None:
    stage = Stage(a=[silent], b=[200])
    answered, _ = await stage.chat(timed("a", total_ms=50), target("b"))
    assert answered.provider.name == "b"
    assert [attempt.reason for attempt in stage.run.attempts] == ["TOTAL_TIMEOUT", None]


async def test_what_earlier_providers_took_is_not_taken_from_a_provider_s_own_total() -> None:
    stage = Stage(a=[silent, silent], b=[200])
    answered, _ = await stage.chat(timed("a", first_event_ms=80), timed("b", total_ms=100))
    assert answered.provider.name == "b"


async def test_a_provider_may_be_given_longer_than_the_rest() -> None:
    async def slow() -> int:
        await asyncio.sleep(0.2)
        return 200

    stage = Stage(a=[slow])
    stage.run = Run(retry_attempts=1, started=time.monotonic(), total_ms=50)
    answered, _ = await stage.chat(timed("a", first_event_ms=1000, total_ms=1000))
    assert answered.provider.name == "a"


async def test_a_busy_provider_is_no_attempt_and_the_next_is_asked() -> None:
    stage = Stage(a=[silent], b=[200])
    caller = Caller(Transport(httpx.MockTransport(stage.answer)))
    narrow = timed("a", first_event_ms=100)
    narrow = msgspec.structs.replace(
        narrow, provider=msgspec.structs.replace(narrow.provider, max_concurrency=1)
    )
    first = asyncio.ensure_future(
        caller.chat(plan_of(narrow), REQUEST, Run(retry_attempts=1, started=time.monotonic(), total_ms=90))
    )
    await asyncio.sleep(0.01)
    quick = msgspec.structs.replace(
        narrow,
        provider=msgspec.structs.replace(
            narrow.provider, timeouts=msgspec.structs.replace(narrow.provider.timeouts, first_event_ms=20)
        ),
    )
    answered, _ = await caller.chat(plan_of(quick, target("b")), REQUEST, stage.run)
    assert answered.provider.name == "b"
    assert [attempt.provider for attempt in stage.run.attempts] == ["b"]
    with pytest.raises(UpstreamError):
        await first
    assert stage.asked == ["a", "b"]


async def test_a_call_given_up_is_noted_with_whom_it_was_asking() -> None:
    stage = Stage(a=[silent])
    asking = asyncio.ensure_future(stage.chat(target("a")))
    await asyncio.sleep(0.02)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [(one.provider, one.classification) for one in stage.run.attempts] == [("a", "CANCELLED")]


async def test_an_attempt_that_met_a_defect_of_ours_is_noted() -> None:
    async def defect() -> int:
        raise ZeroDivisionError

    stage = Stage(a=[defect])
    with pytest.raises(ZeroDivisionError):
        await stage.chat(target("a"))
    assert [(one.provider, one.classification) for one in stage.run.attempts] == [("a", "INTERNAL_ERROR")]


async def test_a_provider_that_cannot_be_addressed_does_not_stop_the_next() -> None:
    for url in ("http://xn--zz/v1", "http://☃.net/v1"):
        stage = Stage(b=[200])
        answered, _ = await stage.chat(target("odd", base_url=url), target("b"))
        assert answered.provider.name == "b", url
        assert stage.run.attempts[0].classification == "CONFIG", url


@pytest.mark.parametrize("status", [400, 401])
async def test_a_request_at_fault_or_a_refused_key_is_told_at_once(status: int) -> None:
    stage = Stage(a=[status])
    error = await stage.failure(target("a"), target("b"))
    assert error.classification == ("PERMANENT" if status == 400 else "AUTH")
    assert stage.asked == ["a"]


def compressed(encoding: str, body: bytes) -> httpx.Response:
    data = gzip.compress(body) if encoding == "gzip" else zlib.compress(body)
    return httpx.Response(
        200, headers={"content-encoding": encoding}, stream=Trickle([data[:9], data[9:]], 0)
    )


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_an_answer_compressed_unasked_is_read(encoding: str) -> None:
    stage = Stage(a=[compressed(encoding, msgspec.json.encode(OK))])
    _, reply = await stage.chat(target("a"))
    assert reply.content == "hi"


async def test_a_compressed_bomb_meets_the_cap() -> None:
    bomb = compressed("gzip", bytes(MAX_ANSWER_BYTES + 1))
    assert (await Stage(a=[bomb, 503]).failure(target("a"))).classification == "TEMPORARY"
    stage = Stage(a=[compressed("gzip", bytes(MAX_ANSWER_BYTES + 1)) for _ in range(2)])
    assert (await stage.failure(target("a"))).reason == "UPSTREAM_OVERSIZED"


async def test_an_encoding_that_nobody_asked_for_and_broken_ones_are_bad_answers() -> None:
    for encoding in ("br", "gzip"):
        head = {"content-encoding": encoding}
        stage = Stage(a=[httpx.Response(200, headers=head, stream=Trickle([b"x"], 0)) for _ in range(2)])
        assert (await stage.failure(target("a"))).reason == "UPSTREAM_BAD_RESPONSE"
