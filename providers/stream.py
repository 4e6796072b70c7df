"""A provider's answer as it streams: its events batch by batch, each within its deadline."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx

from providers import transport as wire
from providers.adapters.base import EventReader
from providers.deadline import Deadline
from providers.errors import DeadlineError, UpstreamError
from providers.sse import SseParser
from providers.transport import Transport
from providers.types import Event

AFTER_FINISH_S = 2
"""How long a provider that has said why it stopped is waited for: usage and the end usually come at once."""
_CONTROL = bytes(set(range(32)) - {9, 10, 13} | {127})


class ProviderStream:
    """A provider's answer being streamed; `first` was already read. Iterate `batches()`, then `close()`.

    `release`: gives the provider's place back; it may be called more than once.
    """

    def __init__(
        self,
        transport: Transport,
        response: httpx.Response,
        reader: EventReader,
        deadline: Deadline,
        release: Callable[[], None],
    ) -> None:
        self._transport, self._response, self._reader = transport, response, reader
        self._deadline, self._release = deadline, release
        self._chunks = wire.stream_body(response)
        self._parser = SseParser()
        self._finished = False
        self._said_all = False
        self._over = False
        self._closed = False
        self._heard = 0.0
        self._size = 0
        self._failure: UpstreamError | None = None
        self.first: list[Event] = []

    @property
    def ends(self) -> float:
        """When it has to be over, in monotonic seconds."""
        return self._deadline.ends

    async def open(self, waited_from: float) -> None:
        """Reads up to the first event, however much else is sent. Raises `UpstreamError` when there is none."""
        due = waited_from + self._deadline.timeouts.first_event_ms / 1000
        while not self.first and not self._over:
            self.first = await self._next(*self._deadline.until(due, "firstEvent"))
        if not self.first:
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_BAD_RESPONSE")

    async def batches(self) -> AsyncIterator[list[Event]]:
        """The events of each chunk, in order. Raises `UpstreamError` when the stream breaks off."""
        batch = self.first
        while True:
            if batch:
                yield batch
                # The time that the client took to read is not the provider's silence.
                self._heard = time.monotonic()
            if self._failure is not None:
                raise self._failure
            if self._over:
                break
            batch = await self._after_silence()
        if not self._finished:
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_DISCONNECTED")

    async def _after_silence(self) -> list[Event]:
        """The next events. Some providers finish and then neither say that it was all nor close: what was said is
        whole then, and their silence is the end."""
        idle = self._deadline.timeouts.idle_ms / 1000
        due = self._heard + (min(idle, AFTER_FINISH_S) if self._said_all else idle)
        try:
            return await self._next(*self._deadline.until(due, "idle"))
        except DeadlineError as error:
            if not self._finished or error.which != "idle":
                raise
            self._over = True
            await self.close()
            return []

    async def _next(self, seconds: float, which: str) -> list[Event]:
        try:
            async with asyncio.timeout(seconds):
                chunk = await anext(self._chunks, None)
        except TimeoutError:
            raise DeadlineError(which) from None
        if chunk is None:
            self._over = True
            self._release()
            return self._read(self._parser.end())
        self._size += len(chunk)
        if self._size > wire.MAX_ANSWER_BYTES:
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_OVERSIZED")
        events = self._read(self._parser.feed(chunk))
        if self._over:
            self._ended()
        return events

    def _ended(self) -> None:
        """It has said all: its place and its connection are free, however slowly the client reads on."""
        self._release()
        self._closed = True
        self._transport.finish(self._response, self._chunks)

    def _read(self, raw: list[tuple[str, bytes]]) -> list[Event]:
        """The events up to the first that is an error; that one is raised after they have been passed on."""
        events: list[Event] = []
        if raw and not self._said_all:
            # Any event counts, also one that says nothing to us (a ping); a comment does not.
            self._heard = time.monotonic()
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
            self._said_all = self._finished and not _says_something(event)
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
        self._release()
        if not self._closed:
            self._closed = True
            await wire.close(self._response)


def _says_something(event: Event) -> bool:
    """Some vendors give a finish reason with every chunk; while there is text in it, it is not the last."""
    return event.delta is not None and bool(event.delta.content or event.delta.tool_calls)


def _mostly_control(data: bytes) -> bool:
    return len(data) - len(data.translate(None, _CONTROL)) >= len(data) / 5
