"""Trying the targets of a plan: one attempt, its deadlines, retries with jitter, the next provider.

The same rules serve chat, embeddings and streams; for streams they end with the provider's first event.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import TypeVar

import httpx
import msgspec

from providers import transport as wire
from providers.adapters import ADAPTERS
from providers.adapters.base import Adapter
from providers.deadline import Deadline
from providers.errors import BusyError, DeadlineError, UpstreamError
from providers.routing import Plan
from providers.slots import Slots
from providers.stream import ProviderStream
from providers.trace import HEADER, Trace, new_span_id
from providers.transport import Transport
from providers.types import (
    ChatReply,
    ChatRequest,
    EmbedReply,
    EmbedRequest,
    Provider,
    Target,
)

BACKOFF_BASE_MS = 100
BACKOFF_CAP_MS = 2_000
CANCELLED = "CANCELLED"
"""Of an attempt that was given up, for no fault of the provider's."""
DEFECT = "INTERNAL_ERROR"
"""Of an attempt that met a defect of ours."""
FINAL = frozenset({"PERMANENT", "AUTH"})
"""What no other provider is asked after: the request is at fault, or a credential, which somebody should hear of."""
T = TypeVar("T")
Others = Sequence[Provider]
"""The candidates that are still to be asked."""
Once = Callable[[Target, Adapter, Deadline, Others], Awaitable[T]]


class Attempt(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One provider call as the record keeps it, a stream to its end. `classification` is absent when it succeeded."""

    provider: str
    model: str
    duration_ms: int
    classification: str | None = None
    reason: str | None = None
    status: int | None = None
    retry_after_ms: int | None = None


class Caller:
    """Makes provider calls. One per process; `sleep` is the seam for tests of the retry schedule."""

    def __init__(
        self, transport: Transport, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self.transport = transport
        self._sleep = sleep
        self._slots = Slots()

    async def chat(self, plan: Plan, request: ChatRequest, run: "Run") -> tuple[Target, ChatReply]:
        async def once(target: Target, adapter: Adapter, deadline: Deadline, others: Others) -> ChatReply:
            sent = run.marked(_built(adapter.build_chat, request, target, stream=False))
            return adapter.read_chat(await self._exchange(sent, target, adapter, deadline, others))

        return await self._run(plan, run, once)

    async def embed(self, plan: Plan, request: EmbedRequest, run: "Run") -> tuple[Target, EmbedReply]:
        async def once(target: Target, adapter: Adapter, deadline: Deadline, others: Others) -> EmbedReply:
            sent = run.marked(_built(adapter.build_embed, request, target))
            body = await self._exchange(sent, target, adapter, deadline, others)
            return adapter.read_embed(body, len(request.inputs))

        return await self._run(plan, run, once)

    async def stream(self, plan: Plan, request: ChatRequest, run: "Run") -> tuple[Target, ProviderStream]:
        """The stream has its first event; the caller closes it."""

        async def once(
            target: Target, adapter: Adapter, deadline: Deadline, others: Others
        ) -> ProviderStream:
            sent = run.marked(_built(adapter.build_chat, request, target, stream=True))
            release = await self._slots.take(target.provider, deadline, others)
            try:
                return await self._open_stream(sent, target, adapter, deadline, release)
            except BaseException:
                release()
                raise

        return await self._run(plan, run, once)

    async def _open_stream(
        self,
        sent: httpx.Request,
        target: Target,
        adapter: Adapter,
        deadline: Deadline,
        release: Callable[[], None],
    ) -> ProviderStream:
        started = time.monotonic()
        response = await self._send(sent, target, adapter, deadline)
        stream = ProviderStream(self.transport, response, adapter.events(), deadline, release)
        try:
            await stream.open(started)
        except BaseException:
            await wire.close(response)
            raise
        return stream

    async def _exchange(
        self, sent: httpx.Request, target: Target, adapter: Adapter, deadline: Deadline, others: Others
    ) -> bytes:
        release = await self._slots.take(target.provider, deadline, others)
        started = time.monotonic()
        try:
            response = await self._send(sent, target, adapter, deadline)
            return await _read(response, deadline, wire.MAX_ANSWER_BYTES, started)
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

    async def _run(self, plan: Plan, run: "Run", once: Once[T]) -> tuple[Target, T]:
        """Candidates in their order, but those without a free place behind those that have one."""
        failure: UpstreamError = DeadlineError("total")
        pending = deque(plan.targets)
        while pending:
            target = pending.popleft()
            try:
                return target, await self._ask(target, run, once, [other.provider for other in pending])
            except BusyError as error:
                failure = error
                run.busy.setdefault(target.provider.name)
                if error.elsewhere:
                    pending.append(target)
            except UpstreamError as error:
                failure = error
                if error.classification in FINAL:
                    break
        raise failure

    async def _ask(self, target: Target, run: "Run", once: Once[T], others: Others) -> T:
        """One candidate, as often as it may be tried. Raises `UpstreamError`."""
        deadline, adapter = run.deadline_for(target), ADAPTERS[target.provider.kind]
        for number in count(1):
            began = time.monotonic()
            if began >= deadline.ends:
                break
            run.begin()
            try:
                result = await once(target, adapter, deadline, others)
            except BusyError as error:
                raise BusyError(elsewhere=error.elsewhere and number == 1) from None
            except UpstreamError as error:
                run.note(target, began, error)
                if not await self._again(error, number, run.retry_attempts, deadline):
                    raise
            except BaseException as error:
                run.note_broken_off(target, began, error)
                raise
            else:
                run.note(target, began, None)
                return result
        raise DeadlineError("total")

    async def _again(self, error: UpstreamError, number: int, limit: int, deadline: Deadline) -> bool:
        """Whether to try this target once more, after the pause is over."""
        if (
            not error.retryable
            or number >= limit
            or (isinstance(error, DeadlineError) and error.which == "total")
        ):
            return False
        ceiling = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2 ** (number - 1))
        pause_ms = error.retry_after_ms
        if pause_ms is None:
            pause_ms = round(random.uniform(0, ceiling))  # noqa: S311 - jitter, not a secret
        if pause_ms > BACKOFF_CAP_MS or time.monotonic() + pause_ms / 1000 >= deadline.ends:
            return False
        await self._sleep(pause_ms / 1000)
        return True


class Run:
    """One call's attempts, as they happen. `started` is monotonic seconds; `attempts` is for the record, `began` has
    each one's span and when it began. `busy`: the names of those that had no place free, in order.

    `total_ms` bounds the call over all providers. A provider with a total of its own is given that much from its
    own first attempt on, more or less than the rest.
    """

    __slots__ = ("attempts", "began", "busy", "ends", "retry_attempts", "span", "started", "trace")

    def __init__(self, *, retry_attempts: int, started: float, total_ms: int) -> None:
        self.retry_attempts, self.started = retry_attempts, started
        self.ends = started + total_ms / 1000
        self.attempts: list[Attempt] = []
        self.began: list[tuple[str, float]] = []
        self.busy: dict[str, None] = {}
        self.trace: Trace | None = None
        self.span = ""

    def begin(self) -> None:
        """The next attempt is a span of its own, where there are any."""
        self.span = new_span_id() if self.trace is not None and self.trace.span else ""

    def marked(self, sent: httpx.Request) -> httpx.Request:
        """Tells the provider which trace the request belongs to."""
        if self.trace is not None:
            sent.headers[HEADER] = self.trace.header(self.span)
        return sent

    def deadline_for(self, target: Target) -> Deadline:
        timeouts = target.provider.timeouts
        own = time.monotonic() + timeouts.total_ms / 1000
        return Deadline(min(own, max(self.ends, self.started + timeouts.total_ms / 1000)), timeouts)

    def note_broken_off(self, target: Target, began: float, error: BaseException) -> None:
        """The client left, or the drain's time was over, while the provider was being asked; or we have a defect."""
        given_up = isinstance(error, asyncio.CancelledError)
        self.note(target, began, None, classification=CANCELLED if given_up else DEFECT)

    def note(
        self, target: Target, began: float, error: UpstreamError | None, *, classification: str | None = None
    ) -> None:
        self.began.append((self.span, began))
        self.attempts.append(
            Attempt(
                provider=target.provider.name,
                model=target.model,
                duration_ms=round((time.monotonic() - began) * 1000),
                classification=error.classification if error else classification,
                reason=error.reason if error else None,
                status=error.status if error else None,
                retry_after_ms=error.retry_after_ms if error else None,
            )
        )

    def stream_ended(self, error: UpstreamError | None = None, *, given_up: bool = False) -> None:
        """The last attempt was noted at its stream's first event; this is how its stream went on."""
        _, began = self.began[-1]
        self.attempts[-1] = msgspec.structs.replace(
            self.attempts[-1],
            duration_ms=round((time.monotonic() - began) * 1000),
            classification=CANCELLED if given_up else error and error.classification,
            reason=error and error.reason,
            status=error and error.status,
            retry_after_ms=error and error.retry_after_ms,
        )

    def failed(self) -> list[str]:
        """Names of the providers that failed, each once, in order."""
        return list(dict.fromkeys(a.provider for a in self.attempts if a.classification is not None))


def _built(build: Callable[..., httpx.Request], *args: object, **options: object) -> httpx.Request:
    """Raises `UpstreamError` (CONFIG) when a provider's URL or key cannot be put into a request."""
    try:
        return build(*args, **options)
    except (httpx.InvalidURL, UnicodeError):
        raise UpstreamError("CONFIG", reason="BASE_URL_INVALID") from None


async def _read(response: httpx.Response, deadline: Deadline, limit: int, started: float) -> bytes:
    """A whole body. Its first byte may take as long as a first event, counted from `started`: some providers send
    the head at once and think afterwards. Then chunks may be `idle` apart."""
    chunks: list[bytes] = []
    size = 0
    loop = asyncio.get_running_loop()
    which = "firstEvent"
    try:
        async with asyncio.timeout(None) as scope:
            due = started + deadline.timeouts.first_event_ms / 1000
            seconds, which = deadline.until(due, "firstEvent")
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
    timeouts = msgspec.structs.replace(provider.timeouts, first_event_ms=timeout_ms, idle_ms=timeout_ms)
    started = time.monotonic()
    deadline = Deadline(started + timeout_ms / 1000, timeouts)
    response = await transport.send(
        _built(adapter.build_discovery, provider), connect_ms=timeouts.connect_ms, head_ms=timeout_ms
    )
    if response.status_code >= 400:
        await wire.close(response)
        raise adapter.failure(response.status_code, response.headers, b"")
    return adapter.read_models(await _read(response, deadline, 16 * 1024 * 1024, started))
