"""`maxConcurrency`: how many calls a provider serves at once, and where those go that find it full."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx
import pytest
from test_attempt import REQUEST, Stage, msgspec_replace, plan_of, target

from providers.attempt import Caller, Run
from providers.deadline import Deadline
from providers.errors import BusyError, UpstreamError
from providers.slots import Slots
from providers.transport import Transport
from providers.types import Provider


def provider(most: int | None, name: str = "a") -> Provider:
    return target(name, max_concurrency=most).provider


def deadline(seconds: float = 5) -> Deadline:
    return Deadline(time.monotonic() + seconds, provider(1).timeouts)


async def soon(slots: Slots, most: int | None) -> "asyncio.Task[Callable[[], None]]":
    """Someone who has asked for a place."""
    waiting = asyncio.ensure_future(slots.take(provider(most), deadline()))
    await asyncio.sleep(0)
    return waiting


async def test_a_lowered_limit_counts_the_calls_of_before() -> None:
    slots = Slots()
    places = [await slots.take(provider(2), deadline()) for _ in range(2)]
    third = await soon(slots, 1)
    places[0]()
    await asyncio.sleep(0)
    assert not third.done(), "one is left, and one is the limit now"
    places[1]()
    (await third)()


async def test_a_raised_limit_lets_those_in_who_wait() -> None:
    slots = Slots()
    await slots.take(provider(1), deadline())
    second = await soon(slots, 1)
    assert not second.done()
    await slots.take(provider(3), deadline())
    await asyncio.wait_for(second, 1)
    with pytest.raises(BusyError):
        await slots.take(provider(3), deadline(0.05))


async def test_calls_that_began_without_a_limit_are_counted_too() -> None:
    slots = Slots()
    place = await slots.take(provider(None), deadline())
    second = await soon(slots, 1)
    assert not second.done()
    place()
    await asyncio.wait_for(second, 1)


async def test_a_place_is_given_back_once_and_to_whoever_waited_longest() -> None:
    slots = Slots()
    place = await slots.take(provider(1), deadline())
    first, second = await soon(slots, 1), await soon(slots, 1)
    place()
    place()
    await asyncio.wait_for(first, 1)
    await asyncio.sleep(0)
    assert not second.done()
    (await first)()
    await asyncio.wait_for(second, 1)


@pytest.mark.parametrize("served", [False, True])
async def test_who_stops_waiting_takes_no_place_along(served: bool) -> None:
    slots = Slots()
    place = await slots.take(provider(1), deadline())
    leaving = await soon(slots, 1)
    if served:
        place()
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    place()
    await asyncio.wait_for(slots.take(provider(1), deadline()), 1)


class Held:
    """A provider's answers that are given when they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        await self.go.wait()
        return 200


def chatting(stage: Stage) -> Callable[..., Awaitable[str]]:
    caller = Caller(Transport(httpx.MockTransport(stage.answer)), sleep=stage.sleep)

    async def chat(*among: object, seconds: float = 5, run: Run | None = None) -> str:
        run = run or Run(retry_attempts=2, started=time.monotonic(), total_ms=round(seconds * 1000))
        answered, _ = await caller.chat(plan_of(*among), REQUEST, run)  # type: ignore[arg-type]
        return answered.provider.name

    return chat


async def asked(stage: Stage, count: int) -> None:
    async with asyncio.timeout(5):
        while len(stage.asked) < count:
            await asyncio.sleep(0)


async def test_what_finds_the_best_provider_full_goes_to_the_next_at_once() -> None:
    held = Held()
    stage = Stage(a=[held], b=[200, 200])
    chat = chatting(stage)
    a, b = target("a", max_concurrency=1), target("b")
    first = asyncio.ensure_future(chat(a, b))
    await asked(stage, 1)
    assert [await chat(a, b), await chat(a, b)] == ["b", "b"]
    held.go.set()
    assert await first == "a"


async def test_who_has_nowhere_else_to_go_waits() -> None:
    held = Held()
    stage = Stage(a=[held, 200, 200], b=[503, 503])
    chat = chatting(stage)
    a, b = target("a", max_concurrency=1), target("b")
    first = asyncio.ensure_future(chat(a, b))
    await asked(stage, 1)
    pinned, failed_over = asyncio.ensure_future(chat(a)), asyncio.ensure_future(chat(a, b))
    await asked(stage, 3)
    assert stage.asked == ["a", "b", "b"]
    held.go.set()
    assert [await first, await pinned, await failed_over] == ["a", "a", "a"]


async def test_when_all_are_full_the_best_is_waited_for_and_then_the_next() -> None:
    held = Held()
    stage = Stage(a=[held], b=[held])
    chat = chatting(stage)
    a, b = target("a", max_concurrency=1), target("b", max_concurrency=1)
    both = asyncio.gather(chat(a), chat(b))
    await asked(stage, 2)
    run = Run(retry_attempts=2, started=time.monotonic(), total_ms=2000)
    with pytest.raises(UpstreamError) as error:
        await chat(*(msgspec_replace(one, first_event_ms=30) for one in (a, b)), run=run)
    assert (error.value.reason, run.attempts) == ("PROVIDER_BUSY", [])
    held.go.set()
    await both
