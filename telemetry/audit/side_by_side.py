"""Reads and hashes the rows of a chain in several processes, each a page at a time, and tells them in their order.

What is left to whoever walks along the chain is little. Pages are of moments that follow one another all the same: of
two that were read the other way round, with a removal in between, the first would lack rows that its tombstone covers
together with some of the second, which are there.
"""

import gc
import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from django.db import DatabaseError, connection, connections

from telemetry.audit import reader
from telemetry.audit.verifier import Run
from telemetry.unreadable import UNREADABLE

if TYPE_CHECKING:  # few systems have none, and there nothing else should miss it
    from multiprocessing.synchronize import Semaphore

MANY = 20_000
"""Rows, from which on it is worth to begin processes."""
MOST = 4
"""More of them would wait for the one that walks."""
AHEAD = 2
"""Pages that a process may have been asked for. Each is some hundred kilobytes."""
_HELD_BY = {
    "sqlite": ("BEGIN", "SELECT 1 FROM sqlite_master LIMIT 1"),
    "postgresql": ("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", "SELECT 1"),
}
_fork = multiprocessing.get_context("fork")


def processors() -> int:
    """Those that this process may use; 1 where a process cannot be forked, or nothing tells."""
    usable = getattr(os, "sched_getaffinity", None)
    return min(len(usable(0)), MOST) if usable else 1


def runs(chain: str, *, after: int, until: int, processes: int) -> Iterator[Run]:
    """As `reader.runs`, and raises as it does; `ChildProcessError` where a process was killed. The process that calls it
    must have no other threads. Within a transaction it does all itself: others would not see what that one has done."""
    if processes < 2 or until - after < MANY or connection.in_atomic_block:
        yield from reader.runs(chain, after=after, until=until)
        return
    workers = _begin(chain, processes)
    try:
        yield from _in_order(workers, reader.pages(chain, after, until))
    finally:
        for worker in workers:
            worker.end()


def _in_order(workers: "list[_Worker]", pages: Iterator[tuple[int, int]]) -> Iterator[Run]:
    asked: deque[_Worker] = deque()
    for number, page in enumerate(pages):
        if len(asked) == AHEAD * len(workers):
            yield from asked.popleft().answers()
        worker = workers[number % len(workers)]
        worker.ask(page)
        asked.append(worker)
    for worker in asked:
        yield from worker.answers()


def _begin(chain: str, processes: int) -> "list[_Worker]":
    connections.close_all()  # neither database's can be used on both sides of a fork
    turns = [_fork.Semaphore(0) for _ in range(processes)]
    turns[0].release()
    workers: list[_Worker] = []
    for number in range(processes):
        ends = [worker.pipe for worker in workers]
        workers.append(_Worker(chain, turns[number], turns[(number + 1) % processes], ends))
    return workers


class _Worker:
    """`turn`: when to look at the database; `next_turn`: of the process that reads the page behind. `others`: the ends of other workers'
    pipes, which this one has to close, so that each learns when the process that walks is no more."""

    def __init__(
        self, chain: str, turn: "Semaphore", next_turn: "Semaphore", others: list[Connection]
    ) -> None:
        self.pipe, far = _fork.Pipe()
        inherited = [*others, self.pipe]
        arguments = (chain, far, turn, next_turn, inherited)
        self._process = _fork.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        far.close()

    def ask(self, page: tuple[int, int]) -> None:
        with suppress(BrokenPipeError):  # its answer says it
            self.pipe.send(page)

    def answers(self) -> Iterator[Run]:
        while True:
            try:
                answer: Any = self.pipe.recv()
            except (EOFError, ConnectionError):
                raise ChildProcessError("a process that verified was killed") from None
            if answer is None:
                return
            if isinstance(answer, BaseException):
                raise answer
            yield from answer

    def end(self) -> None:
        self.pipe.close()
        self._process.terminate()
        self._process.join()
        self._process.close()


def _work(
    chain: str, pipe: Connection, turn: "Semaphore", next_turn: "Semaphore", inherited: list[Connection]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the process that walks ends the others
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()  # rows are no cycles: looking for some costs more than what a few pages' cursors leave
    for other in inherited:
        other.close()
    with suppress(EOFError, ConnectionError):
        while True:
            after, until = pipe.recv()
            try:
                _answer(pipe, _read(chain, after, until, turn, next_turn))
            except UNREADABLE as error:
                pipe.send(error)
    next_turn.release()


def _read(
    chain: str, after: int, until: int, turn: "Semaphore", next_turn: "Semaphore"
) -> Iterator[reader.Page]:
    """All of it as it is when the turn comes. The next one's comes once that is held, and need not wait for the rows."""
    with connection.cursor() as cursor:
        turn.acquire()
        try:
            try:
                _hold(cursor)
            finally:
                next_turn.release()
            yield from reader.read(chain, after, until)
        finally:
            with suppress(DatabaseError):  # of what broke the transaction, the read has told
                cursor.execute("ROLLBACK")


def _hold(cursor: Any) -> None:
    """A transaction alone holds nothing: what it sees is what its first look saw."""
    begin, look = _HELD_BY[connection.vendor]
    cursor.execute(begin)
    cursor.execute(look)
    cursor.fetchall()


def _answer(pipe: Connection, parts: Iterator[reader.Page]) -> None:
    """The last part is hashed when nothing is held any more: whoever walks may take long to ask for it."""
    part: reader.Page = ()
    for more in parts:
        _send(pipe, part)
        part = more
    _send(pipe, part)
    pipe.send(None)


def _send(pipe: Connection, part: reader.Page) -> None:
    if part:
        pipe.send(reader.hashed(part))
