"""The record as it is written, for staff: server-sent events with what was stored since the last second.

One task and one thread look, however many watch; they begin with the first viewer and end with the last. The thread
asks for the new rows and whether each session may still watch; the rest is done in the event loop. A call's path
meets none of it. What is sent carries the row's key as its id, so that a browser whose connection was lost comes back
with it and is told what it missed.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import SuspiciousOperation
from django.db import DatabaseError, connection
from django.http import QueryDict

from gateway.edge.front import PEER, TRAIL, Front
from gateway.edge.respond import Receive, Scope, Send, encode_json, send_problem
from gateway.edge.sse import HEADERS, KEEPALIVE, ChatStreamConsumer
from gateway.errors import Refusal, problem_for
from gateway.sessions import session_of
from gateway.trail import Trail
from gateway.watching import may_watch
from telemetry import tail
from telemetry.criteria import Criteria
from telemetry.filter_form import FilterForm
from telemetry.logs import describe, log

PATH = tail.PATH.removeprefix("/")
EVERY_S = 1.0
MOST_VIEWERS, PER_SESSION = 20, 4
MOST_ROWS, SHOWN_ROWS, KEPT_ROWS = 2_000, 50, 200
"""Rows read at once, told a viewer at once, and kept for one who reads slowly."""
UNSURE_S = 10.0
"""So long may a database that does not answer leave open whether somebody may still watch."""
NO_FILTER = Refusal("BAD_REQUEST", "The filter cannot be read", reason="VALIDATION_FAILED")
ENDED = "You are logged out, or may not read the record any more."
FAILED = "The record cannot be looked at. Reload the page; the log says why if it happens again."
NOT_WELCOME = "You are logged out, or may not read the record"
TOO_MANY_OF_SESSION = (
    f"{PER_SESSION} pages of your session watch the record, which is the most: close one first"
)
TOO_MANY = f"{MOST_VIEWERS} pages watch the record, which is the most: come back later"
STOPPING = "The gateway stops. Reload the page when it is back."


FROM_NOW = -1
MAX_DIGITS = 18


class Viewer:
    """What one open page is owed. `key`: up to where it was told; `FROM_NOW` for one that comes for the first time.
    `begun`: from here on no call is missed. `ended`: why it gets nothing more."""

    def __init__(self, session: str, criteria: Criteria, key: int = FROM_NOW) -> None:
        self.session, self.key, self._criteria = session, key, criteria
        self._rows: list[Mapping[str, Any]] = []
        self._not_shown = 0
        self.ended = ""
        self.begun, self.news = asyncio.Event(), asyncio.Event()

    @property
    def resumes(self) -> bool:
        """Whether it has yet to be told what it missed."""
        return self.key != FROM_NOW and not self.begun.is_set()

    def offer(self, rows: Iterable[Mapping[str, Any]], skipped: int, most: int = SHOWN_ROWS) -> None:
        matching = [row for row in rows if self._criteria.matches(row)]
        if not matching and not skipped:
            return
        kept = self._rows + matching[-most:]
        self._not_shown += skipped + len(self._rows) + len(matching)
        self._rows = kept[-KEPT_ROWS:]
        self._not_shown -= len(self._rows)
        self.news.set()

    def end(self, why: str) -> None:
        self.ended = self.ended or why
        self.begun.set()
        self.news.set()

    def take(self) -> bytes:
        """The event that tells what is owed; nothing when there is none."""
        rows, not_shown = self._rows, self._not_shown
        self._rows, self._not_shown = [], 0
        self.news.clear()
        if not rows and not not_shown:
            return b""
        told = event("calls", {"calls": [tail.line(row) for row in rows], "notShown": not_shown})
        return self._place() + told

    def nothing(self) -> bytes:
        """That there is nothing, and up to where: a filter may let nothing through for hours."""
        return self._place() + KEEPALIVE

    def _place(self) -> bytes:
        return b"id: %d\n" % self.key


def event(name: str, value: Any) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + encode_json(value) + b"\n\n"


def last_told(headers: Iterable[tuple[bytes, bytes]]) -> int:
    """The id that a browser comes back with; `FROM_NOW` without one, or for what cannot be one."""
    sent = next((value for name, value in headers if name == b"last-event-id"), b"")
    return int(sent) if sent.isdigit() and len(sent) <= MAX_DIGITS else FROM_NOW


Seen = tuple[tail.News, set[str], set[str]]
"""What is new, which sessions may see it, and which were asked about."""
Look = Callable[[int, set[str]], Seen | None]
Missed = Callable[[int, int], tail.News | None]
"""What came between two keys."""


def look(key: int, sessions: set[str]) -> Seen | None:
    """What is new behind `key` (negative: only where to begin), and which sessions may see it. None: cannot tell."""
    try:
        news = tail.News((), tail.newest()) if key < 0 else tail.since(key, MOST_ROWS)
        return news, {session for session in sessions if may_watch(session)}, sessions
    except DatabaseError:
        connection.close()
        return None


def missed(key: int, until: int) -> tail.News | None:
    """What came behind `key` up to `until`. None: cannot tell."""
    try:
        return tail.since(key, MOST_ROWS, until)
    except DatabaseError:
        connection.close()
        return None


class Watch:
    """All viewers of this process, and the one look that serves them."""

    def __init__(self, front: Front, look: Look, missed: Missed = missed) -> None:
        self._front, self._look_now, self._missed = front, look, missed
        self._viewers: set[Viewer] = set()
        self._looking: asyncio.Task[None] | None = None

    def add(self, session: str, criteria: Criteria, key: int = FROM_NOW) -> Viewer:
        """`key`: up to where it was told before. Raises `Refusal` when too many watch."""
        if sum(viewer.session == session for viewer in self._viewers) >= PER_SESSION:
            raise Refusal("OVERLOADED", TOO_MANY_OF_SESSION, reason="TOO_MANY_OF_SESSION")
        if len(self._viewers) >= MOST_VIEWERS:
            raise Refusal("OVERLOADED", TOO_MANY, reason="TOO_MANY_VIEWERS")
        viewer = Viewer(session, criteria, key)
        self._viewers.add(viewer)
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look())
        return viewer

    def remove(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    async def _look(self) -> None:
        thread = ThreadPoolExecutor(1, thread_name_prefix="record-tail")
        loop = asyncio.get_running_loop()
        key, sure = -1, time.monotonic()
        try:
            while self._viewers:
                if self._stopping():
                    return
                sessions = {viewer.session for viewer in self._viewers}
                seen = await loop.run_in_executor(thread, self._look_now, key, sessions)
                if seen is not None:
                    key, sure = seen[0].newest, time.monotonic()
                    self._tell(*seen)
                    for viewer in [viewer for viewer in self._viewers if viewer.resumes]:
                        self._resume(
                            viewer, await loop.run_in_executor(thread, self._missed, viewer.key, key), key
                        )
                elif time.monotonic() - sure > UNSURE_S:
                    self._end(self._viewers, ENDED)
                await asyncio.sleep(EVERY_S)
        except Exception as error:  # the outermost edge of what runs beside the calls
            log.error("The live tail of the record failed", metadata=describe(error))
            self._end(self._viewers, FAILED)
        finally:
            self._looking = None
            self._end(self._viewers, STOPPING)
            thread.submit(connection.close)
            thread.shutdown(wait=False)

    def _stopping(self) -> bool:
        gateway = self._front.gateway
        return gateway is None or gateway.draining

    def _tell(self, news: tail.News, welcome: set[str], asked: set[str]) -> None:
        """Who came while the look was under way is asked about in the next, and told what this one saw: it was let in."""
        self._end((v for v in self._viewers if v.session in asked - welcome), ENDED)
        for viewer in self._viewers:
            if not viewer.resumes:
                viewer.offer(news.rows, news.skipped)
                viewer.key = news.newest
                viewer.begun.set()

    @staticmethod
    def _resume(viewer: Viewer, news: tail.News | None, key: int) -> None:
        """As many as the page shows; more are counted. Without an answer it is asked for again at the next look."""
        if news is not None:
            viewer.offer(news.rows, news.skipped, KEPT_ROWS)
            viewer.key = key
            viewer.begun.set()

    @staticmethod
    def _end(viewers: Iterable[Viewer], why: str) -> None:
        for viewer in viewers:
            viewer.end(why)


class Tail:
    """The route."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._consumer = TailConsumer.as_asgi(watch=Watch(front, look))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gateway = self._front.gateway
        assert gateway is not None, "the front answers by itself until there is one"
        trail = scope[TRAIL] = Trail(gateway, scope[PEER])
        try:
            if scope["method"] != "GET":
                raise Refusal("METHOD_NOT_ALLOWED", "Method not allowed", headers=((b"allow", b"GET"),))
            criteria = read(scope["query_string"])
        except Refusal as refusal:
            await send_problem(send, problem_for(refusal), trail.call_id)
            return
        await self._consumer(scope | {"criteria": criteria}, receive, send)


def read(query: bytes) -> Criteria:
    """Raises `Refusal` for what is no filter of the record."""
    try:
        form = FilterForm(QueryDict(query))
    except SuspiciousOperation:
        raise NO_FILTER from None
    if not form.is_valid():
        raise NO_FILTER
    return form.criteria(datetime.now(UTC))


class TailConsumer(ChatStreamConsumer):
    """Ends with its client's connection, as streams of calls do."""

    watch: Watch

    def __init__(self, *args: Any, watch: Watch, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.watch = watch

    async def _run(self, trail: Trail, body: bytes) -> None:
        session = session_of(self.scope["headers"])
        loop = asyncio.get_running_loop()
        if not await loop.run_in_executor(None, _may_begin, session):
            refusal = Refusal("FORBIDDEN", NOT_WELCOME, reason="NOT_WELCOME")
            await self._refuse(trail, problem_for(refusal))
            return
        try:
            viewer = self.watch.add(session, self.scope["criteria"], last_told(self.scope["headers"]))
        except Refusal as refusal:
            await self._refuse(trail, problem_for(refusal))
            return
        try:
            await self._stream(viewer, trail.runtime.policy.keepalive_ms / 1000)
        finally:
            self.watch.remove(viewer)

    async def _stream(self, viewer: Viewer, keepalive_s: float) -> None:
        await viewer.begun.wait()
        await self.send_headers(status=200, headers=HEADERS)
        # Servers send the head with the first of the body, and the page should know that it is connected.
        await self.send_body(viewer.take() or viewer.nothing(), more_body=True)
        while not viewer.ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(keepalive_s):
                    await viewer.news.wait()
            if not viewer.ended:
                await self.send_body(viewer.take() or viewer.nothing(), more_body=True)
        await self.send_body(event("end", {"message": viewer.ended}), more_body=False)


def _may_begin(session: str) -> bool:
    """False also while the database does not answer."""
    try:
        return may_watch(session)
    except DatabaseError:
        return False
    finally:
        connection.close()
