"""The bare relay: the same server, the same transport, nothing else. `bench_relay.py PORT UPSTREAM`."""

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from gateway.server import GatewayServer  # isort: skip - installs the reactor before anything else

import httpx

from providers.egress import EgressPolicy
from providers.transport import Transport, open_transport


class Relay:
    gateway = None

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.transport: Transport | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self.transport = open_transport(EgressPolicy())
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        assert self.transport is not None
        request = httpx.Request(
            "POST", self.upstream + scope["path"], content=body, headers={"content-type": "application/json"}
        )
        response = await self.transport.send(request, connect_ms=5000, head_ms=60_000)
        kind = response.headers["content-type"].encode()
        headers = [(b"content-type", kind)]
        if "content-length" in response.headers:
            headers.append((b"content-length", response.headers["content-length"].encode()))
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        async for chunk in response.stream:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        await response.aclose()


if __name__ == "__main__":
    relay = Relay(sys.argv[2])
    server = GatewayServer(
        relay, relay, host="127.0.0.1", port=int(sys.argv[1]), max_body_bytes=8_388_608, drain_s=1
    )
    os._exit(server.run())
