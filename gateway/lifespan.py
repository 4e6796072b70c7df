"""The part of the ASGI protocol that Daphne leaves out: tells the application of start and end."""

import asyncio
from typing import Any


class Lifespan:
    """The part of the ASGI protocol that Daphne leaves out: tells the application of start and end."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._to_app: asyncio.Queue[dict[str, Any]] | None = None
        self._from_app: asyncio.Queue[dict[str, Any]] | None = None
        self._task: asyncio.Task[None] | None = None

    async def startup(self) -> None:
        """Raises `RuntimeError` with the application's words when it cannot start."""
        self._to_app, self._from_app = asyncio.Queue(), asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}}
        self._task = asyncio.ensure_future(self._application(scope, self._to_app.get, self._from_app.put))
        await self._exchange("startup")

    async def shutdown(self) -> None:
        if self._task is not None and not self._task.done():
            await self._exchange("shutdown")

    async def _exchange(self, event: str) -> None:
        assert self._to_app is not None, "startup comes first"
        assert self._from_app is not None, "startup comes first"
        await self._to_app.put({"type": f"lifespan.{event}"})
        answer = await self._from_app.get()
        if answer["type"] != f"lifespan.{event}.complete":
            raise RuntimeError(answer.get("message", "the application did not start"))
