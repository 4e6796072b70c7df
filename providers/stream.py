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
from providers.types import Event

_CONTROL = bytes(set(range(32)) - {9, 10, 13} | {127})


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
            due = self._heard + self._deadline.timeouts.idle_ms / 1000
            batch = await self._next(*self._deadline.until(due, "idle"))
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
        self._size += len(chunk)
        if self._size > wire.MAX_ANSWER_BYTES:
            raise UpstreamError("TEMPORARY", reason="UPSTREAM_OVERSIZED")
        return self._read(self._parser.feed(chunk))

    def _read(self, raw: list[tuple[str, bytes]]) -> list[Event]:
        """The events up to the first that is an error; that one is raised after they have been passed on."""
        events: list[Event] = []
        if raw:
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
