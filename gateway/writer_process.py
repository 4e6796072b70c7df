"""The journal's writer as a process beside the server, so that it takes nothing from the event loop.

It lives as long as the pipe from the server is open, then writes what is left and ends. A writer that dies
is started again; the journal waits meanwhile.
"""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from telemetry.audit import verdict
from telemetry.audit.standing import faults
from telemetry.backlog import Backlog, BacklogReader
from telemetry.health import Status
from telemetry.logs import log
from telemetry.set_aside import NAME as SET_ASIDE

RESTART_AFTER_S = 1.0
BACKLOG_BYTES = 64 * 1024 * 1024
OLDEST_S = 60
"""A line is stored within two seconds. One that waits so long is not on its way: its writer is stuck, or the database is."""
KEEPS_ENDING, WITHIN_S = 3, 60


class WriterProcess:
    def __init__(self, journal_folder: Path, audit_folder: Path) -> None:
        self._journal, self._audit = journal_folder, audit_folder
        self._backlog = BacklogReader(journal_folder)
        self._behind = Backlog(bytes=0, oldest_s=0.0, lag_s=None, set_aside=0)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._ended: deque[float] = deque(maxlen=KEEPS_ENDING)

    def start(self) -> None:
        self._started = time.monotonic()
        manage = Path(__file__).resolve().parent.parent / "manage.py"
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            [sys.executable, str(manage), "write_journal", "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            # Ctrl+C in a terminal goes to the whole foreground group; the writer ends when the server has.
            start_new_session=True,
            env=os.environ,
        )

    def supervise(self) -> None:
        """Called every second: starts a writer that died again."""
        process = self._process
        if process is None or process.poll() is None or time.monotonic() - self._started < RESTART_AFTER_S:
            return
        log.warn("The journal's writer ended and is started again", metadata={"exitCode": process.returncode})
        self._ended.append(time.monotonic())
        self.start()

    def look(self) -> None:
        """How far the writer is behind. Reads files: not on the event loop."""
        self._behind = self._backlog.read()

    def health(self) -> tuple[Status, str | None]:
        if len(self._ended) == KEEPS_ENDING and time.monotonic() - self._ended[0] < WITHIN_S:
            return (
                "failed",
                "The journal's writer keeps ending; its last words are on the server's standard error",
            )
        if self._process is None or self._process.poll() is not None:
            return "degraded", "The journal's writer is not running"
        told = list(self._told())
        return ("degraded", "; ".join(told)) if told else ("ok", None)

    def _told(self) -> Iterator[str]:
        """What is not well, though the writer runs."""
        if self._behind.bytes > BACKLOG_BYTES:
            yield f"{self._behind.bytes // (1024 * 1024)} MiB of the journal wait for the database"
        elif self._behind.oldest_s > OLDEST_S:
            yield f"The journal waits for the database, its oldest line for {_ago(self._behind.oldest_s)}"
        yield from faults(self._journal)
        if self._behind.set_aside:
            yield (
                f"Some records could not be stored or read; they lie in {SET_ASIDE} beside the journal, and the next start tries again"
            )
        yield from faults(self._audit)
        verified = verdict.told(self._audit)
        if verified is not None and verified.found:
            yield f"The last verification of the record found {_findings(verified.found)}"
        if verified is not None and verified.unverified:
            yield f"The record cannot be verified: {verified.unverified}"

    def stop(self, timeout_s: float = 10) -> None:
        """Closes the pipe and waits until what is in the journal has been written."""
        if self._process is None:
            return
        if self._process.poll() is not None:
            # It died after the last look at it, and what is in the journal is still to be stored.
            self.start()
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # It goes on by itself and ends when it is done; the journal is safe on disk.
            log.warn("The journal's writer is still busy")
        self._process = None


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def _findings(n: int) -> str:
    return (
        "1 thing that is not as it was signed" if n == 1 else f"{n} things that are not as they were signed"
    )
