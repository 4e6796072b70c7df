"""When what was appended to the journal reaches the disk itself, so that a power cut does not lose it.

    off        when the system likes
    interval   within 20 ms, off the event loop (the default)
    always     before the call goes on; calls that wait at the same time share one fdatasync

In each of them an append survives the death of the process.
"""

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

AuditSync = Literal["off", "interval", "always"]
INTERVAL_S = 0.02
LONG_S = 5.0


class Durability:
    """For one journal and the event loop that appends to it. `on_failure` is told what the disk said.

    `failed`: a sync did since the newest file was begun; what a later sync says of that file
    concerns what was appended since, because the system tells of an error once.
    """

    def __init__(
        self,
        mode: AuditSync,
        *,
        on_failure: Callable[[OSError], None],
        sync: Callable[[int], None] = os.fdatasync,
    ) -> None:
        self.mode = mode
        self._on_failure, self._sync = on_failure, sync
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal-sync")
        self._fd = -1
        self._sealed: list[int] = []
        """What is synced next besides that file, and then closed: full segments, and folders that have a new one."""
        self._waiting: list[asyncio.Future[None]] = []
        self._armed = self._busy = self._again = self._closed = False
        self._failing = self.failed = False
        self._since = 0.0
        self._under_way: list[asyncio.Future[None]] = []
        self._patience: asyncio.TimerHandle | None = None

    @property
    def failing(self) -> bool:
        """Whether the last sync failed, or the disk has not answered the one under way for long."""
        return self._failing or self._hangs

    @property
    def _hangs(self) -> bool:
        return self._busy and self._loop.time() - self._since >= LONG_S

    def appended(self, fd: int) -> None:
        """Something was appended to this file."""
        self._fd = fd
        if self.mode == "interval" and not self._armed:
            self._armed = True
            self._loop.call_later(INTERVAL_S, self._begin)

    def opened(self, folder: Path) -> None:
        """A file was made there: a power cut must not lose its name either."""
        self.failed = False
        if self.mode != "off":
            self._sealed.append(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def sealed(self, fd: int) -> None:
        """Nothing more will be appended to this file. It is closed here, once it is on the disk."""
        if self.mode == "off":
            os.close(fd)
        else:
            self._sealed.append(fd)
        self._fd = -1 if self._fd == fd else self._fd

    async def durable(self) -> None:
        """Returns when all that was appended before is on the disk. Raises `OSError` when it cannot be brought there, or
        the disk does not answer for so long that nobody is kept waiting.

        A sync that is under way may have begun before the append; then the next one counts.
        """
        if self._hangs:
            self._again = True
            raise _no_answer()
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiting.append(waiter)
        if not self._busy:
            self._begin()
        await waiter

    def bring(self, fd: int) -> None:
        """What was appended to this file, though nobody waits for it."""
        if self.mode != "off":
            self._fd = fd
            self._begin()

    def close(self) -> None:
        """Brings what is left to the disk, in this thread."""
        self._closed = True
        self._thread.shutdown()
        due, self._sealed = self._sealed, []
        try:
            self._bring(due)
        except OSError as error:
            self._on_failure(error)

    def _begin(self) -> None:
        self._armed = False
        if self._closed:
            return
        if self._busy:
            self._again = True  # the sync under way may have begun before the last append
            return
        self._again = False
        waiting, self._waiting = self._waiting, []
        try:
            # A copy of the descriptor: the journal may close its own while the thread is at work.
            newest = [os.dup(self._fd)] if self._fd >= 0 else []
        except OSError as error:
            self._told(error, waiting)
            return
        due, self._sealed = self._sealed + newest, []
        try:
            done = self._loop.run_in_executor(self._thread, self._bring, due)
        except RuntimeError as error:  # no thread can be started
            for fd in due:
                os.close(fd)
            self._told(OSError(errno.EAGAIN, str(error)), waiting)
            return
        self._busy, self._since, self._under_way = True, self._loop.time(), waiting
        self._patience = self._loop.call_later(LONG_S, self._give_up)
        done.add_done_callback(lambda future: self._over(future, waiting))

    def _bring(self, due: list[int]) -> None:
        """All of them, also after one that cannot be; raises what the first of these says."""
        failed: OSError | None = None
        for fd in due:
            try:
                self._sync(fd)
            except OSError as error:
                failed = failed or error
            finally:
                os.close(fd)
        if failed is not None:
            raise failed

    def _give_up(self) -> None:
        """On the sync under way: who waits for it, and for the one after it, waits no longer. It goes on all the same."""
        self._again = self._again or bool(self._waiting)
        waiting, self._under_way, self._waiting = self._under_way + self._waiting, [], []
        self._release(_no_answer(), waiting)

    def _over(self, done: "asyncio.Future[None]", waiting: list["asyncio.Future[None]"]) -> None:
        self._busy = False
        if self._patience is not None:
            self._patience.cancel()
        error = done.exception()
        if error is not None:
            # What they appended may have been in what failed, and the system tells of it once.
            waiting, self._waiting = waiting + self._waiting, []
        self._told(error, waiting)
        if self._waiting or self._again:
            self._begin()

    def _told(self, error: BaseException | None, waiting: list["asyncio.Future[None]"]) -> None:
        """To those who wait for it."""
        if isinstance(error, OSError):
            self._on_failure(error)
            self._failing = self.failed = True
        elif error is None:
            self._failing = False
        self._release(error, waiting)

    def _release(self, error: BaseException | None, waiting: list["asyncio.Future[None]"]) -> None:
        for waiter in waiting:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)


def _no_answer() -> OSError:
    return OSError(errno.ETIMEDOUT, "the disk does not answer")
