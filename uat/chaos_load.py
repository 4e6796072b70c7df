"""Calls under which the chaos tests break things: half `chat`, half `chatStream`, each with an id of its own."""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from bench import TOKEN

TIMEOUT_S = 60


@dataclass
class Sent:
    """One call as its client saw it. `status` 0: no answer began. `whole`: the answer came to its very end."""

    request_id: str
    began: float
    status: int = 0
    error: str = ""
    call_id: str = ""
    whole: bool = False
    seconds: float = 0.0


class Load:
    """`serving` is cleared while there is nobody to call. Every call begun is in `sent`, in order."""

    _numbers = itertools.count(1)

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.sent: list[Sent] = []
        self.serving = asyncio.Event()
        self.serving.set()
        self._marks: list[tuple[int, asyncio.Event]] = []

    async def __aenter__(self) -> "Load":
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def reached(self, count: int) -> None:
        """Returns when so many calls have begun in all."""
        if len(self.sent) < count:
            mark = count, asyncio.Event()
            self._marks.append(mark)
            await mark[1].wait()

    async def call(self) -> Sent:
        number = next(self._numbers)
        sent = Sent(f"call-{number}", time.monotonic())
        self.sent.append(sent)
        self._tell()
        path = "/mcp/chat" if number % 2 else "/mcp/chatStream"
        try:
            await self._ask(path, sent)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            sent.error = type(error).__name__
        sent.seconds = time.monotonic() - sent.began
        return sent

    def _tell(self) -> None:
        reached = [mark for mark in self._marks if len(self.sent) >= mark[0]]
        for mark in reached:
            mark[1].set()
            self._marks.remove(mark)

    async def _ask(self, path: str, sent: Sent) -> None:
        message = {"role": "user", "content": sent.request_id}
        body: dict[str, Any] = {"requestId": sent.request_id, "callerTool": "bench", "messages": [message]}
        headers = {"X-LLM-Caller-Token": TOKEN}
        async with self._session.post(self._url + path, json=body, headers=headers) as response:
            sent.status = response.status
            sent.call_id = response.headers.get("X-LLM-Caller-Call-Id", "")
            data = await response.read()
            if response.status == 200:
                sent.whole = path.endswith("chat") or data.endswith(b"data: [DONE]\n\n")
            else:
                sent.error = (await response.json())["error"]

    async def closed_loop(self, connections: int, more: Callable[[], bool]) -> None:
        """So many calls at a time for as long as `more()`."""

        async def one() -> None:
            while more():
                await self.serving.wait()
                await self.call()

        await asyncio.gather(*(one() for _ in range(connections)))

    async def at_rate(self, per_second: float, seconds: float) -> list[Sent]:
        """Begins a call at each tick, whatever became of those before."""
        loop = asyncio.get_running_loop()
        began, calls = loop.time(), []
        for number in range(int(per_second * seconds)):
            await asyncio.sleep(began + number / per_second - loop.time())
            calls.append(asyncio.ensure_future(self.call()))
        return await asyncio.gather(*calls)
