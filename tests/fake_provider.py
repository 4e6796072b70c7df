"""One scripted provider on a real socket: what it does is told by the model's name.

| model | what happens |
|---|---|
| `echo` (and any other) | answers "echo: " + the last user text |
| `slow-2s`, `slow-300ms` | waits, then answers |
| `silent` | accepts and never answers |
| `hang-mid-stream` | two deltas, then silence |
| `cut-after-3` | stream: three deltas, then the connection is cut; plain: half a body |
| `status-503` (any status) | that status, with a body that repeats the key it was sent |
| `503-then-ok…`, `429-then-ok…` | fails the first time that this very name is asked for |
| `429-retry-after-N` | 429 with that Retry-After, always (`garbage`, `date` too) |
| `redirect` | 302 to `/canary` |
| `html`, `broken-json`, `wrong-shape` | 200 with the wrong body |
| `huge` | 200 with 100 MB |
| `endless-mb` | a delta of 1 MB after another until the client leaves |
| `big-delta` | a stream with one delta of 1 MB |
| `binary`, `controls` | a delta that is mostly, or in part, control characters |
| `tools` | two parallel tool calls, in fragments when streamed |
| `usage-N` | tells of N prompt tokens |
| `no-usage`, `length` | no usage; finish reason `length` |
| `stream-40-20` | 40 deltas, 20 ms apart |
| `endless` | a delta every 20 ms until the client leaves |
| `utf8-split` | the stream's bytes one at a time |
| `crlf` | CRLF, comments, event and id fields, data on several lines |
| `error-in-stream` | two deltas, then an error event |
| `reverse-embed` | embeddings in reversed order with the right indexes |
| `script:…` | a stream of the deltas in `fake.scripts[name]`, cut into `fake.cut` bytes |
"""

import argparse
import asyncio
import json
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, NamedTuple

Json = dict[str, Any]


class Hit(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def model(self) -> str:
        return self.body.get("model", "") if isinstance(self.body, dict) else ""


class FakeProvider:
    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.hits: list[Hit] = []
        self.cancelled: list[tuple[str, float]] = []
        self.models: list[str] = ["echo", "embed-3"]
        self.models_status = 200
        self.scripts: dict[str, list[str]] = {}
        self.cut = 0
        self.open_streams = 0
        self._failed_once: Counter[str] = Counter()
        self._writers: set[asyncio.StreamWriter] = set()
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "FakeProvider":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def hits_for(self, model: str) -> list[Hit]:
        return [hit for hit in self.hits if hit.model == model]

    def wait_for(self, predicate: Callable[[], bool], seconds: float = 5) -> bool:
        with self._changed:
            return self._changed.wait_for(predicate, seconds)

    def note(self, change: Callable[[], None]) -> None:
        with self._changed:
            change()
            self._changed.notify_all()

    def stream_ended(self) -> None:
        self.open_streams -= 1

    def fails_first(self, name: str) -> bool:
        self._failed_once[name] += 1
        return self._failed_once[name] == 1

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._server = self._loop.run_until_complete(
            asyncio.start_server(self._connection, "127.0.0.1", self.port, backlog=1024)
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        """No socket is left to the collector, whose warnings would hit a later test."""
        self._server.close()
        pending = asyncio.all_tasks() - {asyncio.current_task()}
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
        while self._writers:
            writer = self._writers.pop()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while (hit := await _read_request(reader)) is not None:
                self.note(lambda hit=hit: self.hits.append(hit))
                await Answer(self, hit, reader, writer).send()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
            self._writers.discard(writer)


async def _read_request(reader: asyncio.StreamReader) -> Hit | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    method, path, _ = head[0].split(" ", 2)
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
    }
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    return Hit(method, path, headers, json.loads(raw) if raw else None)


class Cut(ConnectionError):
    """The script wants the connection cut."""


class Answer:
    """One answer, in the dialect that the path speaks."""

    def __init__(
        self, fake: FakeProvider, hit: Hit, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.fake, self.hit, self.reader, self.writer = fake, hit, reader, writer
        self.anthropic = hit.path.endswith("/messages")
        self.streamed = isinstance(hit.body, dict) and bool(hit.body.get("stream"))
        self.number = len(fake.hits)

    async def send(self) -> None:
        if self.hit.path.partition("?")[0].endswith("/models"):
            data = [{"id": model, "object": "model"} for model in self.fake.models]
            await self.json({"object": "list", "data": data}, self.fake.models_status)
            return
        work = asyncio.ensure_future(self.scripted())
        gone = asyncio.ensure_future(self.reader.read(1))
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        gone.cancel()
        (ended,) = await asyncio.gather(work, return_exceptions=True)
        await asyncio.gather(gone, return_exceptions=True)
        if isinstance(ended, Cut):
            raise ended
        if isinstance(ended, ConnectionError | asyncio.CancelledError):
            self.fake.note(lambda: self.fake.cancelled.append((self.hit.model, time.monotonic())))
            raise ConnectionResetError
        work.result()

    async def scripted(self) -> None:
        model = self.hit.model
        if match := re.fullmatch(r"slow-(\d+)(ms|s)", model):
            await asyncio.sleep(int(match[1]) / (1000 if match[2] == "ms" else 1))
        if model == "silent":
            await asyncio.Event().wait()
        if (match := re.match(r"(\d{3})-then-ok", model)) and self.fake.fails_first(model):
            await self.error(int(match[1]))
            return
        if match := re.fullmatch(r"status-(\d{3})", model):
            await self.error(int(match[1]))
        elif match := re.fullmatch(r"429-retry-after-(.+)", model):
            hint = formatdate(time.time() + 2, usegmt=True) if match[1] == "date" else match[1]
            await self.error(429, f"retry-after: {hint}\r\n")
        elif model in ODD_BODIES:
            await ODD_BODIES[model](self)
        elif self.hit.path.endswith("/embeddings"):
            await self.json(self.vectors())
        elif self.streamed:
            await self.stream()
        elif model == "cut-after-3":
            self.writer.write(b'HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"choices": [')
            await self.writer.drain()
            raise Cut
        else:
            await self.json(self.whole())

    def text(self) -> str:
        content = self.hit.body["messages"][-1].get("content") or ""
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        return f"echo: {content}"

    def whole(self) -> Json:
        model, usage = self.hit.model, {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
        message: Json = {"role": "assistant", "content": self.text()}
        finish = "length" if model == "length" else "stop"
        if model == "tools":
            message, finish = {"role": "assistant", "content": None, "tool_calls": TOOL_CALLS}, "tool_calls"
        if self.anthropic:
            return {
                "id": f"msg_{self.number}",
                "type": "message",
                "role": "assistant",
                "content": [{"type": "text", "text": self.text()}],
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 5, "output_tokens": 3},
            }
        answer: Json = {
            "id": f"chatcmpl-fake-{self.number}",
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        }
        if match := re.fullmatch(r"usage-(\d+)", model):
            usage = {"prompt_tokens": int(match[1]), "completion_tokens": 0, "total_tokens": int(match[1])}
        return answer if model == "no-usage" else answer | {"usage": usage}

    def vectors(self) -> Json:
        size = self.hit.body.get("dimensions") or 3
        data = [
            {"index": n, "embedding": [float(n), float(len(text)), *[0.5] * (size - 2)]}
            for n, text in enumerate(self.hit.body["input"])
        ]
        if self.hit.model == "reverse-embed":
            data.reverse()
        return {"data": data, "usage": {"prompt_tokens": len(data), "total_tokens": len(data)}}

    async def stream(self) -> None:
        self.writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        self.fake.open_streams += 1
        try:
            for pause, event in self.events():
                if pause:
                    await asyncio.sleep(pause)
                await self.chunks(event)
            if self.hit.model == "hang-mid-stream":
                await asyncio.Event().wait()
            if self.hit.model == "cut-after-3":
                raise Cut
            self.writer.write(b"0\r\n\r\n")
            await self.writer.drain()
        finally:
            self.fake.note(self.fake.stream_ended)

    async def chunks(self, data: bytes) -> None:
        size = 1 if self.hit.model == "utf8-split" else self.fake.cut or len(data)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            self.writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            if size != len(data):
                await self.writer.drain()
        await self.writer.drain()

    def events(self) -> Any:
        """`(seconds to wait, bytes)` of each event."""
        model = self.hit.model
        if self.anthropic:
            yield from ((0, event) for event in anthropic_events(self.text(), self.number))
            return
        yield 0, self.chunk({"role": "assistant", "content": ""})
        if model == "endless":
            while True:
                yield 0.02, self.chunk({"content": "more "})
        if model == "endless-mb":
            event = self.chunk({"content": "x" * 1_000_000})
            while True:
                yield 0, event
        for pause, delta in self.deltas():
            yield pause, delta if isinstance(delta, bytes) else self.chunk(delta)
        if model in ("hang-mid-stream", "cut-after-3"):
            return
        finish = {"tools": "tool_calls", "length": "length"}.get(model, "stop")
        yield 0, self.chunk({}, finish)
        if model != "no-usage":
            usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
            yield 0, self.frame({"id": f"chatcmpl-fake-{self.number}", "choices": [], "usage": usage})
        yield 0, b"data: [DONE]\r\n\r\n" if model == "crlf" else b"data: [DONE]\n\n"

    def deltas(self) -> Any:
        model = self.hit.model
        if model in self.fake.scripts:
            yield from ((0, {"content": piece}) for piece in self.fake.scripts[model])
        elif match := re.fullmatch(r"stream-(\d+)-(\d+)", model):
            yield from ((int(match[2]) / 1000, {"content": f"{n} "}) for n in range(int(match[1])))
        elif model in DELTAS:
            yield from ((0, delta) for delta in DELTAS[model])
        elif model == "utf8-split":
            yield from ((0, {"content": piece}) for piece in ("é", "\u2028", "🜁 data: x"))
        else:
            words = self.text().split(" ")
            yield from ((0, {"content": word if n == 0 else f" {word}"}) for n, word in enumerate(words))

    def chunk(self, delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return self.frame({"id": f"chatcmpl-fake-{self.number}", "choices": [choice]})

    def frame(self, value: Json) -> bytes:
        if self.hit.model == "crlf":
            lines = json.dumps(value, indent=1).split("\n")
            data = "\r\n".join(f"data: {line}" for line in lines)
            return f": comment\r\nevent: chunk\r\nid: 7\r\n{data}\r\n\r\n".encode()
        return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"

    async def error(self, status: int, header: str = "") -> None:
        key = self.hit.headers.get("authorization") or self.hit.headers.get("x-api-key")
        await self.json({"error": {"message": f"PROVIDER-TEXT {key}"}}, status, header)

    async def json(self, value: Any, status: int = 200, header: str = "") -> None:
        await self.raw(json.dumps(value).encode(), status, header)

    async def raw(
        self, body: bytes, status: int = 200, header: str = "", kind: str = "application/json"
    ) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{header}\r\n"
        self.writer.write(head.encode() + body)
        await self.writer.drain()

    async def huge(self) -> None:
        self.writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 104857600\r\n\r\n")
        for _ in range(1600):
            self.writer.write(b" " * 65536)
            await self.writer.drain()


def anthropic_events(text: str, number: int) -> list[bytes]:
    values: list[Json] = [
        {"type": "message_start", "message": {"id": f"msg_{number}", "usage": {"input_tokens": 5}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
        {"type": "message_stop"},
    ]
    return [f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode() for value in values]


TOOL_CALLS = [
    {"id": "call_a", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}},
    {"id": "call_b", "type": "function", "function": {"name": "time", "arguments": "{}"}},
]
DELTAS: dict[str, list[Any]] = {
    "hang-mid-stream": [{"content": "one "}, {"content": "two "}],
    "cut-after-3": [{"content": f"{n} "} for n in range(3)],
    "big-delta": [{"content": "x" * 1_000_000}],
    "binary": [{"content": "before "}, {"content": "\x00\x01\x02\x03ab"}, {"content": "after"}],
    "controls": [{"content": "a\x00b plain text that is long enough\x7f"}, {"content": " and more"}],
    "error-in-stream": [
        {"content": "one "},
        {"content": "two "},
        b'data: {"error": {"message": "PROVIDER-TEXT"}}\n\n',
    ],
    "tools": [
        {"tool_calls": [{"index": 0, "id": "call_a", "function": {"name": "weather", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
        {"tool_calls": [{"index": 1, "id": "call_b", "function": {"name": "time", "arguments": "{}"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '"Bern"}'}}]},
    ],
}
ODD_BODIES: dict[str, Callable[[Answer], Any]] = {
    "redirect": lambda a: a.raw(b"", 302, "location: /canary\r\n"),
    "html": lambda a: a.raw(b"<html>PROVIDER-TEXT</html>", kind="text/html"),
    "broken-json": lambda a: a.raw(b'{"choices": [{"mess'),
    "wrong-shape": lambda a: a.json({"answer": "PROVIDER-TEXT"}),
    "huge": lambda a: a.huge(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the scripted provider until Ctrl+C.")
    parser.add_argument("--port", type=int, default=1234)
    with FakeProvider(parser.parse_args().port) as fake:
        sys.stderr.write(f"{fake.url}\n")
        threading.Event().wait()


if __name__ == "__main__":
    main()
