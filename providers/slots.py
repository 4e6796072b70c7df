"""How many calls each provider is serving, and who waits for a place (`maxConcurrency`)."""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from providers.deadline import Deadline
from providers.errors import BusyError
from providers.types import Provider


class _Places:
    """Of one provider. `limit`: the one that the latest call knew; calls of before a change count like any other."""

    __slots__ = ("limit", "taken", "waiting")

    def __init__(self) -> None:
        self.limit: float = math.inf
        self.taken = 0
        self.waiting: deque[asyncio.Future[None]] = deque()

    def has_room(self) -> bool:
        return self.taken < self.limit and not self.waiting

    def admit(self) -> None:
        """Those who wait, in their order, as far as there is room."""
        while self.waiting and self.taken < self.limit:
            waiter = self.waiting.popleft()
            if not waiter.done():
                self.taken += 1
                waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Raises `TimeoutError`."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled():
                self.free()
            else:
                with suppress(ValueError):
                    self.waiting.remove(waiter)
            raise

    def free(self) -> None:
        self.taken -= 1
        self.admit()


class _Place:
    """Called, it gives the place back; called again, it does nothing."""

    __slots__ = ("_places",)

    def __init__(self, places: _Places) -> None:
        self._places: _Places | None = places

    def __call__(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            places.free()


class Slots:
    def __init__(self) -> None:
        self._places: dict[str, _Places] = {}

    async def take(
        self, provider: Provider, deadline: Deadline, others: Iterable[Provider] = ()
    ) -> Callable[[], None]:
        """Returns what gives the place back. `others`: who could be asked instead.

        Raises `BusyError` when none comes free in time; at once when one of the others has room.
        """
        places = self._of(provider)
        if places.has_room():
            places.taken += 1
            return _Place(places)
        if any(self._of(other).has_room() for other in others):
            raise BusyError(elsewhere=True)
        seconds, _ = deadline.within(provider.timeouts.first_event_ms, "firstEvent")
        try:
            await places.wait(seconds)
        except TimeoutError:
            raise BusyError from None
        return _Place(places)

    def _of(self, provider: Provider) -> _Places:
        places = self._places.get(provider.name)
        if places is None:
            places = self._places[provider.name] = _Places()
        limit = math.inf if provider.max_concurrency is None else provider.max_concurrency
        if places.limit != limit:
            places.limit = limit
            places.admit()
        return places
