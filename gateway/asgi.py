"""The ASGI application: the routes of contract §1 behind the accept stage, and the process's lifespan."""

import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")

from django.core.asgi import get_asgi_application

django_application = get_asgi_application()

from channels.routing import URLRouter
from django.urls import path, re_path

from gateway.edge.front import Front
from gateway.edge.mount import MountedView
from gateway.edge.plain import MetricsEndpoint, Probe
from gateway.edge.playground import PATH as PLAYGROUND
from gateway.edge.playground import Playground
from gateway.edge.respond import Receive, Scope, Send
from gateway.edge.sse import ChatStreamConsumer
from gateway.edge.tail import PATH as TAIL
from gateway.edge.tail import Tail
from gateway.edge.views import ChatView, EmbedView, HealthView, ModelsView
from gateway.process import Process
from telemetry.logs import describe, log


class Application:
    """Server-neutral: any ASGI server that speaks lifespan can run it."""

    def __init__(self) -> None:
        self.front = Front(self._routes)
        self._process = Process(self.front)
        self._router = URLRouter(
            [
                path("mcp/chat", MountedView(ChatView.as_view())),
                path("mcp/chatStream", ChatStreamConsumer.as_asgi()),
                path("mcp/embed", MountedView(EmbedView.as_view())),
                path("mcp/models", MountedView(ModelsView.as_view())),
                path("health", MountedView(HealthView.as_view())),
                path("metrics", MetricsEndpoint(django_application)),
                path("livez", Probe(self.front, readiness=False)),
                path("readyz", Probe(self.front, readiness=True)),
                path(PLAYGROUND, Playground(self.front)),
                path(TAIL, Tail(self.front)),
                re_path(r"", django_application),
            ]
        )

    async def _routes(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router(scope, receive, send)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.front(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            event = (await receive())["type"].removeprefix("lifespan.")
            try:
                await (self._process.start() if event == "startup" else self._process.stop())
            except Exception as error:  # the outermost edge of start and stop
                log.error(f"The {event} failed", metadata=describe(error))
                await send({"type": f"lifespan.{event}.failed", "message": str(error)})
                return
            await send({"type": f"lifespan.{event}.complete"})
            if event == "shutdown":
                return


application: Any = Application()
