"""Looks up providers' names, each in a thread of its own, so that one that hangs holds up no other.

A name server that does not answer takes 10 s and more (resolv.conf(5), `timeout` and `attempts`), and the loop's
own look-ups share four threads. Threads are daemons: nobody waits at the end for a name that nobody wants any more.
The connector asks for one name once at a time and remembers what it was told, so there are few.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

MOST = 256
"""Look-ups at once, so that names without end cost no threads without end."""
Found = list[tuple[Any, ...]]
LookUp = Callable[..., Found]
_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Names(AbstractResolver):
    """`look_up`: as `socket.getaddrinfo`; the seam for tests."""

    def __init__(self, look_up: LookUp = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._running = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Raises `OSError`. There is no deadline here: whoever asks has one."""
        if self._running >= MOST:
            raise socket.gaierror(socket.EAI_AGAIN, "too many look-ups at once")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()

        def settle(found: Found | None, error: Exception | None) -> None:
            self._running -= 1
            if not answer.done():
                answer.set_exception(error) if error is not None else answer.set_result(found or [])

        def ask() -> None:
            found: Found | None = None
            error: Exception | None = None
            try:
                found = self._look_up(
                    host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
                )
            except Exception as raised:  # is raised again where it was asked
                error = raised
            with suppress(RuntimeError):  # the loop is over
                loop.call_soon_threadsafe(settle, found, error)

        self._running += 1
        threading.Thread(target=ask, name="look-up", daemon=True).start()
        return [_result(host, one) for one in await answer]

    async def close(self) -> None:
        """What still runs ends by itself."""


def _result(host: str, found: tuple[Any, ...]) -> ResolveResult:
    family, _, protocol, _, address = found
    return ResolveResult(
        hostname=host, host=address[0], port=address[1], family=family, proto=protocol, flags=_NUMERIC
    )
