"""The load of the benchmark: closed-loop calls and concurrent streams over plain sockets."""

import asyncio
import json
import re
import time
from typing import Any, NamedTuple

_LENGTH = re.compile(rb"(?i)content-length: (\d+)")
FIRST_EVENT = re.compile(rb"data: \{")


class Calls(NamedTuple):
    count: int
    errors: int
    per_second: float
    p50_ms: float


class Streams(NamedTuple):
    count: int
    p99_first_ms: float


def request(port: int, path: str, body: Any, *headers: str) -> bytes:
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Content-Type: application/json", *headers]
    return ("\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""])).encode() + data


class Connection(asyncio.Protocol):
    """Sends the next request as soon as an answer is whole, until `until`."""

    def __init__(self, sent: bytes, until: float) -> None:
        self.sent, self.until = sent, until
        self.times: list[float] = []
        self.errors = 0
        self.buffer = b""
        self.over = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.began = time.perf_counter()
        self.transport.write(self.sent)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        match = _LENGTH.search(head) if end else None
        if match is None or len(body) < int(match[1]):
            return
        now = time.perf_counter()
        self.times.append(now - self.began)
        self.errors += not head.startswith(b"HTTP/1.1 200")
        self.buffer = b""
        if now < self.until:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def closed_loop(port: int, sent: bytes, connections: int, seconds: float) -> Calls:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Connection(sent, began + seconds), "127.0.0.1", port)
        for _ in range(connections)
    ]
    await asyncio.gather(*(protocol.over for _, protocol in made))
    took = time.perf_counter() - began
    times = sorted(one for _, protocol in made for one in protocol.times)
    errors = sum(protocol.errors for _, protocol in made)
    return Calls(len(times), errors, len(times) / took, times[len(times) // 2] * 1000)


async def streams(port: int, sent: bytes, at_once: int, total: int) -> Streams:
    gate = asyncio.Semaphore(at_once)
    firsts: list[float] = []

    async def one() -> None:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = time.perf_counter()
            writer.write(sent)
            received, first = b"", 0.0
            while b"[DONE]" not in received[-400:]:
                chunk = await reader.read(65536)
                if not chunk:
                    raise SystemExit(f"a stream broke off: {received[:300]!r}")
                received += chunk
                if not first and FIRST_EVENT.search(received):
                    first = time.perf_counter() - began
            firsts.append(first)
            writer.close()

    await asyncio.gather(*(one() for _ in range(total)))
    firsts.sort()
    return Streams(len(firsts), firsts[int(len(firsts) * 0.99)] * 1000)
