"""Trying the targets of a plan: one attempt, its deadlines, retries with jitter, the next provider.

The same rules serve chat, embeddings and streams; for streams they end with the provider's first event.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import httpx
import msgspec

from providers import transport as wire
from providers.adapters import ADAPTERS
from providers.adapters.base import Adapter, EventReader
from providers.errors import DeadlineError, UpstreamError
from providers.routing import Plan
from providers.sse import SseParser
from providers.transport import Transport
from providers.types import (
    ChatReply,
    ChatRequest,
    EmbedReply,
    EmbedRequest,
    Event,
    Provider,
    Target,
    Timeouts,
)

BACKOFF_BASE_MS = 100
BACKOFF_CAP_MS = 2_000
_CONTROL = bytes(set(range(32)) - {9, 10, 13} | {127})
T = TypeVar("T")


class Attempt(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One provider call as the record keeps it. `classification` is absent when it succeeded."""

    provider: str
    model: str
    duration_ms: int
    classification: str | None = None
    reason: str | None = None
    status: int | None = None
    retry_after_ms: int | None = None


class Deadline:
    """The total deadline of a call and what is left of it, in seconds. `started` is monotonic."""

    __slots__ = ("ends", "timeouts")

    def __init__(self, started: float, timeouts: Timeouts) -> None:
        self.timeouts = timeouts
        self.ends = started + timeouts.total_ms / 1000

    def left(self) -> float:
        """Raises `DeadlineError("total")` when nothing is left."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise DeadlineError("total")
        return left

    def within(self, limit_ms: int, which: str) -> tuple[float, str]:
        """Seconds to wait at most, and which deadline that is."""
        left = self.left()
        return (limit_ms / 1000, which) if limit_ms / 1000 < left else (left, "total")


class ProviderStream:
    """A provider's answer being streamed; `first` was already read. Iterate `batches()`, then `close()`."""

    def __init__(
        self, response: httpx.Response, reader: EventReader, deadline: Deadline, release: Callable[[], None]
    ) -> None:
        self._response, self._reader, self._deadline, self._release = response, reader, deadline, release
        self._chunks = wire.stream_body(response)
        self._parser = SseParser()
        self._finished = False
        self._over = False
        self._closed = False
        self._failure: UpstreamError | None = None
        self.first: list[Event] = []

    async def open(self, first_event: Deadline, waited_from: float) -> None:
        """Reads up to the first event. Raises `UpstreamError` when there is none."""
        limit = self._deadline.timeouts.first_event_ms - round((time.monotonic() - waited_from) * 1000)
        while not self.first and not self._over:
            self.first = await self._next(*first_event.within(max(limit, 1), "firstEvent"))
        if not self.first:
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE")

    async def batches(self) -> AsyncIterator[list[Event]]:
        """The events of each chunk, in order. Raises `UpstreamError` when the stream breaks off."""
        batch = self.first
        while True:
            if batch:
                yield batch
            if self._failure is not None:
                raise self._failure
            if self._over:
                break
            batch = await self._next(*self._deadline.within(self._deadline.timeouts.idle_ms, "idle"))
        if not self._finished:
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_DISCONNECTED")

    async def _next(self, seconds: float, which: str) -> list[Event]:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(self._chunks, None)
        except TimeoutError:
            raise DeadlineError(which) from None
        if chunk is None:
            self._over = True
            return self._read(self._parser.end())
        return self._read(self._parser.feed(chunk))

    def _read(self, raw: list[tuple[str, bytes]]) -> list[Event]:
        """The events up to the first that is an error; that one is raised after they have been passed on."""
        events: list[Event] = []
        for name, data in raw:
            try:
                event = self._event(name, data)
            except UpstreamError as error:
                if not events:
                    raise
                self._failure = error
                break
            if event is None:
                continue
            if event.finish_reason is not None or event.done:
                self._finished = True
            events.append(event)
            if event.done:
                self._over = True
                break
        return events

    def _event(self, name: str, data: bytes) -> Event | None:
        try:
            return self._reader.read(name, data)
        except UpstreamError as error:
            if error.reason == "UPSTREAM_BAD_RESPONSE" and _mostly_control(data):
                return Event(garbled=True)
            raise

    async def close(self) -> None:
        """Idempotent. Cuts the connection when the provider is still sending."""
        if not self._closed:
            self._closed = True
            self._release()
            await wire.close(self._response)


def _mostly_control(data: bytes) -> bool:
    return len(data) - len(data.translate(None, _CONTROL)) >= len(data) / 5


class Slots:
    """How many calls each provider is serving, and who waits for a place (`maxConcurrency`)."""

    def __init__(self) -> None:
        self._semaphores: dict[tuple[str, int], asyncio.Semaphore] = {}

    async def take(self, provider: Provider, deadline: Deadline) -> Callable[[], None]:
        """Returns what gives the place back. Raises `DeadlineError` when none comes free in time."""
        if provider.max_concurrency is None:
            return _nothing
        key = (provider.name, provider.max_concurrency)
        semaphore = self._semaphores.setdefault(key, asyncio.Semaphore(provider.max_concurrency))
        seconds, which = deadline.within(provider.timeouts.first_event_ms, "firstEvent")
        try:
            async with asyncio.timeout(seconds):
                await semaphore.acquire()
        except TimeoutError:
            raise DeadlineError(which) from None
        return semaphore.release


def _nothing() -> None:
    return None


class Caller:
    """Makes provider calls. One per process; `sleep` is the seam for tests of the retry schedule."""

    def __init__(
        self, transport: Transport, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.transport = transport
        self._sleep = sleep
        self._slots = Slots()

    async def chat(self, plan: Plan, request: ChatRequest, run: "Run") -> tuple[Target, ChatReply]:
        async def once(target: Target, adapter: Adapter, deadline: Deadline) -> ChatReply:
            sent = adapter.build_chat(request, target, stream=False)
            return adapter.read_chat(await self._exchange(sent, target, adapter, deadline))

        return await self._run(plan, run, once)

    async def embed(self, plan: Plan, request: EmbedRequest, run: "Run") -> tuple[Target, EmbedReply]:
        async def once(target: Target, adapter: Adapter, deadline: Deadline) -> EmbedReply:
            sent = adapter.build_embed(request, target)
            body = await self._exchange(sent, target, adapter, deadline)
            return adapter.read_embed(body, len(request.inputs))

        return await self._run(plan, run, once)

    async def stream(self, plan: Plan, request: ChatRequest, run: "Run") -> tuple[Target, ProviderStream]:
        """The stream has its first event; the caller closes it."""

        async def once(target: Target, adapter: Adapter, deadline: Deadline) -> ProviderStream:
            release = await self._slots.take(target.provider, deadline)
            try:
                return await self._open_stream(request, target, adapter, deadline, release)
            except BaseException:
                release()
                raise

        return await self._run(plan, run, once)

    async def _open_stream(
        self,
        request: ChatRequest,
        target: Target,
        adapter: Adapter,
        deadline: Deadline,
        release: Callable[[], None],
    ) -> ProviderStream:
        started = time.monotonic()
        sent = adapter.build_chat(request, target, stream=True)
        response = await self._send(sent, target, adapter, deadline)
        stream = ProviderStream(response, adapter.events(), deadline, release)
        try:
            await stream.open(deadline, started)
        except BaseException:
            await wire.close(response)
            raise
        return stream

    async def _exchange(
        self, sent: httpx.Request, target: Target, adapter: Adapter, deadline: Deadline
    ) -> bytes:
        release = await self._slots.take(target.provider, deadline)
        try:
            response = await self._send(sent, target, adapter, deadline)
            return await _read(response, deadline, wire.MAX_ANSWER_BYTES)
        finally:
            release()

    async def _send(
        self, sent: httpx.Request, target: Target, adapter: Adapter, deadline: Deadline
    ) -> httpx.Response:
        seconds, which = deadline.within(deadline.timeouts.first_event_ms, "firstEvent")
        try:
            response = await self.transport.send(
                sent, connect_ms=deadline.timeouts.connect_ms, head_ms=seconds * 1000
            )
        except DeadlineError as error:
            raise DeadlineError(which if error.which == "firstEvent" else error.which) from None
        if response.status_code >= 400:
            await wire.close(response)
            raise adapter.failure(response.status_code, response.headers, b"")
        return response

    async def _run(
        self, plan: Plan, run: "Run", once: Callable[[Target, Adapter, Deadline], Awaitable[T]]
    ) -> tuple[Target, T]:
        failure: UpstreamError | None = None
        for target in plan.targets:
            deadline = Deadline(run.started, target.provider.timeouts)
            for number in range(1, run.retry_attempts + 1):
                began = time.monotonic()
                try:
                    result = await once(target, ADAPTERS[target.provider.kind], deadline)
                except UpstreamError as error:
                    failure = error
                    run.note(target, began, error)
                    if not await self._again(error, number, run.retry_attempts, deadline):
                        break
                else:
                    run.note(target, began, None)
                    return target, result
        assert failure is not None, "a plan has at least one target and one attempt"
        raise failure

    async def _again(self, error: UpstreamError, number: int, limit: int, deadline: Deadline) -> bool:
        """Whether to try this target once more, after the pause is over. Raises what must not be retried."""
        if not error.retryable or (isinstance(error, DeadlineError) and error.which == "total"):
            raise error
        if number >= limit:
            return False
        ceiling = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** (number - 1))
        pause_ms = error.retry_after_ms
        if pause_ms is None:
            pause_ms = round(random.uniform(0, ceiling))  # noqa: S311 - jitter, not a secret
        if pause_ms > BACKOFF_CAP_MS or pause_ms / 1000 >= deadline.left():
            return False
        await self._sleep(pause_ms / 1000)
        return True


class Run:
    """One call's attempts, as they happen. `started` is monotonic seconds; `attempts` is for the record."""

    __slots__ = ("attempts", "retry_attempts", "started")

    def __init__(self, *, retry_attempts: int, started: float) -> None:
        self.retry_attempts, self.started = retry_attempts, started
        self.attempts: list[Attempt] = []

    def note(self, target: Target, began: float, error: UpstreamError | None) -> None:
        self.attempts.append(
            Attempt(
                provider=target.provider.name,
                model=target.model,
                duration_ms=round((time.monotonic() - began) * 1000),
                classification=error.classification if error else None,
                reason=error.reason if error else None,
                status=error.status if error else None,
                retry_after_ms=error.retry_after_ms if error else None,
            )
        )

    def failed(self) -> list[str]:
        """Names of the providers that failed, each once, in order."""
        return list(dict.fromkeys(a.provider for a in self.attempts if a.classification is not None))


async def _read(response: httpx.Response, deadline: Deadline, limit: int) -> bytes:
    """A body whose chunks may be `idle` apart."""
    chunks: list[bytes] = []
    size = 0
    loop = asyncio.get_running_loop()
    which = "idle"
    try:
        async with asyncio.timeout(None) as scope:
            seconds, which = deadline.within(deadline.timeouts.idle_ms, "idle")
            scope.reschedule(loop.time() + seconds)
            async for chunk in wire.stream_body(response):
                size += len(chunk)
                if size > limit:
                    raise UpstreamError("TEMPORARY", reason="UPSTREAM_OVERSIZED")
                chunks.append(chunk)
                seconds, which = deadline.within(deadline.timeouts.idle_ms, "idle")
                scope.reschedule(loop.time() + seconds)
    except TimeoutError:
        raise DeadlineError(which) from None
    finally:
        await wire.close(response)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def discover(transport: Transport, provider: Provider, *, timeout_ms: int) -> tuple[str, ...]:
    """The models a provider lists; costs no tokens. Raises `UpstreamError`."""
    adapter = ADAPTERS[provider.kind]
    timeouts = msgspec.structs.replace(provider.timeouts, total_ms=timeout_ms, idle_ms=timeout_ms)
    deadline = Deadline(time.monotonic(), timeouts)
    response = await transport.send(
        adapter.build_discovery(provider), connect_ms=timeouts.connect_ms, head_ms=timeout_ms
    )
    if response.status_code >= 400:
        await wire.close(response)
        raise adapter.failure(response.status_code, response.headers, b"")
    return adapter.read_models(await _read(response, deadline, 16 * 1024 * 1024))
