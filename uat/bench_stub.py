"""A provider that answers at once. `bench_stub.py PORT EVENTS GAP_MS`; OpenAI's wire format."""

import asyncio
import json
import re
import sys
from typing import Any

import uvloop

_LENGTH = re.compile(rb"(?i)content-length: (\d+)")
USAGE = {"prompt_tokens": 24, "completion_tokens": 32, "total_tokens": 56}


def plain() -> bytes:
    message = {"role": "assistant", "content": "A gateway is one door in front of many models. " * 3}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({"id": "chatcmpl-1", "choices": [choice], "usage": USAGE}).encode()
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def chunk(delta: dict[str, Any], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    event = b"data: " + json.dumps({"id": "chatcmpl-1", "choices": [choice]}).encode() + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


PLAIN = plain()
MODELS = b'{"data": [{"id": "bench"}]}'
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
TAIL = chunk({}, "stop") + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


class Stub(asyncio.Protocol):
    def __init__(self, events: int, gap_s: float) -> None:
        self.events, self.gap_s, self.buffer = events, gap_s, b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        match = _LENGTH.search(head)
        if not end or len(body) < (int(match[1]) if match else 0):
            return
        self.buffer = b""
        self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(MODELS), MODELS))
        elif b'"stream":true' in body or b'"stream": true' in body:
            self.transport.write(HEAD + chunk({"role": "assistant", "content": ""}))
            self.send_event(0)
        else:
            self.end(PLAIN)

    def end(self, data: bytes) -> None:
        """With these bytes the answer is whole."""
        self.transport.write(data)

    def send_event(self, number: int) -> None:
        if self.transport.is_closing():
            return
        self.transport.write(chunk({"content": f"word {number} "}))
        if number + 1 < self.events:
            asyncio.get_running_loop().call_later(self.gap_s, self.send_event, number + 1)
        else:
            self.end(TAIL)


async def main() -> None:
    port, events, gap_ms = (int(text) for text in sys.argv[1:])
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(events, gap_ms / 1000), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
