"""The whole application as it is mounted, with a journal and a provider that note when they are used."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from conftest import ALL_METHODS, BOB, chat_body

from clients.directory import Directory
from clients.tokens import Pepper
from clients.types import Client, Token
from gateway.asgi import Application
from gateway.reload import build_policy
from gateway.runtime import Gateway, Runtime
from providers.attempt import Caller
from providers.catalog import Catalog
from providers.transport import Transport
from providers.types import Provider, Timeouts
from telemetry.captured import SealedContent
from telemetry.durability import Durability
from telemetry.journal import Journal, JournalError
from telemetry.logs import JsonLog
from telemetry.metrics import Metrics
from telemetry.types import CallRecord, Intent

PATHS = ("/mcp/chat", "/mcp/chatStream", "/mcp/embed")
REPLY = {"choices": [{"message": {"content": "told"}, "finish_reason": "stop"}]}
VECTORS = {"data": [{"index": 0, "embedding": [1.0]}], "usage": {"prompt_tokens": 1, "total_tokens": 1}}
EVENTS = (
    b'data: {"choices": [{"index": 0, "delta": {"content": "told"}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
)


class NotingJournal(Journal):
    """A journal that is full from the entry named in `full` on; the ballast still takes an outcome that is behind
    content. `recorded`: the outcome."""

    recorded: CallRecord

    def __init__(
        self, folder: Path, happened: list[str], full: str, durability: Durability | None = None
    ) -> None:
        super().__init__(folder, durability=durability)
        self._happened, self._full = happened, full

    def intent(self, intent: Intent) -> None:
        if self._full == "intent":
            raise JournalError("full")
        super().intent(intent)
        self._happened.append("intent")

    def outcome(self, record: CallRecord) -> None:
        if self._full in ("intent", "outcome"):
            raise JournalError("full")
        super().outcome(record)
        self.recorded = record
        self._happened.append(f"outcome {record.outcome}")

    def announce(self, record: CallRecord) -> None:
        super().announce(record)
        self._happened.append(f"announced {record.outcome}")

    def content(self, content: SealedContent) -> None:
        if self._full:
            raise JournalError("full")
        super().content(content)
        self._happened.append("content")


class Stage:
    """`happened`: in order. `sent`: the bytes that went to the client, `status` before them. `over`: the client leaves."""

    def __init__(
        self, folder: Path, full: str = "", capture: str = "off", durability: Durability | None = None
    ) -> None:
        self.happened: list[str] = []
        self.sent, self.status = b"", 0
        self.over = asyncio.Event()
        pepper = Pepper("a pepper of this test")
        bob = Client(tool_id="bob", enabled=True, methods=frozenset(ALL_METHODS), capture=capture)
        token = Token(token_id="t", key_id=pepper.key_id, digest=pepper.digest(BOB))
        provider = Provider(
            name="a", kind="openai-compatible", base_url="http://provider.test/v1", default_model="m",
            capabilities=frozenset({"chat", "chatStream", "embed"}),
            timeouts=Timeouts(connect_ms=1000, first_event_ms=5000, idle_ms=5000, total_ms=10_000),
        )  # fmt: skip
        self.journal = NotingJournal(folder, self.happened, full, durability)
        self._application = Application()
        self.gateway = self._application.front.gateway = Gateway(
            runtime=Runtime(
                version=1,
                catalog=Catalog(providers={"a": provider}),
                directory=Directory((pepper,), [(bob, [token])]),
                policy=build_policy(),
            ),
            providers=Caller(Transport(httpx.MockTransport(self._provide))),
            journal=self.journal,
            metrics=Metrics(),
            log=JsonLog(),
        )

    async def _provide(self, request: httpx.Request) -> httpx.Response:
        self.happened.append("provider asked")
        if json.loads(request.content).get("stream"):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=self._events())
        return httpx.Response(200, json=VECTORS if request.url.path.endswith("embeddings") else REPLY)

    async def _events(self) -> AsyncIterator[bytes]:
        yield EVENTS[0]
        self.happened.append("provider ended")
        yield EVENTS[1]

    async def call(self, path: str, text: str = "a", *, close: bool = True, **more: Any) -> None:
        body = (
            chat_body(text, **more)
            if path != "/mcp/embed"
            else {"requestId": "r", "callerTool": "bob", "inputs": [text]}
        )
        headers = {
            b"host": b"localhost",
            b"content-type": b"application/json",
            b"x-llm-caller-token": BOB.encode(),
        }
        scope = {
            "type": "http", "method": "POST", "path": path, "query_string": b"", "headers": list(headers.items()),
            "client": ("127.0.0.1", 1), "scheme": "http",
        }  # fmt: skip
        waiting = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

        async def receive() -> dict[str, Any]:
            if not waiting:
                await self.over.wait()
                return {"type": "http.disconnect"}
            return waiting.pop()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                return
            self.sent += message.get("body", b"")
            last = not message.get("more_body", False)
            self.happened.append("last byte" if last else "first bytes")
            if last:
                self.over.set()

        await self._application(scope, receive, send)
        if close:
            self.journal.close()
