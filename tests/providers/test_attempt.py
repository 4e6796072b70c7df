"""Retries, deadlines and the next provider, over a scripted engine (httpx.MockTransport)."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from providers.attempt import Caller, Run
from providers.errors import UpstreamError
from providers.routing import Plan
from providers.transport import Transport
from providers.types import ChatReply, ChatRequest, Message, Provider, Target, Timeouts

OK = {"id": "x", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}
REQUEST = ChatRequest(messages=(Message(role="user", content="hello"),))


def target(name: str, **more: Any) -> Target:
    timeouts = Timeouts(connect_ms=100, first_event_ms=200, idle_ms=200, total_ms=2000)
    facts: dict[str, Any] = {
        "name": name,
        "kind": "openai-compatible",
        "base_url": f"http://{name}/v1",
        "default_model": "m",
        "capabilities": frozenset({"chat"}),
        "timeouts": timeouts,
    }
    return Target(provider=Provider(**(facts | more)), model="m")


def plan_of(*targets: Target) -> Plan:
    return Plan(capability="chat", targets=targets, pinned=False, named=False)


class Stage:
    """Answers by host from a script of statuses or callables; keeps what was asked and how long was slept."""

    def __init__(self, **scripts: list[Any]) -> None:
        self.scripts, self.asked, self.slept = scripts, [], []
        self.run = Run(retry_attempts=2, started=time.monotonic(), total_ms=2000)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        self.asked.append(host)
        step = self.scripts[host].pop(0)
        if callable(step):
            step = await step()
        if isinstance(step, httpx.Response):
            return step
        return httpx.Response(200, json=OK) if step == 200 else httpx.Response(step)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def chat(self, *targets: Target) -> tuple[Target, ChatReply]:
        caller = Caller(Transport(httpx.MockTransport(self.answer)), sleep=self.sleep)
        return await caller.chat(plan_of(*targets), REQUEST, self.run)

    async def failure(self, *targets: Target) -> UpstreamError:
        with pytest.raises(UpstreamError) as error:
            await self.chat(*targets)
        return error.value


async def test_a_temporary_error_is_tried_again_after_a_jittered_pause() -> None:
    stage = Stage(a=[503, 200])
    answered, reply = await stage.chat(target("a"))
    assert (answered.provider.name, reply.content) == ("a", "hi")
    assert len(stage.slept) == 1
    assert 0 <= stage.slept[0] <= 0.1
    assert [attempt.classification for attempt in stage.run.attempts] == ["TEMPORARY", None]


async def test_after_its_attempts_the_next_provider_is_asked() -> None:
    stage = Stage(a=[503, 500], b=[200])
    answered, _ = await stage.chat(target("a"), target("b"))
    assert answered.provider.name == "b"
    assert stage.asked == ["a", "a", "b"]
    assert stage.run.failed() == ["a"]


@pytest.mark.parametrize(
    ("status", "code"), [(400, "PERMANENT"), (401, "AUTH"), (403, "AUTH"), (422, "PERMANENT")]
)
async def test_what_another_try_cannot_mend_ends_at_once(status: int, code: str) -> None:
    stage = Stage(a=[status], b=[200])
    assert (await stage.failure(target("a"), target("b"))).classification == code
    assert stage.asked == ["a"]


async def test_a_short_hint_is_waited_for_and_a_long_one_moves_on() -> None:
    short = httpx.Response(429, headers={"retry-after": "2"})
    stage = Stage(a=[short, 200])
    far = msgspec_replace(target("a"), total_ms=60_000)
    await stage.chat(far)
    assert stage.slept == [2.0]
    long = httpx.Response(429, headers={"retry-after": "3"})
    stage = Stage(a=[long], b=[200])
    answered, _ = await stage.chat(far, target("b"))
    assert (answered.provider.name, stage.slept) == ("b", [])


def msgspec_replace(given: Target, **timeouts: int) -> Target:
    import msgspec

    changed = msgspec.structs.replace(given.provider.timeouts, **timeouts)
    return Target(provider=msgspec.structs.replace(given.provider, timeouts=changed), model=given.model)


async def test_the_last_error_and_its_hint_are_what_is_told() -> None:
    stage = Stage(a=[500, 500], b=[httpx.Response(429, headers={"retry-after": "7"})])
    error = await stage.failure(target("a"), target("b"))
    assert (error.classification, error.retry_after_ms) == ("RATE_LIMIT", 7000)


async def test_silence_is_a_deadline_and_the_next_is_tried() -> None:
    async def silent() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    stage = Stage(a=[silent, silent], b=[200])
    answered, _ = await stage.chat(target("a"), target("b"))
    assert answered.provider.name == "b"
    assert [attempt.reason for attempt in stage.run.attempts[:2]] == ["FIRST_EVENT_TIMEOUT"] * 2


async def test_the_total_deadline_of_the_call_ends_everything() -> None:
    async def silent() -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    stage = Stage(a=[silent], b=[200])
    stage.run = Run(retry_attempts=2, started=time.monotonic(), total_ms=50)
    error = await stage.failure(
        msgspec_replace(target("a"), total_ms=50), msgspec_replace(target("b"), total_ms=50)
    )
    assert (error.classification, error.reason) == ("DEADLINE_EXCEEDED", "TOTAL_TIMEOUT")
    assert stage.asked == ["a"]


async def test_no_more_calls_at_once_than_the_provider_takes() -> None:
    now = most = 0

    async def slow() -> int:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return 200

    stage = Stage(a=[slow] * 10)
    caller = Caller(Transport(httpx.MockTransport(stage.answer)))
    narrow = target("a", max_concurrency=2)
    await asyncio.gather(*(caller.chat(plan_of(narrow), REQUEST, stage.run) for _ in range(10)))
    assert most == 2


async def test_an_oversized_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.transport.MAX_ANSWER_BYTES", 1000)
    big: Callable[[], httpx.Response] = lambda: httpx.Response(200, content=b" " * 2000)  # noqa: E731
    stage = Stage(a=[big(), big()])
    assert (await stage.failure(target("a"))).reason == "UPSTREAM_OVERSIZED"
